"""Scorer `tool_calls`: names, order, arguments."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aegis.errors import InfrastructureError
from aegis.scoring import registry
from aegis.scoring.base import Score, ScoreContext
from aegis.trace import ToolCall, Trace
from support.scoring import case, context

CALLS = (
    ToolCall("lookup", {"order": 1042}),
    ToolCall("refund", {"order": 1042, "amount": 41}),
    ToolCall("refund", {"order": 1042, "amount": 42, "note": "as asked"}),
    ToolCall("search", "not json"),
)


def score(config: Any, calls: tuple[ToolCall, ...] = CALLS, *, recorded: bool = True) -> Score:
    assert registry.check("tool_calls", config) == []
    trace = Trace(tool_calls=calls, recorded=recorded)
    work = registry.get("tool_calls").score(config, ScoreContext(case(), trace, context().sandbox))
    return asyncio.run(work)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "config",
    [
        {"include": "refund"},
        {"include": ["search", "lookup"]},
        {"include": ["refund", "refund"]},
        {"include": ["lookup", "refund", "search"], "order": "strict"},
        {"exclude": ["delete", "purge"]},
        {"exact": ["refund", "search", "lookup", "refund"]},
        {"exact": ["lookup", "refund", "refund", "search"], "order": "strict"},
        {"arguments": {"refund": {"amount": 42}}},
        {"arguments": {"refund": {"matches": '"amount": 4[2]'}, "lookup": {"order": 1042}}},
        {"arguments": {"search": "not"}},
        {"include": "lookup", "exclude": "delete", "arguments": {"refund": {"not": "43"}}},
    ],
)
def test_calls_that_are_right(config: Any) -> None:
    found = score(config)
    assert found.passed, found.reason


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"include": ["delete"]}, "expected a call of delete; called: lookup, refund, refund, search"),
        ({"include": ["refund"] * 3}, "expected a call of refund more; called"),
        ({"include": ["refund", "lookup"], "order": "strict"}, "expected lookup after refund; called"),
        ({"exclude": ["search", "x"]}, "expected no call of search; called"),
        ({"exact": ["lookup"]}, "expected exactly lookup; called"),
        ({"exact": ["refund", "lookup", "refund", "search"], "order": "strict"}, "in this order; called"),
        ({"arguments": {"delete": {}}}, "expected a call of delete with {}"),
        ({"arguments": {"lookup": {"order": 7}}}, "expected $.order to be 7, found 1042"),
        (
            {"arguments": {"refund": {"amount": 43}}},
            "none of 2 calls has it; the last: expected $.amount to be 43",
        ),
        ({"arguments": {"search": {"q": 1}}}, 'expected $ to be a mapping, found "not json"'),
        ({"arguments": {"lookup": "7"}}, 'expected the arguments to contain "7"'),
    ],
)
def test_calls_that_are_wrong(config: Any, reason: str) -> None:
    found = score(config)
    assert not found.passed
    assert reason in found.reason


def test_no_call_where_none_was_expected() -> None:
    assert score({"exact": []}, ()).passed
    assert score({"exclude": "x"}, ()).passed
    assert not score({"exact": []}).passed


def test_without_a_gateway_what_the_agent_reports_is_all_there_is() -> None:
    assert score({"include": "lookup"}, recorded=False).passed
    with pytest.raises(InfrastructureError, match="tool calls are not known"):
        score({"exclude": "delete"}, (), recorded=False)


def test_names_cannot_reach_the_terminal() -> None:
    assert score({"include": "x"}, (ToolCall("\x1b[2J\u202e"),)).reason.isprintable()


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (["x"], ((), "expected a mapping")),
        ({}, ((), "expected include, exclude, exact or arguments")),
        ({"includes": "x"}, (("includes",), "did you mean 'include'?")),
        ({"include": []}, (("include",), "expected the name of a tool")),
        ({"include": [""]}, (("include", 0), "expected the name of a tool")),
        ({"exact": {}}, (("exact",), "expected the name of a tool")),
        ({"include": "x", "order": "loose"}, (("order",), "any or strict")),
        ({"exclude": "x", "order": "strict"}, (("order",), "nothing to order")),
        ({"include": ["x"], "exclude": ["x"]}, (("exclude",), "'x' is in include and in exclude")),
        ({"arguments": ["x"]}, (("arguments",), "expected a mapping of tools")),
        ({"arguments": {"x": 3}}, (("arguments", "x"), "expected a mapping of arguments")),
        ({"arguments": {"x": {"matches": "("}}}, (("arguments", "x", "matches"), "not a regular expression")),
        ({"arguments": {"x": {"a": {1.5: 1}}}}, (("arguments", "x"), "expected text as a key")),
    ],
)
def test_configurations_that_are_refused(config: Any, problem: tuple[Any, str]) -> None:
    path, message = registry.check("tool_calls", config)[0]
    assert path == problem[0]
    assert problem[1] in message
