from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.stress import protect
from support.fuzzing import examples
from support.stress import MESSAGES, PROTECTED, WILD


@pytest.mark.parametrize("token", PROTECTED)
def test_every_form_is_recognised_as_a_whole(token: str) -> None:
    pieces = protect.pieces(f"please see {token} before noon")
    assert [piece.text for piece in pieces if piece.protected] == [token]


@pytest.mark.parametrize(
    "text",
    [
        "please cancel my subscription",
        "I don't know, it's the users' list",
        "well - what now?",
        "Ada was here",
    ],
)
def test_plain_words_are_free(text: str) -> None:
    assert protect.tokens(text) == ()


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ("order 1042.", "1042"),
        ("(see https://shop.example/o?id=7).", "https://shop.example/o?id=7)."),
        ("it's '42 Main Street', she said", "'42 Main Street'"),
        ("run\n```\nrm *\n```\nnow", "```\nrm *\n```"),
        ("the 3rd of May", "3rd"),
        ("at €5 each", "€5"),
        ("«très bien»", "«très bien»"),
    ],
)
def test_tokens_in_their_surroundings(text: str, token: str) -> None:
    assert token in protect.tokens(text)


@settings(max_examples=examples(300), deadline=None)
@given(st.one_of(MESSAGES, WILD))
def test_the_pieces_are_the_text(text: str) -> None:
    pieces = protect.pieces(text, ["Ada", "refund"])
    assert "".join(piece.text for piece in pieces) == text
    assert all(piece.text for piece in pieces)
    assert not any(one.protected == two.protected and not one.protected for one, two in pairwise(pieces))


@settings(max_examples=examples(300), deadline=None)
@given(st.one_of(MESSAGES, WILD))
def test_nothing_is_lost_of_an_unchanged_text(text: str) -> None:
    assert protect.lost(text, text) == []


def test_what_is_lost_is_named() -> None:
    assert protect.lost("order 17 and 1730", "order 1730") == ["17"]
    assert protect.lost("17 and 17", "only 17") == ["17"]
    assert protect.lost('the "blue mug"', "the 'blue mug'") == ['"blue mug"']


def test_names_are_protected_where_they_are_whole_words() -> None:
    pieces = protect.pieces("Ada and Adam", ["Ada"])
    assert [(piece.text, piece.protected) for piece in pieces] == [("Ada", True), (" and Adam", False)]


@pytest.mark.parametrize(
    "text", ["a-" * 50_000, '"' * 50_000, "x" * 100_000, "`" * 50_000, "a@" * 30_000, "<a" * 30_000]
)
def test_hostile_texts_take_no_long_time(text: str) -> None:
    # Quadratic work on these would take minutes, which the test's own time limit ends.
    assert "".join(piece.text for piece in protect.pieces(text)) == text
