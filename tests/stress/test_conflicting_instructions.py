from __future__ import annotations

import random
import re
from typing import Any

import pytest

from aegis.scoring import matcher
from aegis.scoring import registry as scorers
from aegis.stress.base import NotApplicableError, RejectedError
from aegis.stress.constraints import KINDS
from aegis.suite.model import Case, FaultMatch, SimulatedUser, Turn
from support.stress import REFUND, case_of, said_in, variant

NAME = "conflicting-instructions"
LEVELS = ("reference", "aligned", "conflict")


def chosen(case: Case, level: str = "conflict", **params: Any) -> str:
    """Which instruction was taken."""
    system = variant(NAME, case, level, **params).case.rewrites[0].params["text"]
    rng = random.Random(1)
    return next(
        name for name, make in KINDS.items() if system.split('"')[0] == make(rng).system.split('"')[0]
    )


def test_the_levels_differ_in_what_the_user_says_alone() -> None:
    for number in range(20):
        case = case_of(id=f"case-{number}")
        made = {level: variant(NAME, case, level) for level in LEVELS}
        rules = [item.case.rewrites for item in made.values()]
        assert rules[0] == rules[1] == rules[2]
        assert made["reference"].case.expect == made["aligned"].case.expect == made["conflict"].case.expect
        [rule] = rules[0]
        assert (rule.inject, rule.match, rule.require_fired) == (
            "rewrite/system-prompt",
            FaultMatch(call="model"),
            True,
        )
        assert said_in(made["reference"]) == [REFUND]
        aligned, conflict = said_in(made["aligned"])[0], said_in(made["conflict"])[0]
        assert aligned.startswith(f"{REFUND} Please ")
        assert conflict.startswith(f"{REFUND} Please ")
        assert aligned != conflict
        assert len(made["conflict"].case.expect) == len(case.expect) + 1


def test_cases_get_different_instructions() -> None:
    assert {chosen(case_of(id=f"case-{number}")) for number in range(40)} == set(KINDS)


GOOD = {
    "closing-line": "Done.\n\n{line}",
    "opening-label": "{label} done.",
    "banned-word": "Done.",
    "one-paragraph": "Done. All of it.\n",
}
BAD = {
    "closing-line": ["Done.", "{line}\nDone.", "Done.\nReference: X"],
    "opening-label": ["Done.", "Done. {label}"],
    "banned-word": ["{word}, done.", "I am {word} sorry."],
    "one-paragraph": ["Done.\nAll of it.", "Done.\n\n- all"],
}


@pytest.mark.parametrize("name", KINDS)
def test_the_expectation_tells_who_followed_the_instruction(name: str) -> None:
    for seed in range(10):
        constraint = KINDS[name](random.Random(seed))
        quoted = re.search(r'"(.*)"', constraint.system)
        given = dict.fromkeys(("line", "label", "word"), quoted[1] if quoted else "")
        scorers.get("answer").check(constraint.expected)
        assert matcher.judge_now(constraint.expected, GOOD[name].format(**given), "the answer").ok
        for text in BAD[name]:
            for bad in (text.format(**given), text.format(**given).capitalize()):
                assert not matcher.judge_now(constraint.expected, bad, "the answer").ok, bad


@pytest.mark.parametrize(
    ("expect", "possible"),
    [
        ({"answer": {"equals": "Done."}}, {"banned-word", "one-paragraph"}),
        ({"answer": {"json": {"a": 1}}}, {"banned-word", "one-paragraph"}),
        ({"answer": {"matches": "refund$"}}, {"opening-label", "banned-word", "one-paragraph"}),
        ({"answer": {"matches": r"\Arefund"}}, {"closing-line", "banned-word", "one-paragraph"}),
        ({"answer": {"all": [{"not": {"matches": "[A-Z]+-[A-Z]+"}}, "x"]}}, set(KINDS) - {"closing-line"}),
        ({"answer": {"not": {"contains": "reference"}}}, set(KINDS) - {"closing-line"}),
        ({"answer": {"not": {"contains": ":"}}}, {"banned-word", "one-paragraph"}),
        ({"answer": {"any": ["a\nb", "c"]}}, set(KINDS) - {"one-paragraph"}),
        ({"answer": {"matches": r"a\nb"}}, set(KINDS) - {"one-paragraph"}),
        ({"judge": {"rubric": "Polite", "model": "m"}}, {"banned-word", "one-paragraph"}),
        ({"answer": {"not": {"equals": "No."}}}, {"banned-word", "one-paragraph"}),
    ],
)
def test_an_instruction_that_might_collide_is_not_taken(expect: dict[str, Any], possible: set[str]) -> None:
    found = {chosen(case_of(id=f"case-{number}", expect=[expect])) for number in range(40)}
    assert found == possible


def test_a_word_that_is_expected_is_not_banned() -> None:
    said = " ".join(("certainly", "unfortunately", "kindly", "absolutely", "delighted", "basically"))
    case = case_of(expect=[{"answer": {"contains": said.title()}}])
    with pytest.raises(RejectedError, match="the instruction banned-word might collide"):
        variant(NAME, case, "conflict", constraint="banned-word")
    assert variant(NAME, case_of(expect=[{"answer": {"not": said}}]), "conflict", constraint="banned-word")


def test_where_each_might_collide_the_variant_is_rejected() -> None:
    words = "certainly unfortunately kindly absolutely delighted basically"
    case = case_of(expect=[{"answer": {"equals": f"{words}\n{words}"}}])
    with pytest.raises(RejectedError, match="each of the instructions might collide"):
        variant(NAME, case, "conflict")


def test_the_expectations_of_turns_count() -> None:
    expect = case_of(expect=[{"answer": {"equals": "Yes."}}]).expect
    case = case_of().model_copy(update={"turns": (Turn(user="Is it?", expect=expect), Turn(user="Why?"))})
    with pytest.raises(RejectedError, match="closing-line"):
        variant(NAME, case, "reference", constraint="closing-line")


def test_the_wish_stands_in_the_last_scripted_turn() -> None:
    user = SimulatedUser(turns=5, goal="a refund")
    case = case_of().model_copy(
        update={"turns": (Turn(user="Hi"), Turn(user="Refund it. "), Turn(simulate=user))}
    )
    made = variant(NAME, case, "conflict")
    assert said_in(made)[0] == "Hi"
    assert said_in(made)[1].startswith("Refund it. Please ")
    assert made.case.turns[2] == case.turns[2]
    for level in LEVELS:
        with pytest.raises(NotApplicableError, match="no scripted turn"):
            variant(
                NAME, case_of().model_copy(update={"turns": (Turn(simulate=user), Turn(user=" "))}), level
            )


def test_a_host_and_an_instruction_of_ones_own() -> None:
    made = variant(
        NAME, case_of(), "aligned", constraint="one-paragraph", hosts=["api.openai.com"], require_fired=False
    )
    [rule] = made.case.rewrites
    assert rule.match == FaultMatch(call="model", host=("api.openai.com",))
    assert not rule.require_fired
    with pytest.raises(ValueError, match="did you mean 'one-paragraph'"):
        variant(NAME, case_of(), "aligned", constraint="one-paragraf")
