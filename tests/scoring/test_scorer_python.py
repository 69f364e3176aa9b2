"""Scorer `python`: users' own functions, right and wrong."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aegis.errors import InfrastructureError
from aegis.sandbox.base import Sandbox
from aegis.scoring import registry
from aegis.scoring.base import Score
from support.process_sandbox import in_sandbox
from support.scoring import context


def judge(
    source: str, answer: str = "yes", files: dict[str, str | bytes] | None = None, **config: Any
) -> Score:
    whole = {"function": "checks.py:check", **config}
    assert registry.check("python", whole) == []
    given = {"checks.py": source.encode()}

    async def use(sandbox: Sandbox | None) -> Score:
        return await registry.get("python").score(
            whole, context(answer, sandbox, tool_calls=1, check_files=given)
        )

    return asyncio.run(use(None)) if files is None else in_sandbox(use, files)


@pytest.mark.parametrize(
    ("body", "passed", "value", "reason"),
    [
        ("return c.answer == 'yes'", True, 1.0, "checks.py:check returned True"),
        ("return False, 'too rude'", False, 0.0, "too rude"),
        ("return 1", True, 1.0, "returned 1, passed from 1 on"),
        ("return 0.5", False, 0.5, "returned 0.5, passed from 1 on"),
        ("return 0.5, 'half\\nway'", False, 0.5, "half way"),
        ("return Score('python', True, 0.7, 'mine')", True, 0.7, "mine"),
        (
            "assert c.answer == 'no', 'expected a no'\n    return True",
            False,
            0.0,
            "expected a no (checks.py line 3)",
        ),
        (
            "return (c.turns[0].user, c.tool_calls[0].name, c.case_id) == ('hi', 'call-0', 'one')",
            True,
            1.0,
            "",
        ),
    ],
)
@pytest.mark.parametrize("kind", ["def", "async def"])
def test_what_functions_return(kind: str, body: str, passed: bool, value: float, reason: str) -> None:
    score = judge(f"from aegis.scoring.base import Score\n{kind} check(c):\n    {body}\n")
    assert (score.passed, score.value) == (passed, value)
    assert reason in score.reason


def test_a_threshold_and_arguments() -> None:
    source = "def check(c, least, name='x'):\n    return least, name"
    score = judge(source, args={"least": 0.5, "name": "n"}, threshold=0.4)
    assert (score.passed, score.value, score.reason) == (True, 0.5, "n")


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_files_and_commands_are_at_hand_without_await(kind: str) -> None:
    source = f"""
{kind} check(c):
    done = c.run("cat note; echo oops >&2; exit 3")
    return (c.read_file("note"), c.read_bytes("note"), done.exit_code, done.stdout, done.stderr) == (
        "hello", b"hello", 3, "hello", "oops\\n")
"""
    assert judge(source, files={"note": "hello"}).passed


def test_a_missing_file_is_the_agents_failure_unless_it_is_caught() -> None:
    score = judge("def check(c):\n    return 'x' in c.read_file('out.json')", files={})
    assert (score.passed, score.reason) == (False, "checks.py:check: out.json does not exist")
    caught = "def check(c):\n    try: c.read_file('out')\n    except FileNotFoundError: return True"
    assert judge(caught, files={}).passed


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "def check(c):\n    return 1 / 0",
            r"failed: ZeroDivisionError: division by zero \(checks.py line 2\)",
        ),
        (
            "import json\ndef check(c):\n    return json.loads(c.answer)",
            r"JSONDecodeError.*\(checks.py line 3\)",
        ),
        ("async def check(c):\n    raise KeyError('x')", r"KeyError: 'x' \(checks.py line 2\)"),
        ("def check(c):\n    raise TimeoutError('own')", "failed: TimeoutError: own"),
        ("def check(c):\n    raise SystemExit(3)", "failed: RuntimeError: SystemExit: 3"),
        ("def check(c):\n    raise StopIteration", "failed: RuntimeError: StopIteration"),
        ("def check():\n    return True", "failed: TypeError"),
        ("def check(c):\n    pass", "returned nothing"),
        ("def check(c):\n    return 'good'", 'returned "good"'),
        ("def check(c):\n    return 2", "returned 2"),
        ("def check(c):\n    return float('nan')", "returned NaN"),
        ("def check(c:\n", r"cannot be loaded: SyntaxError: .*\(checks.py line 1\)"),
        ("import no_such_module", r"cannot be loaded: ModuleNotFoundError.*\(checks.py line 1\)"),
        ("raise SystemExit(1)", "cannot be loaded: SystemExit"),
        ("x = 1", "cannot be loaded: AttributeError"),
        ("check = 3", "is not a function but a int"),
    ],
)
def test_what_goes_wrong_in_a_scorer_is_nobodys_failure(source: str, message: str) -> None:
    with pytest.raises(InfrastructureError, match=message):
        judge(source)


def test_a_function_that_hangs_is_left_behind() -> None:
    with pytest.raises(InfrastructureError, match="did not end within 500ms"):
        judge("import time\ndef check(c):\n    time.sleep(600)", timeout="500ms")


def test_an_importable_function(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "company_scorers.py").write_text("def polite(c, word):\n    return word in c.answer\n")
    monkeypatch.syspath_prepend(tmp_path)
    config = {"function": "company_scorers:polite", "args": {"word": "please"}}
    assert registry.check("python", config) == []
    assert registry.get("python").files(config) == ()
    score = asyncio.run(registry.get("python").score(config, context("yes, please")))  # type: ignore[arg-type]
    assert score.passed


def test_the_shorthand_and_the_file_it_needs() -> None:
    assert registry.check("python", "checks/a.py:check") == []
    assert registry.get("python").files("checks/a.py:check") == ("checks/a.py",)


def test_a_file_that_was_not_loaded_is_nobodys_failure() -> None:
    work = registry.get("python").score("checks.py:check", context())
    with pytest.raises(InfrastructureError, match=r"'checks\.py' was not loaded"):
        asyncio.run(work)  # type: ignore[arg-type]


def test_dataclasses_work_in_a_scoring_file() -> None:
    source = """
from __future__ import annotations
from dataclasses import dataclass
@dataclass
class Result:
    ok: bool
def check(c): return Result(True).ok
"""
    assert judge(source).passed


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({}, ((), "missing key 'function'")),
        ("checks.py", (("function",), "expected module:function or checks.py:function")),
        ({"function": "a:b()"}, (("function",), "expected module:function")),
        ({"function": "../x.py:f"}, (("function",), "inside the suite's folder")),
        ({"function": "/x.py:f"}, (("function",), "inside the suite's folder")),
        ({"function": "a:b", "args": [1]}, (("args",), "expected a mapping of argument names")),
        ({"function": "a:b", "args": {"no name": 1}}, (("args",), "expected a mapping of argument names")),
        ({"function": "a:b", "threshold": 2}, (("threshold",), "expected a number above 0")),
        ({"function": "a:b", "timeout": 3}, (("timeout",), "expected a duration")),
        ({"function": "a:b", "arg": 3}, (("arg",), "did you mean 'args'?")),
    ],
)
def test_configurations_that_are_refused(config: Any, problem: tuple[Any, str]) -> None:
    path, message = registry.check("python", config)[0]
    assert path == problem[0]
    assert problem[1] in message
