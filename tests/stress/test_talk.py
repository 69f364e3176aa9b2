"""The material for unrelated talk keeps its promises."""

from __future__ import annotations

import random
import re
from itertools import islice, pairwise

import pytest

from aegis.stress import protect, talk
from aegis.stress.base import RejectedError
from aegis.stress.strangers import names
from aegis.stress.talk.lines import OPENINGS, Line, Talk, lines_of
from aegis.stress.words import stem, stems, words
from aegis.trace import tokens

NUMBER_WORDS = set(
    words(
        "two three four five six seven eight nine ten eleven twelve dozen twenty hundred thousand million first second"
    )
)


def lines() -> list[Line]:
    return [
        line
        for name in talk.NAMES
        for asks in (True, False)
        for number in range(len(OPENINGS) + 1)
        for group in lines_of(name, asks, number)
        for line in group
    ]


def test_no_line_can_hold_a_number_a_name_or_anything_protected() -> None:
    for line in lines():
        text = line.text
        assert text.isascii(), text
        assert not re.search(r"\d", text), text
        assert protect.tokens(text) == (), text
        assert not NUMBER_WORDS & {word.lower() for word in words(text)}, text
        assert names(text[1:]) <= {"I"}, text


def test_lines_are_whole_sentences() -> None:
    for line in lines():
        assert re.fullmatch(r"[A-Z].*[.?]", line.text), line.text
        assert not re.search(r"[{}|]|  ", line.text), line.text


def test_there_is_enough_of_it_for_the_longest_conversation_without_repeating_anything() -> None:
    asked = [text for text, _ in islice(Talk(random.Random(1), frozenset()).messages(), 500)]
    assert len(set(asked)) == 500
    told = [text for text, _ in islice(Talk(random.Random(1), frozenset()).sentences(), 3000)]
    assert len(set(told)) > 2900


def test_lines_of_the_same_form_are_far_apart() -> None:
    told = [text for text, _ in islice(Talk(random.Random(3), frozenset()).sentences(), 100)]
    assert not any(one.split()[:4] == two.split()[:4] for one, two in pairwise(told))


def test_the_same_random_numbers_give_the_same_talk() -> None:
    def drawn(seed: int) -> list[str]:
        return [
            text for text, _ in islice(Talk(random.Random(seed), frozenset({"moon"})).long_messages(300), 8)
        ]

    assert drawn(5) == drawn(5)
    assert drawn(5) != drawn(6)


@pytest.mark.parametrize("avoid", ["moon", "garden", "knit", "bird", "soup"])
def test_words_are_kept_away_from(avoid: str) -> None:
    told = " ".join(
        text for text, _ in islice(Talk(random.Random(2), frozenset({stem(avoid)})).messages(), 600)
    )
    assert stem(avoid) not in stems(told)


def test_without_any_line_left_it_says_so() -> None:
    everything = frozenset[str]().union(*(line.stems for line in lines()))
    with pytest.raises(RejectedError, match="give unrelated talk of your own"):
        next(Talk(random.Random(2), everything).messages())


@pytest.mark.parametrize("size", [50, 400, 4000])
def test_stories_have_about_the_size_that_was_asked_for(size: int) -> None:
    story, counted = Talk(random.Random(2), frozenset()).story(size)
    assert abs(counted - size) <= 20
    assert abs(tokens.estimate(story) - size) <= 0.12 * size + 20
