"""Scorer `processes`, and how a sandbox lists what runs in it: real programs, honest and hiding ones."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from aegis.agents import get as get_agent
from aegis.agents.users import ScriptedUser
from aegis.engine.lastlook import LastLook
from aegis.errors import GuestOperationError, GuestProtocolError, InfrastructureError
from aegis.sandbox import looks
from aegis.sandbox.base import Processes, ProcessInfo, Sandbox
from aegis.scoring import processes as scorer
from aegis.scoring import registry
from aegis.suite.model import Agent
from support.process_sandbox import PATIENCE_S, in_sandbox
from support.scoring import context

SLEEP = "import time; time.sleep(600)"


def found(*commands: str, more: int = 0) -> Processes:
    return Processes(tuple(ProcessInfo(i, 1, tuple(c.split())) for i, c in enumerate(commands, 10)), more)


def judged(config: Any, processes: Processes) -> tuple[bool, str]:
    assert registry.check("processes", config) == []
    score = asyncio.run(registry.get("processes").score(config, context(processes=processes)))
    return score.passed, score.reason


TWO = found("postgres -D /srv/db", "nginx: worker", "nginx: worker")


@pytest.mark.parametrize(
    "config",
    [
        "postgres -D",
        {"running": ["postgres", {"matches": "^nginx: "}], "none": ["curl", {"equals": "postgres"}]},
        {"running": "nginx", "count": 2},
        {"running": "redis", "count": 0},
        {"running": "nginx", "count": {"max": 2}},
        {"none": "redis"},
    ],
)
def test_what_holds(config: Any) -> None:
    passed, reason = judged(config, TWO)
    assert passed, reason


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (
            "redis",
            'expected at least 1 process whose command should contain "redis", found 0; running: '
            '10 "postgres -D /srv/db"',
        ),
        ({"running": "nginx", "count": 1}, "expected 1 process whose"),
        (
            {"running": "nginx", "count": 3},
            'expected 3 processes whose command should contain "nginx", found 2; these:',
        ),
        ({"none": ["redis", "nginx"]}, 'expected no process whose command should contain "nginx", found 11'),
    ],
)
def test_what_fails(config: Any, reason: str) -> None:
    passed, told = judged(config, TWO)
    assert not passed
    assert reason in told


def test_more_than_are_looked_at_is_a_failed_score() -> None:
    assert judged({"none": "x"}, found("a", more=3)) == (
        False,
        "there are 3 more processes than are looked at",
    )


def test_without_a_list_nobody_knows() -> None:
    with pytest.raises(InfrastructureError, match="not known"):
        asyncio.run(registry.get("processes").score("x", context()))
    error = cast("Processes", GuestOperationError("no room for another process", code="no-space"))
    score = asyncio.run(registry.get("processes").score("x", context(processes=error)))
    assert (score.passed, "no room" in score.reason) == (False, True)


def test_a_pattern_that_backtracks_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorer, "JUDGING_S", 0.5)
    _, reason = judged({"none": {"matches": "(a|a)*$"}}, found("a" * 60 + "!"))
    assert "took longer" in reason


@pytest.mark.parametrize(
    ("config", "path", "said"),
    [
        ({}, (), "expected running, none, or both"),
        ({"running": []}, ("running",), "at least one"),
        ({"running": [{"matches": "["}]}, ("running", 0, "matches"), "not a regular expression"),
        ({"none": {"contain": "x"}}, ("none", "contain"), "unknown key"),
        ({"none": "x", "count": 1}, ("count",), "is for 'running'"),
        ({"runing": "x"}, ("runing",), "did you mean 'running'?"),
        (3, (), "expected a mapping"),
    ],
)
def test_wrong_configurations(config: Any, path: tuple[Any, ...], said: str) -> None:
    problems = registry.check("processes", config)
    assert path in [where for where, _ in problems]
    assert any(said in told for _, told in problems)


def listed(use: Callable[[Sandbox], Awaitable[None]], **options: Any) -> Processes:
    async def body(sandbox: Sandbox) -> Processes:
        await use(sandbox)
        return await sandbox.processes(**options)

    return in_sandbox(body)


async def until(sandbox: Sandbox, right: Callable[[Processes], bool]) -> None:
    """A program becomes another one some time after it was started."""
    async with asyncio.timeout(PATIENCE_S):
        while not right(await sandbox.processes()):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def test_the_sandbox_of_nobody_shows_nothing_of_its_own() -> None:
    async def use(sandbox: Sandbox) -> None:
        await sandbox.run(("true",))
        await asyncio.sleep(0.5)  # time enough for the next spare

    assert listed(use) == Processes(())


def test_programs_their_children_and_daemons_are_listed() -> None:
    leave = f"import os\nif not os.fork():\n os.setsid()\n if not os.fork():\n  {SLEEP}\n os._exit(0)\n"
    daemon = f"{leave}os.wait(); {SLEEP}"

    async def use(sandbox: Sandbox) -> None:
        await sandbox.exec((sys.executable, "-c", SLEEP, "first argument", ""))
        await sandbox.exec((sys.executable, "-c", daemon))
        await until(sandbox, lambda all: len(all.items) == 3)

    all = listed(use)
    assert (sys.executable, "-c", SLEEP, "first argument") == all.items[0].command[:4]
    commands = [each.command[-1] for each in all.items]
    assert commands.count(daemon) == 2


def test_a_process_cannot_pass_for_a_helper_by_its_name() -> None:
    """The helpers' command line is known to whoever reads /proc; it is not what they are known by."""
    disguise = (
        "import os\n"
        "line = open(f'/proc/{os.getppid()}/cmdline', 'rb').read().split(b'\\0')[:-1]\n"
        "os.execv('/bin/sleep', [*line[:1], b'600'])"
    )

    async def use(sandbox: Sandbox) -> None:
        await sandbox.exec((sys.executable, "-c", disguise))
        await until(sandbox, lambda all: any(each.command[-1] == "600" for each in all.items))

    assert len(listed(use).items) == 1


