"""Expectations inside turns: each is judged on a trace cut to what its entry of the conversation brought."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from aegis.scoring.base import ScoreContext
from aegis.suite.model import Case, Expectation
from aegis.trace import Trace
from aegis.trace.part import part


@dataclass(frozen=True, slots=True)
class Asked:
    """One expectation and what it is judged on."""

    expectation: Expectation
    context: ScoreContext | None
    """None: the entry brought no turn that could be judged."""
    where: str = ""
    """Before the reason: `turn 3: `."""


def asked(case: Case, context: ScoreContext, before: Mapping[int, Any]) -> Iterator[Asked]:
    """Every expectation of the case: those of the whole conversation first, then those of turns, in their order.
    `before` is what those of the case remember, by their number."""
    for number, expectation in enumerate(case.expect):
        yield Asked(expectation, replace(context, before=before.get(number)))
    for entry, turn in enumerate(case.turns):
        if turn.expect:
            found = _turns_of(context.trace, entry)
            where = _named(found, entry)
            cut = replace(context, trace=part(context.trace, found[0], found[-1])) if found else None
            for expectation in turn.expect:
                yield Asked(expectation, cut, where)


def _turns_of(trace: Trace, entry: int) -> list[int]:
    """The turns that an entry of the conversation brought, which follow one another."""
    if all(turn.entry is None for turn in trace.turns):  # nobody kept it: every entry is one message
        return [entry] if entry < len(trace.turns) else []
    return [number for number, turn in enumerate(trace.turns) if turn.entry == entry]


def _named(turns: list[int], entry: int) -> str:
    if not turns:
        return f"conversation[{entry}]: "
    if len(turns) == 1:
        return f"turn {turns[0] + 1}: "
    return f"turns {turns[0] + 1}–{turns[-1] + 1}: "
