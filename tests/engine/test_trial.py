"""One attempt: every way it can end, and that its machine never outlives it."""

from __future__ import annotations

import asyncio
import io
import tarfile
from typing import Any

import pytest
from engine_values import (
    Converse,
    MemoryBlobs,
    ScriptedScorer,
    answer_at_once,
    answered,
    case,
    spec,
    tools,
    world,
)

from aegis.agents.base import AgentResult
from aegis.engine import trial as trial_module
from aegis.engine.spec import TrialResult, TrialSpec
from aegis.engine.trial import run_trial
from aegis.errors import (
    GuestOperationError,
    GuestProtocolError,
    HostNeedsError,
    SandboxLostError,
    SandboxStartError,
    UsageError,
)
from aegis.sandbox.base import Sandbox
from aegis.scoring.base import ScoreContext
from aegis.suite.model import Expectation
from aegis.trace import Trace
from support.fake_driver import FakeDriver, FakeSandbox, Output, until


def attempt(
    driver: FakeDriver,
    the_spec: TrialSpec | None = None,
    *,
    converse: Converse = answer_at_once,
    scorer: ScriptedScorer | None = None,
    blobs: MemoryBlobs | None = None,
) -> TrialResult:
    kit = tools(driver, converse=converse, scorer=scorer, blobs=blobs)
    result = asyncio.run(run_trial(the_spec or spec(), kit)).result
    assert driver.alive == 0
    return result


def test_all_scorers_passing_is_passed() -> None:
    driver = FakeDriver()
    result = attempt(driver)
    assert (result.outcome, result.reason) == ("passed", "")
    assert [score.passed for score in result.scores] == [True]
    assert result.trace is not None
    assert result.trace.answer == "done"
    assert result.sandbox == driver.sandboxes[0].info
    assert (result.run_id, result.case, result.number, result.epoch) == ("r", "refund", 1, 1)


def test_a_missed_expectation_is_failed_with_the_first_miss() -> None:
    expect = tuple(Expectation(scorer="scripted", config=value) for value in (True, False, False))
    result = attempt(FakeDriver(), spec(case().model_copy(update={"expect": expect})))
    assert result.outcome == "failed"
    assert result.reason == "scripted: not as wanted (and 1 more)"
    assert [score.passed for score in result.scores] == [True, False, False]


def test_an_agent_that_breaks_is_failed_and_not_scored() -> None:
    async def converse(sandbox: Sandbox, timeout_s: float) -> AgentResult:
        return AgentResult(Trace(stderr_tail="boom"), "agent ended with exit code 3: boom")

    result = attempt(FakeDriver(), converse=converse)
    assert (result.outcome, result.reason) == ("failed", "agent ended with exit code 3: boom")
    assert result.scores == ()
    assert result.trace is not None
    assert result.trace.stderr_tail == "boom"


def test_an_agent_without_an_answer_in_time_is_timeout() -> None:
    async def converse(sandbox: Sandbox, timeout_s: float) -> AgentResult:
        assert timeout_s == 30.0
        return AgentResult(Trace(), "timed out: no complete answer within 30s", timed_out=True)

    result = attempt(FakeDriver(), converse=converse)
    assert (result.outcome, result.reason) == ("timeout", "timed out: no complete answer within 30s")


def test_a_machine_that_never_obeys_again_is_the_agents_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    async def converse(sandbox: Sandbox, timeout_s: float) -> AgentResult:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(trial_module, "AGENT_GRACE_S", 0.01)
    result = attempt(FakeDriver(), spec(timeout_s=0.01), converse=converse)
    assert result.outcome == "timeout"
    assert "stopped responding" in result.reason


@pytest.mark.parametrize(
    ("error", "outcome", "reason"),
    [
        (SandboxLostError("gone", by_guest=True), "failed", "the agent shut its machine down"),
        (SandboxLostError("the monitor died"), "error", "the monitor died"),
        (GuestProtocolError("not a frame"), "error", "not a frame"),
        (GuestOperationError("no shell", code="not-found"), "error", "no shell"),
        (RuntimeError("bug"), "error", "internal error in the trial: RuntimeError('bug')"),
    ],
)
def test_what_goes_wrong_during_the_agents_time(error: Exception, outcome: str, reason: str) -> None:
    async def converse(sandbox: Sandbox, timeout_s: float) -> AgentResult:
        raise error

    result = attempt(FakeDriver(), converse=converse)
    assert (result.outcome, result.reason) == (outcome, reason)


@pytest.mark.parametrize("error", [SandboxStartError("no boot"), HostNeedsError("no QEMU"), OSError("disk")])
def test_no_sandbox_is_an_error(error: Exception) -> None:
    result = attempt(FakeDriver(start_errors=[error]))
    assert result.outcome == "error"
    assert str(error) in result.reason
    assert result.sandbox is None


