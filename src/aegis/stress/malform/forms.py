"""Other characters for the same text."""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Iterable
from functools import partial

from aegis.stress.base import NotApplicableError
from aegis.stress.malform import Messages, by_piece, by_word

_LIGATURES = {"ffi": "ﬃ", "ffl": "ﬄ", "ff": "ﬀ", "fi": "ﬁ", "fl": "ﬂ"}
_LIGATURE = re.compile("|".join(_LIGATURES))
_WIDE = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}

_INNER = re.compile(r"[^\W\d_](?:.*[^\W\d_])?", re.S)
"""From the first letter to the last."""
_INNER_SPACE = re.compile(r"(?<=[^\W\d_]) (?=[^\W\d_])")

_TYPOGRAPHIC = {"'": "’", " ": "\u00a0", "-": "–"}
"""What word processors write for plain characters."""
_PLAIN = str.maketrans({fancy: plain for plain, fancy in _TYPOGRAPHIC.items()})


def unicode(messages: Messages, rng: random.Random) -> list[str]:
    """Half of the words in another Unicode form (full width, decomposed accents, ligatures), all of which
    normalisation to NFKC undoes."""

    def change(word: str) -> str:
        forms = {word.translate(_WIDE), unicodedata.normalize("NFD", word), _ligatured(word)} - {word}
        return rng.choice(sorted(forms)) if forms else word

    return by_word(messages, change, partial(unicodedata.normalize, "NFKC"), 1 / 2, rng)


def _ligatured(word: str) -> str:
    return _LIGATURE.sub(lambda match: _LIGATURES[match.group()], word)


def mojibake(messages: Messages, rng: random.Random) -> list[str]:
    """UTF-8 that was read as Windows-1252: accented letters, curly apostrophes, dashes and hard spaces as two or three
    other characters."""
    table = _garbled({*"".join(messages.texts), *_TYPOGRAPHIC.values()})
    back = {garbled: character for character, garbled in table.items()}
    pattern = re.compile("|".join(map(re.escape, sorted(back, key=len, reverse=True))))

    def read(text: str) -> str:
        return pattern.sub(lambda match: back[match.group()], text).translate(_PLAIN)

    def change(text: str) -> str:
        # What is no letter stays at both ends: `1042Â` would be another token than `1042`.
        inner = _INNER.search(text)
        if inner is None:
            return text
        garbled = "".join(table.get(found, found) for found in _typeset(inner.group(), rng))
        return text[: inner.start()] + garbled + text[inner.end() :]

    changed = by_piece(messages, change, read)
    if changed == list(messages.texts):
        # A short message, in which no space was drawn: its first one.
        space = table["\u00a0"]
        changed = by_piece(messages, lambda text: _INNER_SPACE.sub(space, text, count=1), read)
    if changed == list(messages.texts):
        raise NotApplicableError("it has no character that a wrong encoding would change")
    return changed


def _typeset(text: str, rng: random.Random) -> Iterable[str]:
    """The text as a word processor would have it: every apostrophe and dash, every fourth space."""
    for character in text:
        if character in "'-" or (character == " " and rng.random() < 1 / 4):
            yield _TYPOGRAPHIC[character]
        else:
            yield character


def _garbled(characters: Iterable[str]) -> dict[str, str]:
    """Character → what a wrong decoder makes of it, for all that it can decode."""
    found: dict[str, str] = {}
    for character in sorted(characters):
        if not character.isascii():
            try:
                found[character] = character.encode().decode("cp1252")
            except UnicodeError:
                continue
    return found
