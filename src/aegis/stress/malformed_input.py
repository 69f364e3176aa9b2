"""Transform `malformed-input`: the same request, badly written."""

from __future__ import annotations

import random
from typing import ClassVar

from aegis.stress import protect
from aegis.stress.base import NotApplicableError, RejectedError, Transform
from aegis.stress.malform import Malform, Messages, forms, marks, pasted
from aegis.stress.malform.typos import typos
from aegis.stress.strangers import Entities, names
from aegis.stress.words import expected, said, topics
from aegis.suite.model import Case

WAYS: dict[str, tuple[Malform, str]] = {
    "1": (typos(1), "typos in 1 % of the words"),
    "2": (typos(2), "typos in 2 % of the words"),
    "5": (typos(5), "typos in 5 % of the words"),
    "emoji": (marks.emoji, "emoji after a third of the words"),
    "truncated": (pasted.truncated, "unfinished sentences before and after the message"),
    "mixed": (pasted.mixed, "greeting and thanks in other languages"),
    "html": (pasted.as_html, "the message as HTML"),
    "json": (pasted.json_beside, "a JSON document beside the message"),
    "unicode": (forms.unicode, "half of the words in other Unicode forms"),
    "mojibake": (forms.mojibake, "UTF-8 read as Windows-1252"),
    "zero-width": (marks.zero_width, "invisible characters inside a third of the words"),
    "bidi": (marks.bidi, "directional marks around a fourth of the words"),
    "control": (marks.control, "control characters after a fourth of the words"),
    "long-line": (pasted.long_line, "a line of 20,000 characters before the message"),
}
"""Level → how it is made, and what was done."""

_BESIDE = ("truncated", "mixed", "json", "long-line")
"""Levels that leave the message as it is and put something beside it."""


class MalformedInput(Transform):
    """Writes the case's messages badly, as people in a hurry, phones, mail programs and clipboards do.

    The levels `1`, `2` and `5` are typos in so many percent of the words, at least in one: neighbouring letters
    swapped, a letter doubled or left out, the next key hit as well. `emoji` puts emoji after words, `truncated`
    unfinished sentences around a message, `mixed` a greeting and thanks in other languages. `html` is the message as
    HTML from an editor, `json` has a pasted document beside it. `unicode` writes words in full width, with ligatures
    and decomposed accents, `mojibake` is UTF-8 read in the wrong encoding. `zero-width`, `bidi` and `control` put
    characters between the letters that nobody sees: invisible ones, directional marks with their overrides, and control
    characters.
    `long-line` puts 20,000 characters without a line break before a message. In a conversation `truncated`, `mixed`,
    `json` and `long-line` befall one message, the others all. What a simulated user says is left alone.

    The oracle stays valid because a reader still reads the same request. Protected are ids, numbers, amounts, quotes,
    e-mail addresses, URLs, paths, code, names, and every text that the case expects and the message has: they survive
    byte for byte, which is checked. Typos keep the first and the last letter, spare words of fewer than five letters
    and those that decide the meaning (`never`, `without`, `twenty`), and make no other common word. The other changes
    inside a text can be undone, and the self-check undoes them: the original must come out. What is put beside a text
    leaves it whole, asks for nothing, and shares no id, number, name or expected word with the case. Whatever fails the
    check is rejected.
    """

    name: ClassVar[str] = "malformed-input"
    levels: ClassVar[tuple[str, ...]] = tuple(WAYS)
    usual: ClassVar[tuple[str, ...]] = ("5", "html", "mojibake")

    def make(self, case: Case, level: str, rng: random.Random) -> tuple[Case, str]:
        places = [index for index, turn in enumerate(case.turns) if turn.simulate is None]
        if not places:
            raise NotApplicableError("a simulated user says everything: there is no message to change")
        texts = tuple(case.turns[index].user for index in places)
        way, change = WAYS[level]
        keep = _kept(case, texts)
        bent = way(Messages(texts, keep, topics(case)), rng)
        if tuple(bent) == texts:
            raise NotApplicableError("there is no text in it to change")
        if level in _BESIDE:
            _check_beside(case, texts, bent)
        _check_kept(texts, bent, keep)
        turns = list(case.turns)
        for index, text in zip(places, bent, strict=True):
            turns[index] = turns[index].model_copy(update={"user": text})
        return case.model_copy(update={"turns": tuple(turns)}), change


def _kept(case: Case, texts: tuple[str, ...]) -> frozenset[str]:
    """Names, and what the case expects, as far as they stand in the messages."""
    wanted = {*expected(case)}.union(*map(names, said(case)))
    return frozenset(text for text in wanted if len(text) > 1 and any(text in message for message in texts))


def _check_kept(texts: tuple[str, ...], bent: list[str], keep: frozenset[str]) -> None:
    for before, after in zip(texts, bent, strict=True):
        lost = protect.lost(before, after)
        lost += [
            name for name in keep if len(protect.places(name, after)) < len(protect.places(name, before))
        ]
        if lost:
            raise RejectedError(f"it would not leave {lost[0]!r} as it is")


def _check_beside(case: Case, texts: tuple[str, ...], bent: list[str]) -> None:
    added: list[str] = []
    for before, after in zip(texts, bent, strict=True):
        if before not in after:
            raise RejectedError("the message would not be whole any more")
        added.append(after.replace(before, "\n", 1))
    Entities(case).check(added, "shorten it, or leave this level out")


transform = MalformedInput