def test_the_world_is_there_before_the_agent() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo("workspace/orders.json")
        info.size = 2
        tar.addfile(info, io.BytesIO(b"[]"))
    blobs = MemoryBlobs()
    digest = blobs.put(buffer.getvalue())

    def program(sandbox: FakeSandbox, argv: tuple[str, ...], stdin: bytes) -> Output:
        assert sandbox.files["/workspace/orders.json"] == b"[]"
        sandbox.files["/workspace/steps"] = sandbox.files.get("/workspace/steps", b"") + argv[-1].encode()
        return Output()

    async def converse(sandbox: Sandbox, timeout_s: float) -> AgentResult:
        assert await sandbox.get_file("steps") == b"onetwo"
        return answered()

    the_spec = spec(case(world=world("one", "two")), world=digest)
    result = attempt(FakeDriver(program=program), the_spec, converse=converse, blobs=blobs)
    assert (result.outcome, result.reason) == ("passed", "")


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (Output(code=7, stderr=b"first\nno such table\n\n"), "'seed' ended with exit code 7: no such table"),
        (Output(code=7, stdout=b"said on stdout\n"), "exit code 7: said on stdout"),
        (Output(signal=9), "killed by signal 9"),
        (Output(after_s=float("inf")), "did not end within"),
    ],
)
def test_a_world_that_cannot_be_set_up_is_an_error(
    output: Output, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def converse(sandbox: Sandbox, timeout_s: float) -> AgentResult:
        raise AssertionError("the agent must not start")

    monkeypatch.setattr(trial_module, "WORLD_STEP_TIMEOUT_S", 0.05 if output.after_s else 60.0)
    driver = FakeDriver(program=lambda sandbox, argv, stdin: output)
    result = attempt(driver, spec(case(world=world("seed"))), converse=converse)
    assert result.outcome == "error"
    assert result.reason.startswith("world set-up failed: ")
    assert words in result.reason


def test_a_machine_lost_in_world_set_up_is_an_error() -> None:
    def program(sandbox: FakeSandbox, argv: tuple[str, ...], stdin: bytes) -> Output:
        sandbox.lose(by_guest=True)
        return Output(after_s=float("inf"))

    result = attempt(FakeDriver(program=program), spec(case(world=world("reboot"))))
    assert (result.outcome, result.reason) == ("error", "world set-up failed: the machine went away")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (SandboxLostError("gone"), "could not be scored: gone"),
        (
            UsageError("no such function"),
            "could not be scored: the scorer 'scripted' cannot be used: no such function",
        ),
        (KeyError("x"), "the scorer 'scripted' is broken: "),
    ],
)
def test_a_scorer_that_cannot_tell_is_an_error_that_keeps_the_trace(error: Exception, reason: str) -> None:
    async def judge(config: Any, context: ScoreContext) -> bool:
        raise error

    result = attempt(FakeDriver(), scorer=ScriptedScorer(judge))
    assert result.outcome == "error"
    assert reason in result.reason
    assert result.trace is not None


def test_scoring_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def judge(config: Any, context: ScoreContext) -> bool:
        await asyncio.Event().wait()
        return True

    monkeypatch.setattr(trial_module, "SCORING_TIMEOUT_S", 0.01)
    result = attempt(FakeDriver(), scorer=ScriptedScorer(judge))
    assert result.outcome == "error"
    assert "scoring did not end" in result.reason


def test_scorers_see_the_trace_the_machine_and_their_files() -> None:
    blobs = MemoryBlobs()
    seen: list[ScoreContext] = []

    async def judge(config: Any, context: ScoreContext) -> bool:
        seen.append(context)
        assert not context.sandbox.stopped  # type: ignore[attr-defined]
        return True

    the_spec = spec(check_files={"check.py": blobs.put(b"code")})
    assert attempt(FakeDriver(), the_spec, scorer=ScriptedScorer(judge), blobs=blobs).outcome == "passed"
    assert seen[0].check_files == {"check.py": b"code"}
    assert seen[0].trace.answer == "done"


def test_a_reason_is_one_line_of_bounded_length() -> None:
    result = attempt(FakeDriver(start_errors=[SandboxStartError("a\n" * 2000)]))
    assert "\n" not in result.reason
    assert len(result.reason) == trial_module.REASON_CHARS


def test_a_cancelled_trial_destroys_its_machine() -> None:
    async def converse(sandbox: Sandbox, timeout_s: float) -> AgentResult:
        await asyncio.Event().wait()
        raise AssertionError

    driver = FakeDriver()

    async def scenario() -> None:
        task = asyncio.create_task(run_trial(spec(), tools(driver, converse=converse)))
        await until(lambda: driver.alive == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
    assert driver.alive == 0
