"""Expectations inside turns: each is judged on its own turn, with the others, after the conversation."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from aegis.errors import InfrastructureError
from aegis.scoring.base import Score, ScoreContext
from aegis.scoring.judge_all import needed_files, score_all
from aegis.suite.model import Case, Expectation, SayRule, SimulatedUser, Turn
from aegis.trace import ToolCall, Trace, TurnRecord, build_trace
from support import wire
from support.recorder import Recorder
from support.scoring import context


def expect(*entries: tuple[str, Any]) -> tuple[Expectation, ...]:
    return tuple(Expectation(scorer=name, config=config) for name, config in entries)


def case(*turns: Turn, whole: tuple[str, Any] = ("answer", "three")) -> Case:
    return Case(id="a", turns=turns, expect=expect(whole))


def said(answer: str, number: int, entry: int | None = None) -> TurnRecord:
    return TurnRecord(
        f"message {number}", answer, 1.0, number * 2.0, entry=number if entry is None else entry
    )


def scored(case: Case, trace: Trace, kept: list[Score] | None = None) -> list[tuple[str, bool, str]]:
    given = ScoreContext(case, trace, context().sandbox)
    keep = (lambda score: None) if kept is None else kept.append
    return [
        (item.scorer, item.passed, item.reason) for item in asyncio.run(score_all(case, given, keep=keep))
    ]


THREE = Trace(
    turns=(said("one", 0), said("two", 1), said("three", 2)),
    tool_calls=(ToolCall("look_up", turn=0), ToolCall("refund", turn=1)),
    recorded=True,
)


def test_each_turn_by_itself_after_the_whole() -> None:
    made = case(
        Turn(user="a", expect=expect(("answer", {"equals": "one"}), ("tool_calls", {"exact": "look_up"}))),
        Turn(user="b"),
        Turn(user="c", expect=expect(("tool_calls", {"exclude": ["refund"]}), ("answer", "two"))),
    )
    kept: list[Score] = []
    assert scored(made, THREE, kept)[:3] == [
        ("answer", True, 'the answer does contain "three"'),
        ("answer", True, 'turn 1: the answer does equal "one"'),
        ("tool_calls", True, "turn 1: called: look_up"),
    ]
    assert [item.reason for item in kept[4:]] == [
        'turn 3: expected the answer to contain "two", found "three"',
    ]
    assert len(kept) == 5


def test_requests_of_a_turn() -> None:
    exchanges = [
        wire.exchange("/orders", None, "{}", id=1, host="crm.example", method="GET", started_s=0.5),
        wire.exchange("/refunds", {}, "{}", id=2, host="crm.example", started_s=2.5),
    ]
    trace = build_trace(THREE, exchanges, lambda digest: b"")
    refunds = ("request", {"path": "/refunds", "count": 1})
    none = ("request", {"path": "/refunds", "count": 0})
    turns = (
        Turn(user="a", expect=expect(none)),
        Turn(user="b", expect=expect(refunds)),
        Turn(user="c", expect=expect(none)),
    )
    assert [passed for _, passed, _ in scored(case(*turns), trace)] == [True] * 4
    assert [passed for _, passed, _ in scored(case(*reversed(turns)), trace)] == [True] * 4
    shifted = (turns[1], turns[0], turns[2])
    found = scored(case(*shifted), trace)
    assert [passed for _, passed, _ in found] == [True, False, False, True]
    assert found[1][2].startswith("turn 1: expected 1 request: ")


def test_a_judge_reads_its_turn_alone() -> None:
    pytest.importorskip("openai")
    verdict = json.dumps({"reason": "Polite.", "verdict": "pass", "score": 1})
    with Recorder(lambda request: wire.plain(wire.chat(verdict))) as recorder:
        rubric = {"rubric": "Polite", "model": "gpt-5-mini", "base_url": f"{recorder.url}/v1"}
        [_, (_, passed, reason)] = scored(
            case(Turn(user="a"), Turn(user="b", expect=expect(("judge", rubric)))), THREE
        )
        [asked] = [
            json.loads(item.request_body.text or "") for item in recorder.exchanges if item.request_body
        ]
    assert passed
    assert reason.startswith("turn 2: Polite. (score 1.00")
    question = asked["messages"][1]["content"]
    assert "message 1" in question
    assert "message 0" not in question
    assert "message 2" not in question


def simulated(*entries: tuple[str, Any]) -> Turn:
    user = SimulatedUser(turns=9, script=(SayRule(say="x"),))
    return Turn(simulate=user, expect=expect(*entries))


def test_all_turns_of_a_simulated_user_are_one_stretch() -> None:
    trace = replace(THREE, turns=(said("one", 0), said("two", 1, 1), said("three", 2, 1)))
    made = case(Turn(user="a"), simulated(("answer", "two"), ("tool_calls", {"exact": "refund"})))
    assert scored(made, trace)[1:] == [
        ("answer", False, 'turns 2–3: expected the answer to contain "two", found "three"'),
        ("tool_calls", True, "turns 2–3: called: refund"),
    ]


def test_a_simulated_user_that_said_nothing_has_no_turn_to_judge() -> None:
    trace = replace(THREE, turns=(said("one", 0), said("three", 1, 2)))
    made = case(
        Turn(user="a"), simulated(("answer", "x")), Turn(user="c", expect=expect(("answer", "three")))
    )
    assert scored(made, trace)[1:] == [
        ("answer", False, "conversation[1]: there was no such turn: the simulated user said nothing"),
        ("answer", True, 'turn 2: the answer does contain "three"'),
    ]


def test_turns_of_a_trace_that_does_not_say_where_they_came_from() -> None:
    trace = Trace(turns=(TurnRecord("a", "one", 1.0), TurnRecord("b", "three", 1.0)))
    made = case(
        Turn(user="a", expect=expect(("answer", "one"))), Turn(user="b", expect=expect(("answer", "one")))
    )
    assert [passed for _, passed, _ in scored(made, trace)] == [True, True, False]


def test_what_cannot_be_told_of_a_turn_names_it() -> None:
    made = case(Turn(user="a"), Turn(user="b", expect=expect(("request", {"count": 0}))))
    with pytest.raises(InfrastructureError, match=r"^turn 2: no gateway recorded this trial"):
        scored(made, replace(THREE, recorded=False))


def test_files_that_turns_need_are_loaded_with_the_others() -> None:
    made = case(Turn(user="a", expect=expect(("python", "checks.py:ok"))), whole=("python", "others.py:ok"))
    assert needed_files(made) == ("others.py", "checks.py")
