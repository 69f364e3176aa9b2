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

MAX_CHARS = 20_000
"""Of a text that are compared."""


def text(value: str) -> str:
    """With UUIDs, times and digests replaced by their kind. Other numbers stay: an amount that changes is a change."""
    return _VOLATILE.sub(lambda found: f"<{found.lastgroup}>", value[:MAX_CHARS])


@lru_cache(maxsize=8_192)
def words(value: str) -> tuple[str, ...]:
    """The words of a text in lower case: white space, punctuation and marks of emphasis aside."""
    return tuple(_WORD.findall(text(value).casefold()))


@lru_cache(maxsize=8_192)
def path(value: str) -> str:
    """The path of a request without its query, ids as `*`: `/orders/1042` → `/orders/*`."""
    parts = text(value.split("?", 1)[0]).split("/")
    return "/".join("*" if _NUMBER_PART.fullmatch(part) else part for part in parts)


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
