"""JSON lines from an untrusted program: bytes in, checked objects out. No I/O here."""

from __future__ import annotations

import json
import math
from typing import Any

from aegis.agents.base import MAX_ANSWER_BYTES
from aegis.agents.record import AgentFault
from aegis.agents.tail import one_line, utf8
from aegis.suite.units import format_size

MAX_DEPTH = 100
"""Nesting of one line's JSON. Deeper values would break whoever walks or prints them later."""


class LineBuffer:
    """Cuts a stream into lines, none longer than `limit` bytes (their end not counted)."""

    def __init__(self, limit: int = MAX_ANSWER_BYTES) -> None:
        self._limit = limit
        self._data = bytearray()
        self._searched = 0

    def add(self, data: bytes) -> None:
        self._data += data

    def line(self) -> bytes | None:
        """The next complete line without its end, or None. Raises `AgentFault` when it grows over the
        limit."""
        end = self._data.find(b"\n", self._searched)
        if end > self._limit or (end < 0 and len(self._data) > self._limit):
            size, shown = format_size(self._limit), _shown(bytes(self._data[:400]))
            raise AgentFault(f"agent wrote a line longer than {size}: {shown}", quote_stderr=False)
        if end < 0:
            self._searched = len(self._data)
            return None
        line = bytes(self._data[:end])
        del self._data[: end + 1]
        self._searched = 0
        return line

    def rest(self) -> bytes:
        """What stands after the last complete line; taken out."""
        rest = bytes(self._data)
        self._data.clear()
        self._searched = 0
        return rest


def parse_object(line: bytes, what: str = "a line") -> dict[str, Any]:
    """The JSON object of one line, or of `what` else. Raises `AgentFault` when it is anything else.

    Numbers that JSON cannot carry (NaN, 1e999) and values nested deeper than `MAX_DEPTH` are refused, and
    lone surrogates are replaced, so that the result can always be written out again."""
    try:
        value = json.loads(line.decode("utf-8"), parse_constant=_no_constant, parse_float=_finite)
        value = _plain(value, MAX_DEPTH)
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, _RefusedError) else "not JSON"
        raise AgentFault(f"agent broke the protocol with {what} that is {reason}: {_shown(line)}") from None
    if not isinstance(value, dict):
        raise AgentFault(f"agent broke the protocol with {what} that is not a JSON object: {_shown(line)}")
    return value


class _RefusedError(ValueError):
    pass


def _no_constant(name: str) -> float:
    raise _RefusedError(f"not JSON ({name} is no JSON number)")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _RefusedError("out of range of JSON numbers")
    return number


def _plain(value: Any, depth: int) -> Any:
    if depth < 0:
        raise _RefusedError(f"nested deeper than {MAX_DEPTH} levels")
    match value:
        case str():
            return utf8(value)
        case list():
            return [_plain(item, depth - 1) for item in value]
        case dict():
            return {utf8(key): _plain(item, depth - 1) for key, item in value.items()}
        case _:
            return value


def _shown(line: bytes) -> str:
    return one_line(line[:400].decode("utf-8", "replace"), 100) or "(nothing but control characters)"