def test_no_more_are_listed_than_asked_for() -> None:
    async def use(sandbox: Sandbox) -> None:
        for _ in range(5):
            await sandbox.exec((sys.executable, "-c", SLEEP))
        await until(sandbox, lambda all: len(all.items) == 5)

    all = listed(use, max_items=2)
    assert (len(all.items), all.more) == (2, 3)


@pytest.mark.parametrize(
    "answer",
    [b"[]\n", b"{}\n", b"{\n", b'{"pid": -1, "parent": 1, "command": []}', b'{"pid": 1, "parent": 1, "command": [1]}',
     b'{"more": true}', b"\xff", b"[" * 100_000],
)  # fmt: skip
def test_an_answer_that_makes_no_sense_is_a_breach(answer: bytes) -> None:
    with pytest.raises(GuestProtocolError):
        looks.processes(answer)
    with pytest.raises(GuestProtocolError):
        looks.entries(answer)


def last_look(command: str, protocol: str = "text", **fields: Any) -> Processes:
    """What a conversation with this agent leaves for `processes`."""
    agent = Agent.model_validate({"command": command, "protocol": protocol, **fields})

    async def use(sandbox: Sandbox) -> Processes:
        last = LastLook(sandbox)
        driver = get_agent(protocol)
        result = await driver.converse(cast("Sandbox", last), agent, ScriptedUser("hi"), timeout_s=PATIENCE_S)
        assert result.failure is None, result.failure
        assert isinstance(last.seen, Processes)
        assert (await sandbox.processes()).items == (), "what the agent left has been ended"
        return last.seen

    return in_sandbox(use)


def test_a_daemon_that_the_agent_left_is_seen_before_it_is_ended() -> None:
    seen = last_look("setsid sleep 600 >/dev/null 2>&1 & echo done")
    assert ("sleep", "600") in [each.command for each in seen.items]


def test_an_agent_that_left_nothing() -> None:
    assert last_look("echo done").items == ()
