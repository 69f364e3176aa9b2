"""Ways to write the same message badly, several a file: `typos.py`, `marks.py` (invisible and visible characters
between the letters), `forms.py` (other characters for the same), `pasted.py` (what comes along with the message).

A way takes the messages of a case and gives them back, changed. What must stay as it is was found before: `Messages`.
"""

from __future__ import annotations

import itertools
import math
import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from aegis.stress import protect
from aegis.stress.base import NotApplicableError, RejectedError

_WORD = re.compile(r"[^\W\d_]{2,}(?:['’][^\W\d_]+)*")


@dataclass(frozen=True, slots=True)
class Messages:
    """What the case's user says."""

    texts: tuple[str, ...]
    keep: frozenset[str]
    """Names and expected texts that stand in them, besides what `protect` finds."""
    avoid: frozenset[str]
    """Stems of the words that the case is about: no added talk may hold them."""


Malform = Callable[[Messages, random.Random], list[str]]
"""The messages, written badly. Raises `NotApplicableError` when there is nothing that it could change."""


def by_piece(
    messages: Messages,
    change: Callable[[str], str],
    read: Callable[[str], str],
    plain: Callable[[str], str] | None = None,
) -> list[str]:
    """Each unprotected stretch changed. `read` is what a reader takes a changed stretch for, `plain` (default: the
    same) the stretch as written: where they differ, the variant is rejected."""

    def changed(piece: protect.Piece) -> str:
        if piece.protected:
            return piece.text
        text = change(piece.text)
        if read(text) != (plain or read)(piece.text):
            raise RejectedError(f"the message can't be read back from what became of {piece.text[:80]!r}")
        return text

    return ["".join(map(changed, protect.pieces(text, messages.keep))) for text in messages.texts]


def by_word(
    messages: Messages,
    change: Callable[[str], str],
    read: Callable[[str], str],
    share: float,
    rng: random.Random,
) -> list[str]:
    """`by_piece` for a share of the unprotected words of two letters or more, at least for one.

    Raises `NotApplicableError` when there is none."""
    total = sum(
        len(_WORD.findall(piece.text))
        for text in messages.texts
        for piece in protect.pieces(text, messages.keep)
        if not piece.protected
    )
    if not total:
        raise NotApplicableError("every word of it is protected: there is none to change")
    chosen = set(rng.sample(range(total), math.ceil(total * share)))
    numbers = itertools.count()

    def changed(match: re.Match[str]) -> str:
        return change(match.group()) if next(numbers) in chosen else match.group()

    return by_piece(messages, lambda text: _WORD.sub(changed, text), read)
