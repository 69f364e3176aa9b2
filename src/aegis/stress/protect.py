"""What must not be changed in a message, since its meaning is not in the words: ids, numbers, quotes, addresses, code.

A protected token is recognised by its form alone. When in doubt a piece of text is protected: a typo too few is a
milder variant, a changed order number is another case.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_QUOTES = (
    r'"[^"\n]{1,400}"',
    r"“[^”\n]{1,400}”",
    r"„[^“”\n]{1,400}[“”]",
    r"«[^»\n]{1,400}»",
    r"‘[^’\n]{1,400}’(?!\w)",
    # Only where it cannot be an apostrophe: don't, the users' list.
    r"(?<![\w'])'[^'\n]{1,400}'(?!\w)",
)

_TOKEN = re.compile(
    "|".join(
        (
            r"```.*?```",
            r"`[^`\n]{1,400}`",
            r"\b[a-zA-Z][a-zA-Z0-9+.-]{1,15}://[^\s<>\"']+",
            r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+",
            *_QUOTES,
            r"\{\{?[^{}\n]{1,100}\}\}?",
            r"</?[A-Za-z][^<>\n]{0,200}>",
            # Whatever holds a digit, with its currency, sign and unit: 1042, $1,318.75, A-17, 3rd, 50%, 10:30.
            r"(?<!\w)[+\-±]?[$€£¥#№]?(?=[\w.,:/'+\-]{0,100}?\d)\w+(?:[.,:/'+\-]\w+)*(?:\s?[%€£°])?",
            # Paths, file names, domains, host:port, Windows paths.
            r"(?:[~.]{0,2}/|[A-Za-z]:\\)[\w./\\-]+",
            r"\b\w[\w-]{0,100}(?:[./\\_:]\w[\w-]{0,100})+",
            r"[@#$%&]\w[\w-]*",
            r"\b\w+_\w*",
            # SNAKE, camelCase, PascalCase.
            r"\b[A-ZÀ-ÖØ-Þ]{2,}\b",
            r"\b[a-z]+[A-Z]\w*",
            r"\b[A-Z][a-z]+[A-Z]\w*",
        )
    ),
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a text."""

    text: str
    protected: bool


def pieces(text: str, names: Iterable[str] = ()) -> list[Piece]:
    """The text cut into protected and free stretches: joined they are the text. `names` are further texts that must
    stay as they are wherever they stand."""
    found: list[Piece] = []
    position = 0
    for start, end in _merged(_spans(text, names)):
        if position < start:
            found.append(Piece(text[position:start], False))
        found.append(Piece(text[start:end], True))
        position = end
    if position < len(text):
        found.append(Piece(text[position:], False))
    return found


def tokens(text: str) -> tuple[str, ...]:
    """The protected tokens of a text, in order."""
    return tuple(match.group().strip() for match in _TOKEN.finditer(text))


def lost(before: str, after: str) -> list[str]:
    """The protected tokens of the first text that the second does not hold byte for byte, at least as often."""
    wanted = Counter(tokens(before))
    return [token for token, number in wanted.items() if len(places(token, after)) < number]


def places(token: str, text: str) -> list[tuple[int, int]]:
    """Where a token stands in a text, not as a part of a longer word: `17` is not in `1730`."""
    found: list[tuple[int, int]] = []
    start = text.find(token) if token else -1
    while start >= 0:
        end = start + len(token)
        if not (_joins(text[start - 1 : start], token[0]) or _joins(token[-1], text[end : end + 1])):
            found.append((start, end))
        start = text.find(token, end)
    return found


def _joins(left: str, right: str) -> bool:
    return left.isalnum() and right.isalnum()


def _spans(text: str, names: Iterable[str]) -> Iterator[tuple[int, int]]:
    for match in _TOKEN.finditer(text):
        yield match.span()
    for name in names:
        yield from places(name, text)


def _merged(spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The same without overlaps, in order."""
    last: tuple[int, int] | None = None
    for start, end in sorted(spans):
        if last is None:
            last = (start, end)
        elif start <= last[1]:
            last = (last[0], max(last[1], end))
        else:
            yield last
            last = (start, end)
    if last is not None:
        yield last
