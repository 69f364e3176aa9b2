"""Slips of the finger."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial

from aegis.stress import protect
from aegis.stress.base import NotApplicableError
from aegis.stress.malform import Malform, Messages
from aegis.stress.words import WORD, words

LEAST_LETTERS = 5
OMIT_FROM_LETTERS = 7
"""Shorter words are too often another word when a letter is missing."""

MEANING = frozenset(
    words(
        """
    never without except before after until unless neither either instead both cannot twice every other another dozen
    hundred thousand million billion seven eight eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
    nineteen twenty thirty forty fifty sixty seventy eighty ninety first second third fourth fifth sixth seventh eighth
    ninth tenth three today tomorrow yesterday
    """
    )
)
"""Words that decide what is asked for: they are left alone."""

OTHER_WORDS = frozenset(
    words(
        """
    trail trial quite quiet diary dairy angle angel casual causal untied united sacred scared broad board filed field
    being begin silver sliver martial marital desert dessert latter later planned planed hopping hoping super supper
    dinner diner bellow below bitter biter cannon canon filling filing holly holy ridding riding starring staring
    stripped striped tapping taping winning wining ratted rated barring baring carring caring crave carve conversion
    expect except access excess lighting lightning costumer customer reserve reverse retain retina tired tried planner
    planer stared comma coma loose lose bread beard marry merry tinny tiny griped gripped moped mopped thread tread
    friend fiend through though country county course curse chief chef report repot county counter
    """
    )
)
"""Words that a slip makes of others."""

_KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_NEIGHBOURS = {
    letter: [row[place] for place in (index - 1, index + 1) if 0 <= place < len(row)]
    for row in _KEYS
    for index, letter in enumerate(row)
}


def typos(percent: int) -> Malform:
    return partial(_typos, percent)


def _typos(percent: int, messages: Messages, rng: random.Random) -> list[str]:
    """A slip in so many of a hundred words, at least in one."""
    found = [(number, place) for number, text in enumerate(messages.texts) for place in _open(text, messages)]
    if not found:
        raise NotApplicableError(
            f"every word of it is protected or has fewer than {LEAST_LETTERS} letters: there is none to mistype"
        )
    total = sum(len(words(text)) for text in messages.texts)
    chosen = rng.sample(found, min(len(found), max(1, total * percent // 100)))
    changed = list(messages.texts)
    # From the end: the places before stay right.
    for number, (start, end) in sorted(chosen, reverse=True):
        text = changed[number]
        changed[number] = text[:start] + slipped(text[start:end], rng) + text[end:]
    return changed


def _open(text: str, messages: Messages) -> Iterator[tuple[int, int]]:
    """Where the words stand that may be mistyped."""
    position = 0
    for piece in protect.pieces(text, messages.keep):
        if not piece.protected:
            for match in WORD.finditer(piece.text):
                if _may_slip(match.group()):
                    yield position + match.start(), position + match.end()
        position += len(piece.text)


def _may_slip(word: str) -> bool:
    plain = word.isalpha() and word.islower() and len(word) >= LEAST_LETTERS
    return plain and word not in MEANING


def slipped(word: str, rng: random.Random) -> str:
    """The word with one slip, another one than every word in `OTHER_WORDS`. Its first and last letter stay."""
    slips = [_swapped, _doubled, _brushed]
    if len(word) >= OMIT_FROM_LETTERS:
        slips += [_omitted]
    while True:
        found = rng.choice(slips)(word, rng.randrange(1, len(word) - 2), rng)
        if found != word and found not in OTHER_WORDS:
            return found


def _swapped(word: str, at: int, rng: random.Random) -> str:
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


def _doubled(word: str, at: int, rng: random.Random) -> str:
    return word[: at + 1] + word[at:]


def _brushed(word: str, at: int, rng: random.Random) -> str:
    """The key beside the right one, hit together with it."""
    return word[: at + 1] + rng.choice(_NEIGHBOURS.get(word[at], [word[at]])) + word[at + 1 :]


def _omitted(word: str, at: int, rng: random.Random) -> str:
    return word[:at] + word[at + 1 :]
