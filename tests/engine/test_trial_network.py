"""One attempt and its way out: when it is open, what the agent gets of it, and what of it is judged."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from engine_values import (
    Converse,
    MemoryBlobs,
    ScriptedAgent,
    ScriptedNetwork,
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
from aegis.engine.spec import DeniedHost, TrialResult, TrialSpec
from aegis.engine.trial import TrialTools, run_trial, with_environment
from aegis.errors import InfrastructureError, LedgerError, SandboxLostError
from aegis.sandbox.base import Sandbox
from aegis.scoring.base import ScoreContext
from aegis.suite.model import Agent, Secret
from aegis.trace import Trace
from support import wire
from support.fake_driver import PATHS, FakeDriver, FakeSandbox, Output, until

MODEL_CALL = wire.exchange(
    "/v1/chat/completions", {"model": "gpt-5-mini", "messages": []}, wire.chat("Looking.", [])
)


def attempt(
    network: ScriptedNetwork,
    the_spec: TrialSpec | None = None,
    *,
    driver: FakeDriver | None = None,
    converse: Converse = answer_at_once,
    scorer: ScriptedScorer | None = None,
    agent: ScriptedAgent | None = None,
) -> TrialResult:
    machines = driver or FakeDriver()
    kit = tools(machines, converse=converse, scorer=scorer, network=network, agent=agent)
    result = asyncio.run(run_trial(the_spec or spec(), kit)).result
    assert machines.alive == 0
    assert network.calls[-1] == ("open refund/1" if network.open_error else "close")
    return result


def test_the_machine_is_connected_before_it_starts_and_the_clock_starts_with_the_agent() -> None:
    network = ScriptedNetwork()
    driver = FakeDriver(program=lambda sandbox, argv, stdin: network.calls.append("step") or Output())

    async def converse(sandbox: Sandbox, timeout_s: float) -> AgentResult:
        network.calls.append("agent")
        return answered()

    result = attempt(network, spec(case(world=world("seed"))), driver=driver, converse=converse)
    assert result.outcome == "passed"
    assert network.calls == ["open refund/1", "step", "start_clock", "agent", "end", "close"]
    assert driver.sandboxes[0].access is network.access
    assert result.agent_started_at is not None
    assert result.agent_started_at.endswith("+00:00")


def test_what_passed_is_in_the_trace_before_it_is_scored() -> None:
    seen: list[Trace] = []

    async def judge(config: Any, context: ScoreContext) -> bool:
        seen.append(context.trace)
        return True

    network = ScriptedNetwork(exchanges=[MODEL_CALL])
    result = attempt(network, scorer=ScriptedScorer(judge))
    assert result.trace == seen[0]
    assert seen[0].recorded
    assert seen[0].answer == "done"
    assert [call.model for call in seen[0].model_calls] == ["gpt-5-mini-2025-08-07"]
    assert seen[0].usage is not None
    assert seen[0].usage.usd


@pytest.mark.parametrize(
    ("failure", "outcome"),
    [
        (AgentResult(Trace(), "agent ended with exit code 1"), "failed"),
        (AgentResult(Trace(), "timed out", timed_out=True), "timeout"),
        (SandboxLostError("gone", by_guest=True), "failed"),
        (SandboxLostError("the monitor died"), "error"),
    ],
)
def test_what_passed_is_kept_however_the_agent_ends(failure: AgentResult | Exception, outcome: str) -> None:
    async def converse(sandbox: Sandbox, timeout_s: float) -> AgentResult:
        if isinstance(failure, Exception):
            raise failure
        return failure

    denied = (DeniedHost("b.example", 443, "denied: b.example:443 is not in network.allow", 2),)
    result = attempt(ScriptedNetwork(exchanges=[MODEL_CALL], denied=denied), converse=converse)
    assert result.outcome == outcome
    assert result.trace is not None
    assert result.trace.exchanges == (MODEL_CALL,)
    assert result.denied == denied


@pytest.mark.parametrize(
    "agent",
    [
        answered(),
        AgentResult(Trace(), "agent ended with exit code 1: connection refused"),
        AgentResult(Trace(), "timed out", timed_out=True),
        SandboxLostError("gone", by_guest=True),
    ],
)
def test_an_upstream_that_died_is_never_the_agents_failure(agent: AgentResult | Exception) -> None:
    async def converse(sandbox: Sandbox, timeout_s: float) -> AgentResult:
        if isinstance(agent, Exception):
            raise agent
        return agent

    network = ScriptedNetwork(
        exchanges=[MODEL_CALL], problem=InfrastructureError("the upstream crm ended in the middle (SIGSEGV)")
    )
    result = attempt(network, converse=converse)
    assert (result.outcome, result.reason) == ("error", "the upstream crm ended in the middle (SIGSEGV)")
    assert result.scores == ()
    assert result.trace is not None
    assert result.trace.exchanges == (MODEL_CALL,)


@pytest.mark.parametrize(
    "error", [InfrastructureError("the upstream crm was not ready"), OSError("no sockets")]
)
def test_without_its_network_no_machine_starts(error: Exception) -> None:
    driver = FakeDriver()
    result = attempt(ScriptedNetwork(open_error=error), driver=driver)
    assert result.outcome == "error"
    assert str(error) in result.reason
    assert driver.starts == 0


def test_a_start_that_fails_closes_the_network() -> None:
    network = ScriptedNetwork()
    attempt(network, driver=FakeDriver(start_errors=[LedgerError("no")]))
    assert network.calls == ["open refund/1", "close"]


def test_a_body_that_is_gone_is_an_error() -> None:
    """Nobody knows then what the agent did."""

    class Gone(MemoryBlobs):
        def get(self, digest: str) -> bytes:
            raise LedgerError(f"blob {digest} is missing")

    request = wire.exchange("/v1/chat/completions", {"model": "m"}, wire.chat("x", []))
    assert request.response_body is not None
    import dataclasses

    stored = dataclasses.replace(request.response_body, text=None, blob="0" * 64)
    network = ScriptedNetwork(exchanges=[dataclasses.replace(request, response_body=stored)])
    kit = tools(FakeDriver(), network=network, blobs=Gone())
    result = asyncio.run(run_trial(spec(), kit)).result
    assert result.outcome == "error"
    assert "is missing" in result.reason


def test_the_agent_and_the_set_up_get_the_environment() -> None:
    driver = FakeDriver()
    agent = ScriptedAgent()
    network = ScriptedNetwork(variables={"KEY": "sk-placeholder", "no_proxy": "localhost"})
    the_spec = spec(case(world=world("seed")))
    attempt(network, the_spec, driver=driver, agent=agent)
    assert agent.seen is not None
    wanted = {"KEY": "sk-placeholder", "no_proxy": "localhost", "https_proxy": PATHS.proxy}
    assert agent.seen.env == wanted
    assert driver.sandboxes[0].environments == [wanted]


def test_the_agents_own_variables_win_but_never_over_a_placeholder() -> None:
    secrets = {"KEY": Secret(hosts=("a.example",))}
    agent = Agent(command="x", env={"KEY": "mine", "NO_PROXY": "*", "MODEL": "m"}, secrets=secrets)
    env = {"KEY": "sk-placeholder", "NO_PROXY": "localhost", "SSL_CERT_FILE": "/ca"}
    assert with_environment(agent, env).env == {
        "KEY": "sk-placeholder",
        "NO_PROXY": "*",
        "MODEL": "m",
        "SSL_CERT_FILE": "/ca",
    }


def test_waiting_for_a_limit_is_not_the_machines_deafness(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound after which a machine counts as unresponsive moves with what the gateway made it wait."""
    network = ScriptedNetwork()
    monkeypatch.setattr(trial_module, "AGENT_GRACE_S", 0.05)

    async def converse(sandbox: Sandbox, timeout_s: float) -> AgentResult:
        network.waited_s = 60.0
        await asyncio.sleep(0.4)
        return answered()

    result = attempt(network, spec(timeout_s=0.05), converse=converse)
    assert result.outcome == "passed"


