"""Texts and paths without what is different each time."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
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

MAX_CHARS = 20_000
"""Of a text that are compared."""


def text(value: str) -> str:
    """With UUIDs, times and digests replaced by their kind. Other numbers stay: an amount that changes is a change."""
    return without_volatile(value[:MAX_CHARS])


def without_volatile(value: str) -> str:
    """The same, however long the text."""
    if len(value) < _SHORTEST_VOLATILE:
        return value
    return _VOLATILE.sub(lambda found: f"<{found.lastgroup}>", value)


def words(value: str) -> tuple[str, ...]:
    """The words of a text in lower case: white space, punctuation and marks of emphasis aside."""
    # Nothing that is looked for holds white space, so each piece of text can be looked at by itself, and most are
    # known.
    known = _words_of
    if len(known) > _MOST_KNOWN:
        known.clear()
    found: list[str] = []
    for piece in value[:MAX_CHARS].split():
        found += known[piece]
    return tuple(found)


class _Words(dict[str, tuple[str, ...]]):
    def __missing__(self, piece: str) -> tuple[str, ...]:
        found = self[piece] = tuple(map(sys.intern, _WORD.findall(without_volatile(piece).casefold())))
        return found


class _Parts(dict[str, str]):
    def __missing__(self, part: str) -> str:
        plain = without_volatile(part)
        found = self[part] = "*" if _NUMBER_PART.fullmatch(plain) else plain
        return found


_MOST_KNOWN = 200_000
_words_of, _parts_of = _Words(), _Parts()


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
            yield from leaves(item, f"{at}.{name}" if str(name).isidentifier() else f"{at}[{name!r}]")
    elif isinstance(value, list | tuple) and value:
        for item in value:
            yield from leaves(item, f"{at}[*]")
    else:
        yield at, value
