"""What is expected of one turn stays with that turn, whatever is made of the conversation."""

from __future__ import annotations

import pytest

from aegis.stress import registry
from aegis.stress.base import Variant
from aegis.stress.deep_conversation import BACK
from aegis.suite.model import Case, Expectation, SayRule, SimulatedUser, Turn
from support.stress import case_of, variant


def expected(scorer: str, **config: object) -> tuple[Expectation, ...]:
    return (Expectation(scorer=scorer, config=config),)


ASKED = Turn(user="Hello, what is the state of order 1042?", expect=expected("answer", contains="delivered"))
TOLD = Turn(
    user="The mug arrived broken this morning, sadly.", expect=expected("tool_calls", exclude=["refund"])
)
LAST = Turn(
    user="Please refund order 1042 to my card then.",
    expect=expected("request", method="POST", host="shop.example", path="/refunds"),
)
USER = Turn(
    simulate=SimulatedUser(
        turns=3, begins="I am Grace and ask about order 1042.", script=(SayRule(say="Thanks"),)
    ),
    expect=expected("answer", contains="welcome"),
)


def conversation(*turns: Turn) -> Case:
    return case_of().model_copy(update={"turns": turns})


def made_by(name: str, case: Case) -> list[Variant]:
    params = {"targets": ["1042"]} if name == "distractors" else {}
    kind = registry.get(name)
    return [variant(name, case, level, **params) for level in kind.levels]


KEEP_THE_TURNS = [
    name for name in registry.NAMES if name not in ("deep-conversation", "shard-turns", "empty-and-huge")
]
SCRIPTED, MIXED = (ASKED, TOLD, LAST), (ASKED, USER, LAST)


@pytest.mark.parametrize("turns", [SCRIPTED, MIXED], ids=["scripted", "simulated"])
@pytest.mark.parametrize("name", KEEP_THE_TURNS)
def test_a_transform_that_keeps_the_turns_keeps_what_each_expects(name: str, turns: tuple[Turn, ...]) -> None:
    variants = made_by(name, conversation(*turns))
    assert variants
    for made in variants:
        assert [turn.expect for turn in made.case.turns] == [turn.expect for turn in turns], made.name
        assert [turn.simulate for turn in made.case.turns] == [turn.simulate for turn in turns], made.name


@pytest.mark.parametrize("level", ["40", "8k"])
@pytest.mark.parametrize("depth", [0, 0.5, 1])
def test_padding_goes_between_turns_and_expects_nothing(level: str, depth: float) -> None:
    turns = variant("deep-conversation", conversation(*SCRIPTED), level, depth=depth).case.turns
    own = [turn for turn in turns if turn.expect]
    assert own[:2] == [ASKED, TOLD]
    assert own[2:] == ([LAST] if depth == 1 else [LAST.model_copy(update={"user": f"{BACK}{LAST.user}"})])
    assert turns[-1].expect == LAST.expect
    first, second, _ = (turns.index(turn) for turn in own)
    assert second == first + 1


def test_a_simulated_part_and_what_it_expects_come_after_the_talk() -> None:
    turns = variant("deep-conversation", conversation(ASKED, USER), "40").case.turns
    assert turns[-2:] == (ASKED, USER)
    assert not any(turn.expect or turn.simulate for turn in turns[:-2])
    turns = variant("deep-conversation", conversation(*MIXED), "40").case.turns
    own = [turn for turn in turns if turn.expect]
    assert own[:2] == [ASKED, USER]
    assert own[-1].expect == LAST.expect
    assert turns[-1] is own[-1]


def test_what_a_single_turn_expects_is_expected_of_the_last_shard() -> None:
    shards = ["Please refund something.", "Order 1042.", "To my card then."]
    turns = variant("shard-turns", conversation(LAST), shards=shards).case.turns
    assert [turn.user for turn in turns] == shards
    assert [turn.expect for turn in turns] == [(), (), LAST.expect]


def test_without_a_request_nothing_may_be_done_that_a_turn_expects_or_forbids() -> None:
    """The turns are gone, and what they say must and must not be done tells what may not be done now."""
    for made in made_by("empty-and-huge", conversation(*SCRIPTED)):
        (turn,) = made.case.turns
        assert turn.expect == ()
        found = [(entry.scorer, entry.config) for entry in made.case.expect[1:]]
        assert found == [
            ("request", {"method": "POST", "host": "shop.example", "path": "/refunds", "count": 0}),
            ("tool_calls", {"exclude": ["refund"]}),
        ]
