"""Texts and paths without what is different each time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

_VOLATILE = re.compile(
    r"""
    (?P<uuid>\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b)
    | (?P<time>\b\d{4}-\d\d-\d\dt\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:z|[+-]\d\d:?\d\d)?(?!\w))
    | (?P<digest>\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{12,}\b)
    """,
    re.VERBOSE | re.IGNORECASE,
)
_WORD = re.compile(r"<\w+>|[\w.,:%€$£'-]*\w[%€$£]?|[€$£%]")
_NUMBER_PART = re.compile(r"\d+|<\w+>")

_SHORTEST_VOLATILE = 12
_HINT = re.compile(r"[\d-]")
"""Where neither is, nothing is volatile."""

MAX_CHARS = 20_000
"""Of a text that are compared."""


def text(value: str) -> str:
    """With UUIDs, times and digests replaced by their kind. Other numbers stay: an amount that changes is a change."""
    return without_volatile(value[:MAX_CHARS])


def without_volatile(value: str) -> str:
    """The same, however long the text."""
    if len(value) < _SHORTEST_VOLATILE or not _HINT.search(value):
        return value
    return _VOLATILE.sub(lambda found: f"<{found.lastgroup}>", value)


def words(value: str) -> tuple[str, ...]:
    """The words of a text in lower case: white space, punctuation and marks of emphasis aside."""
    return tuple(map(word, numbered(value)))


def word(number: int) -> str:
    return _vocabulary.words[number]


def numbered(value: str) -> tuple[int, ...]:
    """The words of a text, each as its number: the same for the same word as long as the process lives."""
    # Nothing that is looked for holds white space, so each piece of the text can be looked at by itself; most are
    # known, and most are one word.
    pieces = value[:MAX_CHARS].split()
    numbers = tuple(map(_vocabulary.__getitem__, pieces))
    if None not in numbers:
        return numbers
    found: list[int] = []
    for piece, number in zip(pieces, numbers, strict=True):
        if number is None:
            found += _vocabulary.several(piece)
        else:
            found.append(number)
    return tuple(found)


def _words(piece: str) -> list[str]:
    return _WORD.findall(without_volatile(piece).casefold())


class _Vocabulary(dict[str, Any]):
    """Piece of a text → number of its word; None where it has another number of words than one."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self._numbers: dict[str, int] = {}
        self._several: dict[str, list[int]] = {}

    def number(self, word: str) -> int:
        found = self._numbers.setdefault(word, len(self.words))
        if found == len(self.words):
            self.words.append(word)
        return found

    def several(self, piece: str) -> list[int]:
        found = self._several.get(piece)
        if found is None:
            found = list(map(self.number, _words(piece)))
            if len(self._several) < _MOST_KNOWN:
                self._several[piece] = found
        return found

    def __missing__(self, piece: str) -> int | None:
        found = _words(piece)
        number = self.number(found[0]) if len(found) == 1 else None
        if len(self) < _MOST_KNOWN:
            self[piece] = number
        return number


class _Parts(dict[str, str]):
    def __missing__(self, part: str) -> str:
        plain = without_volatile(part)
        found = self[part] = "*" if _NUMBER_PART.fullmatch(plain) else plain
        return found


_MOST_KNOWN = 200_000
_vocabulary, _parts_of = _Vocabulary(), _Parts()


def path(value: str) -> str:
    """The path of a request without its query, ids as `*`: `/orders/1042` → `/orders/*`."""
    if len(_parts_of) > _MOST_KNOWN:
        _parts_of.clear()
    parts = value.split("?", 1)[0][:MAX_CHARS].split("/")
    return "/".join(map(_parts_of.__getitem__, parts))


def leaves(value: Any, at: str = "$") -> Iterator[tuple[str, Any]]:
    """(JSON path, value) of everything in a JSON value that holds nothing else. All items of an array have one path,
    `$.items[*]`; an empty object or array is a leaf."""
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from leaves(item, member(at, name))
    elif isinstance(value, list | tuple) and value:
        for item in value:
            yield from leaves(item, f"{at}[*]")
    else:
        yield at, value


@lru_cache(maxsize=4_096)
def member(at: str, name: str) -> str:
    """The path of a member of the object at this path."""
    return f"{at}.{name}" if str(name).isidentifier() else f"{at}[{name!r}]"
