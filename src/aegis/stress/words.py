"""The words of a text and of a case."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from aegis.suite.model import Case

WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
"""A run of letters and digits; apostrophes inside belong to it."""


def words(text: str) -> list[str]:
    return WORD.findall(text)


COMMON = frozenset(
    words(
        """
    a about above after again all also always am an and another any anybody anyone anything are around as at away back
    be because been before being below between both but by came can can't cannot come could did didn't do does doesn't
    doing don't done down during each either else enough even ever every everything few first for from further get gets
    give go goes going gone good got great had has hasn't have haven't having he hello her here hers hi him his how
    however i i'd i'll i'm i've if in into is isn't it it's its just keep kind know last least less let let's like
    little long look lot made make many may maybe me mean might mine more most much must my myself near need never new
    next no nobody none nor not nothing now of off often oh ok okay old on once one only onto or other our out over own
    part per perhaps please quite rather really right said same say see seem should since so some somebody something
    soon still such sure take tell than thank thanks that that's the their them then there these they thing things think
    this those though through time to today together told tomorrow too tried try under until up upon us use used
    usually very want was wasn't way we well went were what what's when where which while who whole whose why will with
    without won't would year yes yesterday yet you your yours
    """
    )
)
"""English words that say nothing about what a text is about, in lower case."""

_ENGLISH = frozenset(
    words(
        """
        the and with this that these those what which where why how please my your their have has could would should are
        were you they been for of it's i'm don't i a is to in not can
        """
    )
)
_FOREIGN = frozenset(
    words(
        """
        und der das nicht ist ich mein meine bitte ein eine einen für mit auf von wie dem denn le les et est que qui une
        des du pour mon je vous avec sur ne pas el los las por para mi con como quiero está il che sono mio della het
        een niet mijn ik dat não uma meu minha com você jest nie się proszę mam och att det är jag inte og ikke jeg ve
        bir için bu
        """
    )
)
"""Frequent words of English, and of other languages in Latin letters."""

_SPOKEN = {"persona", "goal", "knows", "begins", "gives_up", "done", "script"}

_ESCAPE = re.compile(r"\\[A-Za-z]|\(\?[A-Za-z]+\)")
_ENDINGS = ("ingly", "ings", "ing", "ies", "ied", "ed", "es", "s", "y", "e")


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """What the inflected forms of an English word have in common, roughly: `refund` of `Refunds` and `refunding`."""
    word = word.casefold().replace("’", "'").removesuffix("'s")
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def stems(text: str) -> frozenset[str]:
    """The stems of all words of a text that say what it is about."""
    return frozenset(stem(word) for word in words(text) if word.casefold().replace("’", "'") not in COMMON)


def said(case: Case) -> list[str]:
    """What the user says, and what a simulated one knows and may say."""
    found = [turn.user for turn in case.turns]
    for turn in case.turns:
        if turn.simulate is not None:
            found += _texts(turn.simulate.model_dump(include=_SPOKEN))
    return found


def expected(case: Case) -> list[str]:
    """Every text and number in what the case and its turns expect, as texts; regular expressions without their escapes
    too."""
    found: list[str] = []
    for expect in (case.expect, *(turn.expect for turn in case.turns)):
        for entry in expect:
            found += _texts(entry.config)
    return found + [_ESCAPE.sub(" ", text) for text in found if _ESCAPE.search(text)]


def topics(case: Case) -> frozenset[str]:
    """Stems of the words that the case is about: what its user says and what it expects."""
    return frozenset().union(*(stems(text) for text in (*said(case), *expected(case))))


def is_english(text: str) -> bool:
    """Whether a text can be English: false when most of it is in other letters, or frequent words of other languages
    outnumber the English ones."""
    foreign = sum(1 for letter in text if letter.isalpha() and letter > "\u024f")
    if foreign * 3 > sum(map(str.isalpha, text)):
        return False
    found = [word.casefold() for word in words(text)]
    others = sum(word in _FOREIGN for word in found)
    return others < 2 or others <= sum(word in _ENGLISH for word in found)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            # The keys of a configuration are the scorer's words, those of expected JSON the agent's.
            yield str(key)
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, bool) or value is None:
        return
    else:
        yield str(value)
