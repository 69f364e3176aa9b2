from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.stress import protect
from aegis.stress.base import NotApplicableError, RejectedError
from aegis.stress.deep_conversation import BACK, GO_AHEAD, HOLD, DeepConversation
from aegis.stress.strangers import Entities
from aegis.suite.model import Expectation, SayRule, SimulatedUser, Turn
from aegis.trace import tokens
from support.fuzzing import examples
from support.stress import MESSAGES, REFUND, case_of, said_in, variant

NAME = "deep-conversation"
THREE = ("I have two orders, 1042 and 1077.", "The first one is fine.", "So please cancel the second one.")


@pytest.mark.parametrize("level", ["40", "100", "400"])
@pytest.mark.parametrize("depth", [0, 0.5, 1])
def test_a_level_of_turns_is_the_length_of_the_conversation(level: str, depth: float) -> None:
    for case in (case_of(), case_of(*THREE)):
        said = said_in(variant(NAME, case, level, depth=depth))
        assert len(said) == int(level)
        assert len(set(said)) == len(said)


def test_one_turn_comes_last_as_it_was_written() -> None:
    made = variant(NAME, case_of(), "40")
    assert made.name == "deep-conversation.40"
    assert said_in(made)[-1] == REFUND
    assert "39 turns of other talk" in made.change
    assert "key facts after it" in made.change


@pytest.mark.parametrize(("depth", "place"), [(0, 0), (0.5, 19)])
def test_a_request_that_is_told_early_is_told_to_wait_and_called_back(depth: float, place: int) -> None:
    said = said_in(variant(NAME, case_of(), "40", depth=depth))
    assert said[place] == HOLD + REFUND
    assert said[-1] == GO_AHEAD
    assert sum(REFUND in text for text in said) == 1
    own = said_in(variant(NAME, case_of(), "40", depth=depth, hold="Für später: ", resume="Jetzt bitte."))
    assert own[place] == f"Für später: {REFUND}"
    assert own[-1] == "Jetzt bitte."


@pytest.mark.parametrize(("depth", "place"), [(0, 0), (0.5, 18), (1, 37)])
def test_several_turns_keep_their_order_and_the_last_stays_last(depth: float, place: int) -> None:
    said = said_in(variant(NAME, case_of(*THREE), "40", depth=depth))
    assert said[place : place + 2] == list(THREE[:2])
    assert said[-1] == (THREE[2] if depth == 1 else BACK + THREE[2])


def test_several_turns_stand_in_the_middle_by_default() -> None:
    case = case_of(*THREE)
    assert said_in(variant(NAME, case, "40")) == said_in(variant(NAME, case, "40", depth=0.5))


@pytest.mark.parametrize(("level", "wanted"), [("8k", 8_000), ("32k", 32_000), ("128k", 128_000)])
def test_a_level_of_tokens_is_near_its_size(level: str, wanted: int) -> None:
    said = said_in(variant(NAME, case_of(), level))
    size = sum(map(tokens.estimate, said[:-1]))
    assert abs(size - wanted) <= 0.12 * wanted
    assert 300 < size / (len(said) - 1) < 500


@settings(max_examples=examples(150), deadline=None)
@given(
    st.lists(MESSAGES, min_size=1, max_size=3),
    st.sampled_from(["40", "100", "8k"]),
    st.sampled_from([0, 0.5, 1]),
)
def test_whatever_the_case_says_the_talk_shares_nothing_with_it(
    messages: list[str], level: str, depth: float
) -> None:
    messages = [f"Q-{number}7 {message}" for number, message in enumerate(messages)]
    case = case_of(*messages, expect=[{"answer": {"contains": ["refund", "1042"]}}])
    try:
        made = variant(NAME, case, level, depth=depth)
    except RejectedError:
        return
    assert made == variant(NAME, case, level, depth=depth)
    said = said_in(made)
    places = [next(at for at, text in enumerate(said) if message in text) for message in messages]
    assert places == sorted(places)
    assert places[-1] == len(said) - 1 or len(messages) == 1
    talk = [text for text in said if not any(message in text for message in messages) and text != GO_AHEAD]
    assert len(talk) in (len(said) - len(messages), len(said) - len(messages) - 1)
    assert Entities(case).shared_by("\n".join(talk)) == []
    assert all(protect.tokens(text) == () for text in talk)
    assert made.case.expect == case.expect


def test_cases_and_levels_get_talk_of_their_own() -> None:
    def talk(case: str, level: str) -> list[str]:
        return said_in(variant(NAME, case_of(id=case), level))[:10]

    assert talk("one", "40") == talk("one", "40")
    assert talk("one", "40") != talk("two", "40")
    assert talk("one", "40") != talk("one", "100")


