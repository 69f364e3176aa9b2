"""Scorers `file`, `command` and `budget`, on real files and programs."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from aegis.errors import InfrastructureError
from aegis.sandbox.base import Sandbox
from aegis.scoring import registry
from aegis.scoring.base import Score
from support.process_sandbox import in_sandbox
from support.scoring import context


def score(
    name: str, config: Any, files: dict[str, str | bytes] | None = None, check: dict[str, bytes] | None = None
) -> Score:
    assert registry.check(name, config) == []

    async def use(sandbox: Sandbox) -> Score:
        return await registry.get(name).score(config, context(sandbox=sandbox, check_files=check))

    return in_sandbox(use, files)


OUTBOX = {"outbox/1.json": '{"amount": 42, "to": "a"}\n', "empty": "", "big": "x" * 5000, "bin": b"a\xff"}


@pytest.mark.parametrize(
    "config",
    [
        "outbox/1.json",
        {"path": "big"},
        {"path": "empty", "exists": True},
        {"path": "empty", "equals": ""},
        {"path": "missing", "exists": False},
        {"path": "outbox/1.json", "json": {"amount": 42}},
        {"path": "outbox/1.json", "schema": {"required": ["to"]}, "contains": "amount"},
        {"path": "outbox/1.json", "equals": '{"amount": 42, "to": "a"}'},
        {"path": "outbox/1.json", "any": ["x", {"matches": "4."}], "max_size": "1KiB"},
        {"path": "bin", "contains": "a\ufffd"},
        {"path": "big", "max_size": "5000B"},
    ],
)
def test_files_that_are_right(config: Any) -> None:
    found = score("file", config, OUTBOX)
    assert found.passed, found.reason


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ("missing", "missing does not exist"),
        ({"path": "outbox"}, "outbox is a folder, not a file"),
        ({"path": "outbox", "exists": False}, "expected outbox not to exist"),
        ({"path": "empty", "exists": False}, "expected empty not to exist, but it does"),
        ({"path": "big", "exists": False}, "expected big not to exist"),
        ({"path": "big", "max_size": "4KiB"}, "big is larger than 4096 bytes"),
        ({"path": "big", "contains": "y", "max_size": "4KiB"}, "big is larger than 4096 bytes"),
        ({"path": "outbox/1.json", "json": {"amount": 1}}, "expected $.amount to be 1, found 42"),
        ({"path": "empty", "contains": "x"}, 'expected empty to contain "x", found nothing'),
        ({"path": "missing", "contains": "x"}, "missing does not exist"),
    ],
)
def test_files_that_are_wrong(config: Any, reason: str) -> None:
    found = score("file", config, OUTBOX)
    assert not found.passed
    assert reason in found.reason


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({}, ((), "missing key 'path'")),
        (3, ((), "expected a mapping")),
        ("", (("path",), "expected a text")),
        ({"path": "a\0b"}, (("path",), "without NUL")),
        ({"path": "a", "exist": True}, (("exist",), "did you mean 'exists'?")),
        ({"path": "a", "exists": "no"}, (("exists",), "expected true or false")),
        ({"path": "a", "exists": False, "contains": "x"}, (("contains",), "must not exist")),
        ({"path": "a", "max_size": 100}, (("max_size",), "expected a size")),
        ({"path": "a", "max_size": "1GiB"}, (("max_size",), "at most 64MiB")),
        ({"path": "a", "matches": "("}, (("matches",), "not a regular expression")),
        ({"path": "a", "any": [{"contain": "x"}]}, (("any", 0, "contain"), "did you mean")),
    ],
)
def test_file_configurations_that_are_refused(config: Any, problem: tuple[Any, str]) -> None:
    path, message = registry.check("file", config)[0]
    assert path == problem[0]
    assert problem[1] in message


@pytest.mark.parametrize(
    "config",
    [
        "true",
        {"run": "exit 3", "exit_code": 3},
        {"run": "echo hello", "stdout": "hello"},
        {"run": "echo '{\"a\": 1}'", "stdout": {"json": {"a": 1}}},
        {"run": "cat given", "stdout": {"equals": "by the agent"}},
        {"run": "sh checks/a.sh", "files": {"checks/a.sh": "checks/a.sh"}, "stdout": "checked"},
        {"run": "./checks/b", "files": {"checks/b": "checks/b"}, "stdout": "executable"},
        {"run": "sh given", "files": {"given": "checks/a.sh"}, "stdout": "checked"},
    ],
)
def test_commands_that_pass(config: Any) -> None:
    check = {"checks/a.sh": b"echo checked\n", "checks/b": b"#!/bin/sh\necho executable\n"}
    found = score("command", config, {"given": "by the agent\n"}, check)
    assert found.passed, found.reason


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ("exit 2", '"exit 2": expected exit code 0, found exit code 2'),
        ("echo out; echo 'AssertionError: 41' >&2; exit 1", "found exit code 1: AssertionError: 41"),
        ("echo '1 failed'; exit 1", "found exit code 1: 1 failed"),
        ({"run": "true", "exit_code": 3}, "expected exit code 3, found exit code 0"),
        ("kill -9 $$", "found killed by signal 9"),
        ("no-such-checker", "found exit code 127"),
        ({"run": "sleep 5000", "timeout": "1s"}, '"sleep 5000" did not end within 1s'),
        (
            {"run": "echo a", "stdout": {"equals": "b"}},
            'expected the output of "echo a" to equal "b", found "a',
        ),
    ],
)
def test_commands_that_fail(config: Any, reason: str) -> None:
    found = score("command", config)
    assert not found.passed
    assert reason in found.reason


def test_the_files_of_a_command_are_named_for_loading() -> None:
    command = registry.get("command")
    assert command.files("true") == ()
    assert command.files({"run": "x", "files": {"/opt/a": "checks/a", "b": "c"}}) == ("checks/a", "c")


def test_a_checking_file_that_was_not_loaded_is_nobodys_failure() -> None:
    with pytest.raises(InfrastructureError, match="'checks/a' was not loaded"):
        score("command", {"run": "true", "files": {"a": "checks/a"}})


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({}, ((), "missing key 'run'")),
        ({"run": 3}, (("run",), "expected a text")),
        ({"run": "x", "exit_code": 256}, (("exit_code",), "from 0 to 255")),
        ({"run": "x", "exit_code": True}, (("exit_code",), "expected a whole number")),
        ({"run": "x", "timeout": 5}, (("timeout",), "expected a duration")),
        ({"run": "x", "stdout": {"contain": "y"}}, (("stdout", "contain"), "did you mean")),
        ({"run": "x", "files": ["a"]}, (("files",), "expected a mapping")),
        ({"run": "x", "files": {"a": "../secret"}}, (("files", "a"), "inside the suite's folder")),
        ({"run": "x", "files": {"a": "/etc/passwd"}}, (("files", "a"), "inside the suite's folder")),
        ({"run": "x", "files": {"../a": "b"}}, (("files",), "expected a path in the sandbox")),
        ({"run": "x", "stdin": "y"}, (("stdin",), "unknown key")),
    ],
)
def test_command_configurations_that_are_refused(config: Any, problem: tuple[Any, str]) -> None:
    path, message = registry.check("command", config)[0]
    assert path == problem[0]
    assert problem[1] in message


@pytest.mark.parametrize(
    ("config", "passed", "reason"),
    [
        ({"seconds": 2}, True, "within budget: 1.5 of 2 seconds"),
        ({"seconds": "1500ms"}, True, "within budget: 1.5 of 1.5 seconds"),
        ({"seconds": 1, "steps": 9}, False, "over budget: 1.5 of 1 seconds"),
        ({"steps": 4}, True, "within budget: 4 of 4 steps"),
        ({"steps": 3}, False, "over budget: 4 of 3 steps"),
    ],
)
def test_budgets(config: Any, passed: bool, reason: str) -> None:
    assert registry.check("budget", config) == []
    work = registry.get("budget").score(config, context(tool_calls=3, duration_s=1.5))
    found = asyncio.run(work)  # type: ignore[arg-type]
    assert (found.passed, found.reason) == (passed, reason)


def test_what_the_agent_was_made_to_wait_is_not_its_time() -> None:
    trial = context(duration_s=61.5)
    waited = replace(trial, trace=replace(trial.trace, waited_s=60.0))
    found = asyncio.run(registry.get("budget").score({"seconds": 2}, waited))  # type: ignore[arg-type]
    assert (found.passed, found.reason) == (
        True,
        "within budget: 1.5 of 2 seconds (60.0 of waiting not counted)",
    )


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({}, ((), "expected a limit: seconds, steps, tokens")),
        ({"tokens": 1.5}, (("tokens",), "expected a whole number of at least 0")),
        ({"usd": -1, "seconds": 3}, (("usd",), "expected US dollars such as 0.05")),
        ({"usd": float("nan")}, (("usd",), "expected US dollars")),
        ({"model_calls": True}, (("model_calls",), "expected a whole number")),
        ({"steps": 1, "prices": {"m": {"input": 1, "output": 2}}}, (("prices",), "prices without usd")),
        ({"usd": 1, "prices": {}}, (("prices",), "expected a mapping such as")),
        ({"usd": 1, "prices": {"m": {"input": 1}}}, (("prices", "m"), "missing key 'output'")),
        (
            {"usd": 1, "prices": {"m": {"input": 1, "output": "2"}}},
            (("prices", "m", "output"), "per million"),
        ),
        ({"seconds": 0}, (("seconds",), "more than 0")),
        ({"seconds": "soon"}, (("seconds",), "expected a duration")),
        ({"steps": 0}, (("steps",), "of at least 1")),
        ({"second": 1}, (("second",), "did you mean 'seconds'?")),
    ],
)
def test_budget_configurations_that_are_refused(config: Any, problem: tuple[Any, str]) -> None:
    path, message = registry.check("budget", config)[0]
    assert path == problem[0]
    assert problem[1] in message
