"""Values in bodies and answers: which of them nobody can have guessed, and whether a text holds them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from aegis.trace import lenient

Value = str | int | float

_MAX_LEAVES = 2000
_MIN_CHARS = 6
_MIN_CHARS_WITHOUT_DIGIT = 12
_MIN_DIGITS = 3
_YEARS = range(1900, 2101)
_NUMBER = re.compile(r"\d+(?:[.,'\u00a0\u202f]\d+)*")
_WORD = re.compile(r"[^\s\"'<>(){}\[\],;]+")


def leaves(value: Any) -> Iterator[Value]:
    """The texts and numbers in a JSON value, without the names of its fields."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            stack.extend(reversed(item.values()))
        elif isinstance(item, list):
            stack.extend(reversed(item))
        elif isinstance(item, str | int | float) and not isinstance(item, bool):
            yield item


def values_of(text: str) -> list[Value]:
    """The values in a body: the leaves of JSON, else its words and numbers."""
    parsed = lenient.parse(text)
    found: Iterable[Value] = leaves(parsed) if isinstance(parsed, dict | list) else _WORD.findall(text)
    return [item for item, _ in zip(found, range(_MAX_LEAVES), strict=False)]


def is_telling(value: Value) -> bool:
    """Whether it can't have got into an answer by chance: a text of at least 6 characters with a digit in it or of at
    least 12 without, or a number of at least 3 digits that count (not 42, 100 or 2026)."""
    if not isinstance(value, str):
        return _is_telling_number(value)
    text = value.strip()
    if re.fullmatch(r"[-+]?\d+(?:\.\d+)?", text):
        return _is_telling_number(float(text))
    return len(text) >= (_MIN_CHARS if any(c.isdigit() for c in text) else _MIN_CHARS_WITHOUT_DIGIT)


def _is_telling_number(value: float) -> bool:
    if value == int(value) and (int(value) in _YEARS or abs(value) > 2**53):
        return False
    digits = (
        f"{abs(value):.9f}".rstrip("0").rstrip(".")
        if value != int(value)
        else str(abs(int(value))).rstrip("0")
    )
    return len(digits.replace(".", "").lstrip("0")) >= _MIN_DIGITS


@dataclass(frozen=True)
class Known:
    """A text to find values in: by letters without case and runs of spaces, by numbers however they are written."""

    text: str

    @cached_property
    def _folded(self) -> str:
        return _fold(self.text)

    @cached_property
    def _numbers(self) -> frozenset[float]:
        return frozenset(number for found in _NUMBER.findall(self.text) for number in _readings(found))

    def holds(self, value: Value) -> bool:
        if isinstance(value, str):
            folded = _fold(value)
            if not folded:
                return False
            if not re.fullmatch(r"[-+]?\d+(?:\.\d+)?", folded):
                return _stands_in(folded, self._folded)
            value = float(folded)
        return round(abs(float(value)), 9) in self._numbers


def known(texts: Iterable[str]) -> Known:
    """Several texts as one. JSON counts as it is written and as it reads."""
    parts: list[str] = []
    for text in texts:
        parts.append(text)
        if "\\" in text and (parsed := lenient.parse(text)) is not None:
            parts.append(json.dumps(list(leaves(parsed)), ensure_ascii=False))
    return Known("\n".join(parts))


def _fold(text: str) -> str:
    return " ".join(text.casefold().split())


def _stands_in(value: str, text: str) -> bool:
    """Whether it is there by itself and not inside a longer word."""
    start = text.find(value)
    while start >= 0:
        end = start + len(value)
        before, after = text[start - 1 : start], text[end : end + 1]
        if not (before.isalnum() and value[0].isalnum()) and not (after.isalnum() and value[-1].isalnum()):
            return True
        start = text.find(value, start + 1)
    return False


def _readings(written: str) -> Iterator[float]:
    """The numbers that this can be: `1,042.50` and `1.042,50` are the same one, `1.042` may be either of two."""
    bare = re.sub(r"['\u00a0\u202f]", "", written)
    for text in {bare.replace(",", ""), bare.replace(".", "").replace(",", ".")}:
        try:
            yield round(float(text), 9)
        except ValueError:
            yield from (float(part) for part in re.findall(r"\d+", text))
