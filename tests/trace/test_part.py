"""A trace cut to some of its turns."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aegis.trace import Exchange, ToolCall, Trace, TurnRecord, build_trace
from aegis.trace.part import part
from support import wire


def turn(number: int, started_s: float, duration_s: float) -> TurnRecord:
    return TurnRecord(f"message {number}", f"answer {number}", duration_s, started_s, entry=number)


def exchange(id: int, started_s: float) -> Exchange:
    return wire.exchange("/v1/chat/completions", {"model": "m"}, wire.chat("x"), id=id, started_s=started_s)


SEEN = Trace(
    turns=(turn(0, 0.0, 1.0), turn(1, 1.5, 1.0), turn(2, 3.0, 1.0)),
    tool_calls=(ToolCall("first", turn=0), ToolCall("second", turn=1), ToolCall("late", turn=3)),
    duration_s=4.5,
    waited_s=0.5,
    exit="exit code 0",
)
TIMES_S = (0.1, 0.9, 1.2, 1.6, 2.6, 3.9, 4.4)
TRACE = build_trace(SEEN, [exchange(id, at) for id, at in enumerate(TIMES_S, 1)], lambda digest: b"")


@pytest.mark.parametrize(
    ("first", "last", "exchanges", "tools"),
    [
        (0, 0, [1, 2], [("first", 0)]),
        (1, 1, [3, 4], [("second", 0)]),  # 3: what began after the turn before had ended
        (2, 2, [5, 6, 7], [("late", 1)]),
        (1, 2, [3, 4, 5, 6, 7], [("second", 0), ("late", 2)]),
        (0, 2, [1, 2, 3, 4, 5, 6, 7], [("first", 0), ("second", 1), ("late", 3)]),
    ],
)
def test_what_belongs_to_a_turn(
    first: int, last: int, exchanges: list[int], tools: list[tuple[str, int]]
) -> None:
    cut = part(TRACE, first, last)
    assert [turn.entry for turn in cut.turns] == list(range(first, last + 1))
    assert [item.id for item in cut.exchanges] == exchanges
    assert [call.exchange for call in cut.model_calls] == exchanges
    assert [(call.name, call.turn) for call in cut.tool_calls] == tools
    assert cut.usage is not None
    assert (cut.usage.model_calls, cut.usage.tool_calls) == (len(exchanges), len(tools))
    assert cut.answer == f"answer {last}"
    assert (cut.duration_s, cut.recorded, cut.exit) == (last - first + 1.0, True, "exit code 0")


def test_every_exchange_is_in_exactly_one_turn() -> None:
    parts = [part(TRACE, number, number) for number in range(3)]
    assert sorted(item.id for cut in parts for item in cut.exchanges) == [item.id for item in TRACE.exchanges]


def test_without_a_gateway() -> None:
    cut = part(SEEN, 1, 1)
    assert (cut.recorded, cut.usage, cut.exchanges) == (False, None, ())
    assert [call.name for call in cut.tool_calls] == ["second"]


def test_turns_survive_being_stored_and_old_ones_are_read() -> None:
    marked = replace(TRACE, turns=(replace(TRACE.turns[0], simulated=True, user_ended="goal reached"),))
    assert Trace.from_json(marked.to_json()) == marked
    old = {"turns": [{"user": "a", "answer": "b", "duration_s": 1.0}]}
    assert Trace.from_json(old).turns == (TurnRecord("a", "b", 1.0),)