def test_talk_about_what_the_case_is_about_is_left_out() -> None:
    case = case_of(
        "Tell me about the moon and my tomatoes.", expect=[{"answer": {"matches": r"(?i)\bbirds?\b.*soup"}}]
    )
    said = " ".join(said_in(variant(NAME, case, "400"))[:-1]).casefold()
    assert not any(word in said for word in ("moon", "tomato", " bird", "soup"))


def test_own_talk_is_used_in_its_order_and_over_again() -> None:
    talk = ["Wie geht es dir?", "Magst du Katzen?", "Regnet es gern?"]
    said = said_in(
        variant(
            NAME,
            case_of("Storniere bitte die Lieferung 1042, sie kam gestern kaputt hier an."),
            "40",
            talk=talk,
        )
    )
    assert said[:39] == talk * 13
    long = said_in(variant(NAME, case_of(), "8k", talk=talk))
    assert abs(sum(map(tokens.estimate, long[:-1])) - 8000) < 1000


@pytest.mark.parametrize(
    ("talk", "shared"),
    [
        ("Did order 1042 come?", "1042"),
        ("Ada likes tea.", "ada"),
        ("What is a refund?", "refund"),
        ("Is it a 'blue mug' day, or a \"blue mug\" day?", '"blue mug"'),
        ("Write to ada@mail.example?", "ada@mail.example"),
    ],
)
def test_own_talk_that_shares_an_entity_is_rejected(talk: str, shared: str) -> None:
    with pytest.raises(RejectedError, match="the added text shares") as caught:
        variant(NAME, case_of(), "40", talk=["How are you?", talk])
    assert shared in str(caught.value)


def test_a_case_in_another_language_needs_talk_in_it() -> None:
    for text in (
        "Bitte storniere meine Bestellung, denn die Tasse kam gestern kaputt an.",
        "请取消我的订单,因为杯子坏了",
    ):
        with pytest.raises(RejectedError, match="give talk, hold and resume in its language"):
            variant(NAME, case_of(text), "40")
    variant(NAME, case_of("Refund order 1042"), "40")


def test_a_case_that_is_long_already_says_so() -> None:
    case = case_of(*(f"Turn number {number}" for number in range(39)))
    with pytest.raises(NotApplicableError, match="the case has 39 turns already: use a higher level"):
        variant(NAME, case, "40")
    assert len(said_in(variant(NAME, case, "100", depth=1))) == 100


def test_a_bare_reply_is_not_torn_from_its_question() -> None:
    case = case_of("Please cancel order 1042.", "Yes, do it.")
    with pytest.raises(RejectedError, match="replies to the answer right before it"):
        variant(NAME, case, "40")
    assert said_in(variant(NAME, case, "40", depth=1))[-2:] == ["Please cancel order 1042.", "Yes, do it."]


def simulated(turns: int) -> Turn:
    user = SimulatedUser(
        turns=turns, begins="I am Grace and need order 1077.", script=(SayRule(say="Thanks"),)
    )
    return Turn(simulate=user)


def test_a_simulated_user_comes_after_the_talk() -> None:
    case = case_of("Hello there.").model_copy(update={"turns": (Turn(user="Hello there."), simulated(5))})
    made = variant(NAME, case, "40")
    assert len(made.case.turns) == 36
    assert made.case.turns[-2:] == case.turns
    with pytest.raises(NotApplicableError, match="use depth: 1"):
        variant(NAME, case, "40", depth=0.5)
    with pytest.raises(RejectedError, match="1077"):
        variant(NAME, case, "40", talk=["Where is 1077?"])
    ended = case.model_copy(update={"turns": (*case.turns, Turn(user="So which one did we cancel?"))})
    made = variant(NAME, ended, "40")
    assert len(made.case.turns) == 36
    assert made.case.turns[-1].user == f"{BACK}So which one did we cancel?"


def test_what_a_turn_expects_goes_with_the_answer_that_it_is_about() -> None:
    expect = (Expectation(scorer="answer", config="refund"),)
    case = case_of().model_copy(update={"turns": (Turn(user=REFUND, expect=expect),)})
    for depth in (0, 0.5, 1):
        turns = variant(NAME, case, "40", depth=depth).case.turns
        assert [turn.expect for turn in turns] == [()] * 39 + [expect]


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"depth": 0.3}, "expected one of 0, 0.5, 1, got the number 0.3"),
        ({"depth": True}, "expected one of 0, 0.5, 1"),
        ({"talk": []}, "expected a list of messages"),
        ({"talk": ["Hi", "Hi"]}, "stands twice"),
        ({"turn_time": "-1s"}, "duration"),
        ({"budget": "raise"}, "budget"),
        ({"dept": 1}, "did you mean 'depth'"),
    ],
)
def test_wrong_parameters_are_refused(params: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        DeepConversation.read(params)
