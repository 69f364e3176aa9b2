"""From the material to messages: lines without a word of the case's, no two of them alike while there are others."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from aegis.stress import talk
from aegis.stress.base import RejectedError
from aegis.stress.words import stems
from aegis.trace import tokens

_CHOICE = re.compile(r"\{([^{}]*)\}")

BLOCK = 5
"""So many lines in a row are about one domain, as people talk."""

OPENINGS = (
    "Anyway, ",
    "Come to think of it, ",
    "Oh, and ",
    "Mind you, ",
    "Funnily enough, ",
    "Well, ",
    "Honestly, ",
    "As I was saying, ",
    "Now that I think about it, ",
    "Just out of curiosity, ",
    "Somehow it comes to mind: ",
    "Forgive my rambling: ",
)
"""Lines that come again begin with one of these."""


Sized = tuple[str, int]
"""A text and its estimated tokens."""


@dataclass(frozen=True, slots=True)
class Line:
    text: str
    stems: frozenset[str]
    tokens: int


class Talk:
    """Talk that keeps away from some words."""

    def __init__(self, rng: random.Random, avoid: frozenset[str]) -> None:
        """`avoid`: stems of words that no line may hold."""
        self._rng = rng
        self._avoid = avoid
        self._pools: dict[tuple[str, bool], Iterator[Line]] = {}

    def messages(self) -> Iterator[Sized]:
        """Short messages that each ask something which a short answer closes. Endless."""
        return ((line.text, line.tokens) for line in self._lines(asks=True))

    def sentences(self) -> Iterator[Sized]:
        """Statements that ask for nothing. Endless."""
        return ((line.text, line.tokens) for line in self._lines(asks=False))

    def long_messages(self, size_tokens: int) -> Iterator[Sized]:
        """Messages of about this many tokens: a story, and a question at its end. Endless."""
        for ask in self._lines(asks=True):
            story, size = self.story(size_tokens - ask.tokens)
            yield f"{story} {ask.text}".lstrip(), size + ask.tokens

    def story(self, size_tokens: int) -> Sized:
        """Sentences that ask for nothing, of about this many tokens."""
        found: list[str] = []
        size = 0
        for text, more in self.sentences():
            if size + more / 2 > size_tokens:
                break
            found.append(text)
            size += more
        return " ".join(found), size

    def _lines(self, *, asks: bool) -> Iterator[Line]:
        while True:
            some = False
            for name in self._rng.sample(talk.NAMES, len(talk.NAMES)):
                for line in itertools.islice(self._pool(name, asks), BLOCK):
                    some = True
                    yield line
            if not some:
                raise RejectedError(
                    "all talk at hand shares words with the case: give unrelated talk of your own "
                    "(talk: [text, …])"
                )

    def _pool(self, name: str, asks: bool) -> Iterator[Line]:
        """The domain's lines that are free of the words, in an order of this talk. Goes on where it stopped."""
        key = (name, asks)
        if key not in self._pools:
            self._pools[key] = self._draw(name, asks)
        return self._pools[key]

    def _draw(self, name: str, asks: bool) -> Iterator[Line]:
        """Each line once, then with each of the openings, and then over again; lines of one template far apart. Ends
        only when none is free."""
        for number in itertools.count():
            templates = [list(lines) for lines in lines_of(name, asks, number % (len(OPENINGS) + 1))]
            self._rng.shuffle(templates)
            some = False
            while templates:
                for lines in templates:
                    line = lines.pop(int(self._rng.random() * len(lines)))
                    if line.stems.isdisjoint(self._avoid):
                        some = True
                        yield line
                templates = [lines for lines in templates if lines]
            if not some:
                return


@cache
def lines_of(name: str, asks: bool, number: int = 0) -> tuple[tuple[Line, ...], ...]:
    """Every line of a domain, by template; for a number above 0 each with an opening, another one for each number."""
    domain = talk.domain(name)
    places = itertools.count(number)
    return tuple(
        tuple(
            _line(_opened(OPENINGS[next(places) % len(OPENINGS)], text) if number else text)
            for text in _renderings(template)
        )
        for template in (domain.asks if asks else domain.tells)
    )


def _line(text: str) -> Line:
    return Line(text, stems(text), tokens.estimate(f" {text}"))


def _renderings(template: str) -> Iterator[str]:
    """Every way to choose."""
    parts = _CHOICE.split(template)
    choices = [part.split("|") if index % 2 else [part] for index, part in enumerate(parts)]
    return map("".join, itertools.product(*choices))


def _opened(opening: str, text: str) -> str:
    return opening + (text if text.startswith(("I ", "I'")) else text[0].lower() + text[1:])
