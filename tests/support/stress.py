"""Cases to make variants of, and variants."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from aegis.stress import registry
from aegis.stress.base import Variant
from aegis.suite.model import Case, Expectation, Turn

REFUND = (
    "Hi, I'm Ada. I want a refund for order 1042 (the \"blue mug\"), it arrived broken & it's about $12.50. "
    "Please write to ada@mail.example, never to my office, see https://shop.example/o?id=1042&x=y."
)


def case_of(
    *messages: str, id: str = "case", expect: list[dict[str, Any]] | None = None, **fields: Any
) -> Case:
    """A case with these scripted turns; each entry of `expect` is `{scorer: configuration}`."""
    entries = [
        Expectation(scorer=scorer, config=config)
        for entry in expect or [{"answer": {"contains": "refund"}}]
        for scorer, config in entry.items()
    ]
    turns = tuple(Turn(user=text) for text in messages or (REFUND,))
    return Case(id=id, turns=turns, expect=tuple(entries), **fields)


def variant(name: str, case: Case, level: str = "", **params: Any) -> Variant:
    """`params` as a suite would write them."""
    kind = registry.get(name)
    return kind(kind.read(params)).variant(case, level)


def said_in(made: Variant) -> list[str]:
    return [turn.user for turn in made.case.turns]


PROTECTED = (
    "1042",
    "A-1042",
    "$1,318.75",
    "2026-11-23",
    "50%",
    "ada@mail.example",
    "https://shop.example/o?id=7&x=y",
    "`rm -r`",
    '"the blue mug"',
    "“curly words”",
    "/var/log/app.log",
    "report.pdf",
    "snake_case",
    "camelCase",
    "ACME",
    "@channel",
    "{name}",
    "<b>",
    "10:30",
)
_PLAIN = (
    "please", "cancel", "the", "subscription", "and", "refund", "don't", "it's", "über", "señor", "file", "never",
    "because", "delivery", "arrived", "broken", "twice", "-", "&", "Ada", "naïve", "affluent", "日本", "🙂",
)  # fmt: skip

MESSAGES = st.lists(st.sampled_from(PROTECTED + _PLAIN), min_size=1, max_size=25).map(" ".join)
"""Messages of protected tokens and other words."""

WILD = st.text(min_size=1, max_size=120)
"""Any text."""
