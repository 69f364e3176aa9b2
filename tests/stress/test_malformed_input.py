from __future__ import annotations

import html
import random
import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.stress import malformed_input, protect
from aegis.stress.base import NotApplicableError, RejectedError
from aegis.stress.malform import Messages, marks
from aegis.stress.malform.typos import MEANING, OTHER_WORDS, slipped
from aegis.stress.malformed_input import MalformedInput
from aegis.stress.strangers import Entities
from aegis.suite.model import SimulatedUser, Turn
from support.fuzzing import examples
from support.stress import MESSAGES, REFUND, WILD, case_of, said_in, variant

NAME = "malformed-input"
LEVELS = MalformedInput.levels
BESIDE = ("truncated", "mixed", "json", "long-line")


def bent(level: str, *messages: str, id: str = "case") -> list[str]:
    return said_in(variant(NAME, case_of(*messages, id=id), level))


@pytest.mark.parametrize("level", LEVELS)
def test_every_level_changes_the_message_and_keeps_what_counts(level: str) -> None:
    (text,) = bent(level)
    assert text != REFUND
    assert protect.lost(REFUND, text) == []
    for token in ("1042", '"blue mug"', "$12.50", "ada@mail.example", "https://shop.example/o?id=1042&x=y"):
        assert token in text
    assert "Ada" in text
    assert "refund" in text  # which the case expects in the answer
    assert "\n" not in text or level in ("json",)


@settings(max_examples=examples(400), deadline=None)
@given(st.lists(st.one_of(MESSAGES, WILD), min_size=1, max_size=3), st.sampled_from(LEVELS))
def test_protected_tokens_survive_in_any_message(messages: list[str], level: str) -> None:
    case = case_of(*messages)
    try:
        made = variant(NAME, case, level)
    except (NotApplicableError, RejectedError):
        return
    assert made == variant(NAME, case, level)
    said = said_in(made)
    assert said != messages
    assert len(said) == len(messages)
    for before, after in zip(messages, said, strict=True):
        assert protect.lost(before, after) == []
        if "Ada" in before.split():
            assert "Ada" in after
        if level in BESIDE:
            assert before in after
    assert made.case.expect == case.expect


@settings(max_examples=examples(200), deadline=None)
@given(MESSAGES, st.sampled_from(LEVELS))
def test_messages_of_words_are_never_rejected_but_for_what_stands_beside_them(
    message: str, level: str
) -> None:
    try:
        variant(NAME, case_of(message), level)
    except RejectedError:
        assert level in BESIDE
    except NotApplicableError:
        pass


@settings(max_examples=examples(200), deadline=None)
@given(MESSAGES, st.sampled_from(BESIDE))
def test_what_stands_beside_a_message_shares_nothing_with_it(message: str, level: str) -> None:
    case = case_of(message)
    try:
        (text,) = said_in(variant(NAME, case, level))
    except RejectedError:
        return
    assert Entities(case).shared_by(text.replace(message, "\n", 1)) == []


@pytest.mark.parametrize(("level", "share"), [("1", 0.01), ("2", 0.02), ("5", 0.05)])
def test_typos_befall_so_many_percent_of_the_words(level: str, share: float) -> None:
    words = (
        "please",
        "cancel",
        "another",
        "standing",
        "delivery",
        "because",
        "nobody",
        "collects",
        "parcels",
    )
    message = " ".join(random.Random(1).choices(words, k=1000))
    (text,) = bent(level, message)
    wrong = [(old, new) for old, new in zip(message.split(), text.split(), strict=True) if old != new]
    assert len(wrong) == 1000 * share
    for old, new in wrong:
        assert (new[0], new[-1]) == (old[0], old[-1])
        assert abs(len(new) - len(old)) <= 1
        assert old not in MEANING


def test_a_short_message_has_one_typo() -> None:
    words = ("Please", "cancel", "my", "order")
    (text,) = bent("1", " ".join(words))
    assert sum(old != new for old, new in zip(words, text.split(), strict=True)) == 1


@settings(max_examples=examples(300), deadline=None)
@given(st.text("abcdefghijklmnopqrstuvwxyzßé", min_size=5, max_size=12), st.integers(0, 99))
def test_a_slip_is_another_spelling_of_the_same_length_but_one(word: str, seed: int) -> None:
    if len(set(word[1:-1])) == 1:
        return
    found = slipped(word, random.Random(seed))
    assert found != word
    assert found not in OTHER_WORDS
    assert len(found) in (len(word) - 1, len(word), len(word) + 1)
    assert (found[0], found[-1]) == (word[0], word[-1])


def test_words_that_decide_the_meaning_are_not_mistyped() -> None:
    with pytest.raises(NotApplicableError, match="every word of it is protected"):
        bent("5", "never without twenty")


@pytest.mark.parametrize("level", ["1", "unicode", "zero-width", "bidi", "control", "emoji"])
def test_a_message_of_protected_tokens_alone_says_so(level: str) -> None:
    with pytest.raises(NotApplicableError, match="protected"):
        bent(level, "1042 `code` A-17 2026-11-23")


