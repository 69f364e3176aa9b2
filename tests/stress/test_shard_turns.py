from __future__ import annotations

from typing import Any

import pytest

from aegis.stress.base import NotApplicableError, RejectedError
from aegis.stress.shard_turns import ShardTurns
from aegis.suite.model import Expectation, SimulatedUser, Turn
from support.stress import case_of, said_in, variant

NAME = "shard-turns"
TEXT = 'Please refund order 1042, the "blue mug" that Grace got, it arrived broken.'
SHARDS = ["I need a refund.", 'It is the "blue mug" that Grace got.', "Order 1042, broken."]


def test_the_shards_are_the_turns() -> None:
    made = variant(NAME, case_of(TEXT), shards=SHARDS)
    assert made.name == "shard-turns"
    assert said_in(made) == SHARDS
    assert made.change == "the request in 3 turns"
    assert made.case.expect == case_of(TEXT).expect


def test_what_the_turn_expects_is_expected_of_the_last_shard() -> None:
    expect = (Expectation(scorer="answer", config="refund"),)
    case = case_of(TEXT).model_copy(update={"turns": (Turn(user=TEXT, expect=expect),)})
    assert [turn.expect for turn in variant(NAME, case, shards=SHARDS).case.turns] == [(), (), expect]


def test_without_shards_it_says_how_to_mark_them() -> None:
    with pytest.raises(
        NotApplicableError, match=r"no shards are marked \(stress: \[\{transform: shard-turns, shards"
    ):
        variant(NAME, case_of(TEXT))


def test_a_conversation_is_not_sharded() -> None:
    with pytest.raises(NotApplicableError, match="conversation already"):
        variant(NAME, case_of(TEXT, "And thanks."), shards=SHARDS)
    simulated = Turn(simulate=SimulatedUser(turns=3, begins=TEXT))
    with pytest.raises(NotApplicableError, match="conversation already"):
        variant(NAME, case_of(TEXT).model_copy(update={"turns": (simulated,)}), shards=SHARDS)


@pytest.mark.parametrize(
    ("shards", "words"),
    [
        ([*SHARDS[:2], "Order 10421, broken."], "no shard has 1042,"),
        (["I need a refund.", "It is the blue mug that Grace got.", SHARDS[2]], 'no shard has "blue mug"'),
        ([SHARDS[0], 'It is the "blue mug".', SHARDS[2]], "no shard has Grace"),
        ([*SHARDS, "It cost $12.50."], r"the shards have \$12.50, which the input does not have"),
        ([*SHARDS, "Please ask Ada."], "the shards have Ada, which the input does not have"),
        (['Where is the "blue mug"', "in 1042, asked Grace"], "1 of the .* words"),
    ],
)
def test_shards_that_cannot_say_the_same_are_rejected(shards: list[str], words: str) -> None:
    with pytest.raises(RejectedError, match=words):
        variant(NAME, case_of(TEXT + " The courier crushed every parcel, apparently."), shards=shards)


def test_shards_of_another_case_are_rejected() -> None:
    with pytest.raises(RejectedError, match="words that say what the input is about"):
        variant(
            NAME,
            case_of("Translate the attached letter into plain language."),
            shards=["Good morning", "Sing a song"],
        )


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"shards": ["all of it"]}, "a list of 2 to 6 messages"),
        ({"shards": list("abcdefg")}, "a list of 2 to 6 messages, got 7"),
        ({"shards": "a, b"}, "a list of 2 to 6 messages"),
        ({"shards": ["a", ""]}, "empty text"),
    ],
)
def test_wrong_parameters_are_refused(params: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ShardTurns.read(params)
