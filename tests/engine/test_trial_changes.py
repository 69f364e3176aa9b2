"""What an agent changed is kept with its trial, and never decides about it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from engine_values import ScriptedScorer, answered, spec, tools, world
from engine_values import case as make_case

from aegis.agents.base import AgentResult
from aegis.engine import differences
from aegis.engine.spec import TrialResult
from aegis.engine.trial import run_trial
from aegis.errors import GuestOperationError, GuestProtocolError, SandboxLostError
from aegis.sandbox.base import Change, Changes, Sandbox
from aegis.scoring.base import ScoreContext
from support.fake_driver import FakeDriver, FakeSandbox, Output


def attempt(
    converse: Any = None,
    *,
    driver: FakeDriver | None = None,
    scorer: ScriptedScorer | None = None,
    **fields: Any,
) -> TrialResult:
    async def nothing(sandbox: Sandbox, timeout_s: float) -> AgentResult:
        return answered()

    the_spec = spec(make_case(**fields))
    kit = tools(driver or FakeDriver(), converse=converse or nothing, scorer=scorer)
    return asyncio.run(run_trial(the_spec, kit)).result


async def edits(sandbox: Any, timeout_s: float) -> AgentResult:
    sandbox.files["/workspace/orders.json"] = b"new\n"
    sandbox.files["/workspace/outbox/1.json"] = b"\0\xff"
    sandbox.files.pop("/etc/notes")
    return answered()


def program(sandbox: FakeSandbox, argv: tuple[str, ...], stdin: bytes) -> Output:
    """The set-up of the world."""
    sandbox.files["/workspace/orders.json"] = b"old\n"
    sandbox.files["/etc/notes"] = b"call"
    return Output()


def test_what_the_agent_changed_is_kept_and_the_worlds_set_up_is_none_of_it() -> None:
    result = attempt(edits, driver=FakeDriver(program=program), world=world("set up"))
    assert result.outcome == "passed"
    assert result.changes is not None
    changes = dict(result.changes)
    items = changes.pop("items")
    assert changes == {
        "added": 1,
        "changed": 1,
        "deleted": 1,
        "more": 0,
        "first": ["~orders.json", "+outbox/1.json", "-/etc/notes"],
        "note": "",
    }
    assert [(each["path"], each["how"], each["text"], each["binary"]) for each in items] == [
        ("/etc/notes", "deleted", ["call", None], False),
        ("/workspace/orders.json", "changed", ["old\n", "new\n"], False),
        ("/workspace/outbox/1.json", "added", [None, None], True),
    ]
    assert TrialResult.from_json(json.loads(json.dumps(result.to_json()))).changes == result.changes


def test_an_agent_that_failed_or_was_late_is_looked_at_too() -> None:
    async def breaks(sandbox: Any, timeout_s: float) -> AgentResult:
        sandbox.files["/workspace/half"] = b"done"
        return AgentResult(answered().trace, "agent ended with exit code 3", timed_out=False)

    async def late(sandbox: Any, timeout_s: float) -> AgentResult:
        sandbox.files["/workspace/half"] = b"done"
        return AgentResult(answered().trace, "timed out", timed_out=True)

    for converse, outcome in ((breaks, "failed"), (late, "timeout")):
        result = attempt(converse)
        assert result.outcome == outcome
        assert result.changes is not None
        assert result.changes["first"] == ["+half"]


def test_what_a_scorer_does_in_the_machine_is_not_the_agents() -> None:
    async def judge(config: Any, context: ScoreContext) -> bool:
        files: dict[str, bytes] = context.sandbox.files  # type: ignore[attr-defined]
        files["/workspace/report"] = b"scored"
        return True

    result = attempt(scorer=ScriptedScorer(judge))
    assert result.changes is not None
    assert (result.changes["added"], result.changes["items"]) == (0, [])


@pytest.mark.parametrize("operation", ["mark", "changes"])
@pytest.mark.parametrize(
    "error",
    [
        GuestOperationError("no room", code="no-space"),
        GuestProtocolError("the machine broke the protocol: changes: a path comes twice"),
        RuntimeError("a mistake"),
    ],
)
def test_a_difference_that_cannot_be_told_is_a_note_and_nothing_more(
    operation: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(self: FakeSandbox, **_: Any) -> None:
        raise error

    monkeypatch.setattr(FakeSandbox, operation, fails)
    result = attempt()
    assert (result.outcome, result.reason) == ("passed", "")
    assert result.changes is not None
    assert result.changes["note"] == f"what it changed could not be told: {error}"
    assert (result.changes["added"], result.changes["items"]) == (0, [])


@pytest.mark.parametrize("operation", ["mark", "changes"])
def test_a_machine_that_is_slow_to_tell_is_not_waited_for(
    operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs(self: FakeSandbox, **_: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(FakeSandbox, operation, hangs)
    monkeypatch.setattr(differences, "TIMEOUT_S", 0.01)
    result = attempt()
    assert result.outcome == "passed"
    assert result.changes is not None
    assert "not within" in result.changes["note"]


def test_nothing_is_known_of_a_machine_that_is_gone() -> None:
    async def converse(sandbox: Any, timeout_s: float) -> AgentResult:
        raise SandboxLostError("gone", by_guest=True)

    result = attempt(converse)
    assert (result.outcome, result.changes) == ("failed", None)


def added(path: str, kind: Any = "file") -> Change:
    return Change(path, "added", kind, None, 1 if kind == "file" else None)


def test_folders_count_where_nothing_in_them_is_told() -> None:
    told = differences.described(
        Changes(
            (added("/workspace/a", "folder"), added("/workspace/a/b"), added("/workspace/e", "folder")),
            more=4,
        )
    )
    assert (told["added"], told["more"], told["first"]) == (2, 4, ["+a/b", "+e/"])
    assert len(told["items"]) == 3


def test_names_that_tell_most_come_first() -> None:
    paths = ["/tmp/x", "/etc/a", "/workspace/__pycache__/a.pyc", "/workspace/z", "/var/log/b", "/srv/t"]
    told = differences.described(Changes(tuple(map(added, sorted(paths)))))
    assert told["first"] == ["+z", "+__pycache__/a.pyc", "+/etc/a", "+/srv/t", "+/tmp/x"]
    long = differences.described(Changes((added("/" + "é" * 2000),)))
    assert long["first"] == ["+…" + "é" * differences.NAME_CHARS]
