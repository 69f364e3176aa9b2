"""JSON read and written so that what nobody changes stays what it was: `42.00` is not written as `42.0`."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from aegis.trace import lenient

MAX_DEPTH = lenient.MAX_DEPTH


class Literal(float):
    """A number as its document writes it."""

    __slots__ = ("text",)

    text: str

    def __new__(cls, text: str) -> Literal:
        made = super().__new__(cls, text)
        made.text = text
        return made

    def __copy__(self) -> Literal:
        return self

    def __deepcopy__(self, memo: Any) -> Literal:
        return self


def parse(text: str | bytes) -> Any:
    """The mapping or list that a text is; None for any other text, also for one that is nested too deeply."""
    try:
        value = json.loads(text, parse_float=_literal, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict | list):
        return None
    return value if lenient.bounded(value, MAX_DEPTH) is value else None


def write(value: Any) -> bytes:
    """Without white space. Halves of surrogate pairs, which UTF-8 cannot hold, stay escaped."""
    try:
        return write_text(value).encode()
    except UnicodeEncodeError:
        return _written(value, json.JSONEncoder().encode).encode()


def write_text(value: Any) -> str:
    return _written(value, json.JSONEncoder(ensure_ascii=False).encode)


def _written(value: Any, scalar: Callable[[Any], str]) -> str:
    pieces: list[str] = []
    _write(value, scalar, pieces.append)
    return "".join(pieces)


def _write(value: Any, scalar: Callable[[Any], str], put: Callable[[str], None]) -> None:
    if isinstance(value, dict):
        mark = "{"
        for name, item in value.items():
            put(f"{mark}{scalar(name)}:")
            _write(item, scalar, put)
            mark = ","
        put("}" if value else "{}")
    elif isinstance(value, list):
        mark = "["
        for item in value:
            put(mark)
            _write(item, scalar, put)
            mark = ","
        put("]" if value else "[]")
    else:
        put(value.text if isinstance(value, Literal) else scalar(value))


def _literal(text: str) -> Literal:
    made = Literal(text)
    if not math.isfinite(made):
        raise ValueError("a number that JSON cannot hold again")
    return made


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")