@pytest.mark.parametrize("level", LEVELS)
def test_an_empty_message_says_so(level: str) -> None:
    with pytest.raises(NotApplicableError):
        bent(level, "")


def test_unicode_forms_are_undone_by_normalisation() -> None:
    message = "The señor in the affluent office finds it naïve, my difficult friend"
    (text,) = bent("unicode", message)
    assert text != message
    assert unicodedata.normalize("NFKC", text) == message
    seen = "".join(bent("unicode", message, id=f"c{number}")[0] for number in range(20))
    assert "ﬃ" in seen
    assert "\u0303" in seen
    assert "ｆ" in seen


@pytest.mark.parametrize(
    ("level", "marks_of"),
    [
        ("zero-width", marks.ZERO_WIDTH),
        ("bidi", [mark for pair in marks.BIDI for mark in pair]),
        ("control", sorted(marks.CONTROL, key=len, reverse=True)),
        ("emoji", [f" {emoji}" for emoji in sorted(marks.EMOJI, key=len, reverse=True)]),
    ],
)
def test_marks_can_be_taken_out_again(level: str, marks_of: list[str]) -> None:
    (text,) = bent(level)
    for mark in marks_of:
        text = text.replace(mark, "")
    assert text == REFUND


def test_directional_marks_are_closed() -> None:
    (text,) = bent("bidi", " ".join(["please answer my letter"] * 40))
    embeddings = len(re.findall("[\u202a\u202b\u202d\u202e]", text))
    isolates = len(re.findall("[\u2066-\u2068]", text))
    assert embeddings == text.count("\u202c") > 0
    assert isolates == text.count("\u2069") > 0


def test_mojibake_is_what_a_wrong_decoder_makes_of_it() -> None:
    (text,) = bent("mojibake", "I don't know - ask the señor in the café, he's there")
    assert "donâ€™t" in text
    assert "seÃ±or" in text
    assert "cafÃ©" in text
    assert "â€“" in text
    restored = text.encode("cp1252").decode()
    assert (
        restored.translate({0x2019: "'", 0xA0: " ", 0x2013: "-"})
        == "I don't know - ask the señor in the café, he's there"
    )


def test_mojibake_needs_something_to_garble() -> None:
    assert bent("mojibake", "stop now") == ["stopÂ\u00a0now"]
    with pytest.raises(NotApplicableError, match="wrong encoding"):
        bent("mojibake", "stop")


def test_html_reads_as_the_message() -> None:
    message = "Tell them: a < b & c > d;\n\nthen cancel the whole subscription, you know which"
    (text,) = bent("html", message)
    assert text.startswith('<div class="message"><p>')
    assert "<br>" in text
    plain = html.unescape(re.sub("<[^>]*>", "", text))
    assert plain.split() == message.split()


def test_the_other_levels_leave_the_message_whole() -> None:
    (text,) = bent("long-line")
    assert len(text) > 18_000
    assert "data:image/png;base64," in text
    (text,) = bent("truncated")
    assert not text.endswith((".", "?"))
    (text,) = bent("mixed")
    assert not text.isascii()
    (text,) = bent("json")
    assert re.search(r'\{\n  "', text)


@pytest.mark.parametrize("level", BESIDE)
def test_in_a_conversation_one_message_gets_something_beside_it(level: str) -> None:
    messages = ["Hello there.", "I need help with my delivery.", "It is 1042."]
    said = bent(level, *messages)
    assert sum(old != new for old, new in zip(messages, said, strict=True)) == 1


def test_what_a_simulated_user_says_is_left_alone() -> None:
    simulated = Turn(simulate=SimulatedUser(turns=3, begins="Please cancel the delivery"))
    case = case_of().model_copy(update={"turns": (Turn(user=REFUND), simulated)})
    turns = variant(NAME, case, "5").case.turns
    assert turns[0].user != REFUND
    assert turns[1] == simulated
    with pytest.raises(NotApplicableError, match="simulated user says everything"):
        variant(NAME, case.model_copy(update={"turns": (simulated,)}), "5")


def test_the_self_check_refuses_a_way_that_changes_an_id(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(messages: Messages, rng: random.Random) -> list[str]:
        return [text.replace("1042", "1043") for text in messages.texts]

    monkeypatch.setitem(malformed_input.WAYS, "1", (careless, "other numbers"))
    with pytest.raises(RejectedError, match="would not leave '1042' as it is"):
        bent("1")


def test_the_self_check_refuses_talk_beside_it_that_is_about_the_case(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def careless(messages: Messages, rng: random.Random) -> list[str]:
        return [f"{text} And what about order 1042?" for text in messages.texts]

    monkeypatch.setitem(malformed_input.WAYS, "mixed", (careless, "more of the same"))
    with pytest.raises(RejectedError, match="the added text shares 1042"):
        bent("mixed")


def test_the_self_check_refuses_what_cannot_be_read_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks, "ZERO_WIDTH", ("x",))
    with pytest.raises(RejectedError, match="can't be read back"):
        bent("zero-width")
