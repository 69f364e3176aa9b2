"""The matcher that all text scorers share, by way of the scorer `answer`."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import pytest

from aegis.errors import InfrastructureError
from aegis.scoring import registry
from aegis.scoring.base import Score
from support.scoring import context


def answer(config: Any, text: str) -> Score:
    assert registry.check("answer", config) == []
    return asyncio.run(registry.get("answer").score(config, context(text)))


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ("refund", "your refund is due"),
        ({"contains": ["refund", "due"]}, "your refund is due"),
        ({"equals": "ok\n"}, "ok"),
        ({"equals": ""}, ""),
        ({"equals": 42}, "42"),
        ({"equals": "YES", "ignore_case": True}, "yes"),
        ({"equals": "straße", "ignore_case": True}, "STRASSE"),
        ({"equals": "a b", "normalize_whitespace": True}, " a \n\t b "),
        ({"contains": "a  b", "normalize_whitespace": True}, "x a\nb x"),
        ({"matches": r"(?i)order 1077\b"}, "It was ORDER 1077."),
        ({"matches": r"^b$"}, "b"),
        ({"matches": "(?m)^b$"}, "a\nb\nc"),
        ({"matches": "ORDER", "ignore_case": True}, "order"),
        (
            {"json": {"amount": 42, "lines": [{"id": 1}]}},
            '{"amount": 42.0, "lines": [{"id": 1, "x": 0}], "y": 2}',
        ),
        ({"json": None}, "null"),
        ({"json": {"1": "a"}}, '{"1": "a"}'),
        ({"schema": {"type": "object", "required": ["a"]}}, '{"a": 1}'),
        ({"any": ["refund", {"equals": "no"}]}, "no"),
        ({"all": ["a", {"matches": "b+"}]}, "abb"),
        ({"not": "sorry"}, "here it is"),
        ({"not": {"any": ["x", {"not": "y"}]}}, "y"),
        ({"any": ["A", "B"], "not": "C", "ignore_case": True}, "b"),
    ],
)
def test_what_fits(config: Any, text: str) -> None:
    score = answer(config, text)
    assert score.passed, score.reason
    assert (score.scorer, score.value) == ("answer", 1.0)
    assert score.reason.startswith("the answer does ")


@pytest.mark.parametrize(
    ("config", "text", "reason"),
    [
        ("refund", "Sorry.", 'expected the answer to contain "refund", found "Sorry."'),
        ("refund", "", 'expected the answer to contain "refund", found nothing'),
        ({"contains": ["a", "b", "z"]}, "ab", 'missing "z": found "ab"'),
        ({"equals": "a b"}, "a  b", 'to equal "a b", found "a  b"'),
        ({"matches": "x+"}, "y", 'to match "x+", found "y"'),
        ({"json": {"a": 1}}, "yes: 1", "but it is not JSON (Expecting value at line 1, column 1)"),
        ({"json": {"a": 1}}, '{"a": "1"}', 'expected $.a to be 1, found "1"'),
        ({"json": {"a": 1}}, '{"a": true}', "expected $.a to be 1, found true"),
        ({"json": {"a": {"b": [1, 2]}}}, '{"a": {"b": [1, 3]}}', "expected $.a.b[1] to be 2, found 3"),
        ({"json": [1]}, "[1, 2]", "expected $ to have 1 elements, found 2"),
        ({"json": {"a": None}}, "{}", "expected $.a, found {} without it"),
        ({"json": {"a": 1}}, "[]", "expected $ to be a mapping, found []"),
        ({"json": 1}, "NaN", "not JSON (NaN is not a JSON number)"),
        ({"json": 1}, "[" * 100_000, "not JSON (nested too deeply)"),
        ({"json": 1}, "9" * 10_000, "not JSON"),
        ({"schema": {"type": "object"}}, "[]", "but $: [] is not of type 'object'"),
        ({"schema": {"properties": {"a": {"pattern": "^x"}}}}, '{"a": "yx"}', "but $.a: 'yx' does not match"),
        ({"any": ["a", {"equals": "b"}]}, "c", 'to contain "a" or equal "b", found "c"'),
        ({"all": ["a", "b"]}, "a", 'to contain "a" and contain "b", found "a"'),
        ({"not": "a"}, "a", 'to not contain "a", found "a"'),
    ],
)
def test_what_does_not_fit(config: Any, text: str, reason: str) -> None:
    score = answer(config, text)
    assert not score.passed
    assert score.value == 0.0
    assert reason in score.reason
    assert "\n" not in score.reason


def test_reasons_hold_nothing_that_a_terminal_obeys_and_stay_short() -> None:
    score = answer("x", "\x1b[2J\u202e\x07" + "y" * 100_000)
    assert score.reason.isprintable()
    assert len(score.reason) < 400


@pytest.mark.parametrize("config", [{"matches": r"(x+x+)+y"}, {"schema": {"pattern": r"(x+x+)+y"}}])
def test_a_catastrophic_pattern_fails_and_hangs_nothing(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aegis.scoring.pattern.Deadline.__init__.__defaults__", (0.3,))
    text = "x" * 5000

    async def body() -> tuple[Score, int]:
        ticks = 0
        task = asyncio.ensure_future(
            registry.get("answer").score(config, context(f'"{text}"' if "schema" in config else text))
        )
        while not task.done():
            await asyncio.sleep(0.01)
            ticks += 1
        return task.result(), ticks

    score, ticks = asyncio.run(body())
    assert not score.passed
    assert "catastrophic" in score.reason
    assert ticks > 3, "the event loop was held up"


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"uniqueItems": True}, "[" + ",".join(f"[{i}]" for i in range(20_000)) + "]"),
        ({"patternProperties": {"^a": {"type": "integer"}}, "additionalProperties": False}, '{"a1": 1}'),
        ({"additionalProperties": {"type": "string"}, "properties": {"a": {}}}, '{"a": 1, "b": "x"}'),
        ({"$ref": "#/$defs/tree", "$defs": {"tree": {"items": {"$ref": "#/$defs/tree"}}}}, "[[[]]]"),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"const": 1}]}, "[1, 2]"),
    ],
)
def test_schemas_that_fit(schema: Any, text: str) -> None:
    assert answer({"schema": schema}, text).passed


@pytest.mark.parametrize(
    ("schema", "text", "reason"),
    [
        ({"uniqueItems": True}, "[1, {}, 1.0]", "two elements are equal"),
        (
            {"patternProperties": {"^a": {"type": "integer"}}},
            '{"a1": "x"}',
            "$.a1: 'x' is not of type 'integer'",
        ),
        ({"patternProperties": {"^a": {}}, "additionalProperties": False}, '{"b": 1}', "'b' is not allowed"),
        ({"additionalProperties": {"type": "string"}}, '{"b": 1}', "$.b: 1 is not of type 'string'"),
        ({"items": {"$ref": "#"}, "type": "array"}, "[" * 600 + "]" * 600, "nested too deeply"),
    ],
)
def test_schemas_that_do_not_fit(schema: Any, text: str, reason: str) -> None:
    score = answer({"schema": schema}, text)
    assert not score.passed
    assert reason in score.reason


def test_a_schema_that_points_nowhere_is_nobodys_failure() -> None:
    with pytest.raises(InfrastructureError, match="gone"):
        answer({"schema": {"$ref": "#gone"}}, "1")


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (3, ((), "expected a text or a mapping, got the number 3")),
        (None, ((), "expected a text or a mapping, got nothing")),
        ("", ((), "expected a text to look for, got an empty one")),
        ({}, ((), "expected a condition: ")),
        ({"ignore_case": True}, ((), "expected a condition: ")),
        ({"contain": "x"}, (("contain",), "unknown key 'contain' (did you mean 'contains'?)")),
        ({"equals": 1.5}, (("equals",), "expected a text, got the number 1.5 (put it in quotes)")),
        ({"equals": True}, (("equals",), "expected a text, got true")),
        ({"contains": []}, (("contains",), "got an empty list")),
        ({"contains": ["a", ""]}, (("contains",), "got an empty one")),
        ({"contains": {"a": 1}}, (("contains",), "expected a text, got a mapping")),
        ({"matches": "(unclosed"}, (("matches",), "not a regular expression: missing )")),
        ({"matches": 7}, (("matches",), "expected a regular expression, got the number 7")),
        ({"contains": "x", "ignore_case": "yes"}, (("ignore_case",), "expected true or false, got 'yes'")),
        ({"json": {"a": {1, 2}}}, (("json",), "expected JSON, got a set")),
        ({"schema": "x"}, (("schema",), "expected a JSON Schema (a mapping)")),
        ({"schema": {"type": "objekt"}}, (("schema",), "not a JSON Schema: $.type")),
        ({"schema": {"pattern": "("}}, (("schema",), "$.pattern: '(' is not a 'regex'")),
        ({"schema": {"$ref": "http://x/y"}}, (("schema",), "references to other documents")),
        ({"schema": {"items": {"$ref": "#/$defs/a"}}}, (("schema",), "'#/$defs/a' leads nowhere")),
        ({"any": []}, (("any",), "expected a list of matchers, got an empty list")),
        ({"any": "x"}, (("any",), "expected a list of matchers, got 'x'")),
        ({"all": ["a", {"not": {"match": "x"}}]}, (("all", 1, "not", "match"), "did you mean 'matches'?")),
    ],
)
def test_configurations_that_are_refused(config: Any, problem: tuple[tuple[Any, ...], str]) -> None:
    path, message = registry.check("answer", config)[0]
    assert path == problem[0]
    assert problem[1] in message


def test_every_problem_is_told_at_once() -> None:
    found = registry.check("answer", {"contain": "x", "matches": "(", "any": [1, ""]})
    assert [path for path, _ in found] == [("contain",), ("matches",), ("any", 0), ("any", 1)]


def test_endless_nesting_is_refused() -> None:
    config: Any = "x"
    for _ in range(1000):
        config = {"not": config}
    assert "nested deeper than 20 levels" in registry.check("answer", config)[0][1]


def test_ten_thousand_plain_checks_load_no_library() -> None:
    program = """
import sys
from aegis.scoring import registry
for i in range(10_000):
    assert not registry.check("answer", {"contains": [f"refund {i}"], "matches": f"order {i}", "not": f"no {i}"})
print([name for name in ("regex", "jsonschema", "sqlite3") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.stdout == "[]\n", done.stderr