def test_scorers_get_bodies_and_kept_answers() -> None:
    class Answers:
        def get(self, key: str) -> None:
            return None

        def put(self, key: str, value: Any) -> None:
            return None

    async def judge(config: Any, context: ScoreContext) -> bool:
        return context.body(digest) == b"long" and context.answers is answers

    blobs, answers = MemoryBlobs(), Answers()
    digest = blobs.put(b"long")
    kit = tools(FakeDriver(), blobs=blobs, scorer=ScriptedScorer(judge))
    whole = TrialTools(
        kit.driver, kit.template, blobs, kit.agent_driver, kit.scorer, kit.network, answers=answers
    )
    assert asyncio.run(run_trial(spec(), whole)).result.outcome == "passed"


def test_a_cancelled_attempt_closes_its_network() -> None:
    async def converse(sandbox: Sandbox, timeout_s: float) -> AgentResult:
        await asyncio.Event().wait()
        raise AssertionError

    driver, network = FakeDriver(), ScriptedNetwork()

    async def scenario() -> None:
        task = asyncio.create_task(run_trial(spec(), tools(driver, converse=converse, network=network)))
        await until(lambda: driver.alive == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
    assert network.calls[-1] == "close"
    assert driver.alive == 0


def test_a_machine_that_nobody_lets_out_is_told_no_paths() -> None:
    class Unconnected(FakeDriver):
        async def start(self, template: Any, *, network: Any = None) -> FakeSandbox:
            return await super().start(template)

    agent = ScriptedAgent()
    attempt(ScriptedNetwork(variables={"KEY": "x"}), driver=Unconnected(), agent=agent)
    assert agent.seen is not None
    assert agent.seen.env == {"KEY": "x"}
