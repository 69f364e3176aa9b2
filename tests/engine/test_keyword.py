"""The selection language of `-k`."""

from __future__ import annotations

import pytest
from engine_values import case
from hypothesis import given
from hypothesis import strategies as st

from aegis.engine.keyword import compile_keyword
from aegis.errors import UsageError

CASES = (
    case("refund-within-policy", tags=("refund", "fast")),
    case("refund-too-late", tags=("refund", "slow")),
    case("forty-turns", tags=("slow",)),
    case("greeting"),
)


def selected(expression: str) -> list[str]:
    matches = compile_keyword(expression)
    return [item.id for item in CASES if matches(item)]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("refund", ["refund-within-policy", "refund-too-late"]),
        ("REFUND and not slow", ["refund-within-policy"]),
        ("greeting or slow", ["refund-too-late", "forty-turns", "greeting"]),
        ("not (refund or slow)", ["greeting"]),
        ("not not greeting", ["greeting"]),
        ("greeting or refund and slow", ["refund-too-late", "greeting"]),
        ("(greeting or refund)and slow", ["refund-too-late"]),
        ("forty-turns", ["forty-turns"]),
        # A tag must be named whole; an id only in part.
        ("slo", []),
        ("turn", ["forty-turns"]),
    ],
)
def test_expressions(expression: str, expected: list[str]) -> None:
    assert selected(expression) == expected


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("refund and", "found the end at column 11"),
        ("and refund", "found 'and' at column 1"),
        ("(refund", "expected ')'"),
        ("refund)", "found ')' at column 7"),
        ("refund slow", "expected 'and', 'or' or the end, found 'slow' at column 8"),
        ("()", "found ')' at column 2"),
        ("not", "found the end"),
        ("(" * 500 + "a" + ")" * 500, "too many nested parentheses"),
    ],
)
def test_broken_expressions_say_where(expression: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        compile_keyword(expression)
    assert message in str(caught.value)
    assert caught.value.fix


def test_a_long_expression_is_no_problem() -> None:
    assert selected(" or ".join(["nothing"] * 20_000 + ["greeting"])) == ["greeting"]


@given(st.text(alphabet="()ano dtr", max_size=60))
def test_any_text_is_a_predicate_or_a_usage_error(expression: str) -> None:
    try:
        matches = compile_keyword(expression)
    except UsageError:
        return
    assert matches(CASES[0]) in (True, False)
