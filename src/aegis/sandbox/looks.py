"""Reading what a machine says about its files and processes: hostile lines of JSON."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from typing import Any

from aegis.errors import GuestOperationError, GuestProtocolError
from aegis.sandbox.base import Entry, Processes, ProcessInfo

ENTRY_BYTES = 2048
"""Bound of what is said of one file on average; names are mostly far shorter."""
PROCESSES_BYTES = 16 * 1024 * 1024
"""Bound of what is said of all processes; command lines are cut at 32 KiB."""
_KINDS = ("file", "folder", "link", "other")


def too_much(limit: int) -> GuestOperationError:
    """For an answer of more than `limit` bytes."""
    return GuestOperationError(f"the answer is longer than {limit} bytes", code="too-large")


def entries(data: bytes) -> tuple[Entry, ...]:
    """The answer of the operation `look`. Raises `GuestProtocolError`."""
    return tuple(map(_entry, _lines(data)))


def processes(data: bytes) -> Processes:
    """The answer of the operation `processes`. Raises `GuestProtocolError`."""
    lines = list(_lines(data))
    more = 0
    if lines and "more" in lines[-1]:
        more = _number(lines.pop()["more"])
    return Processes(tuple(map(_process, lines)), more)


def _lines(data: bytes) -> Iterator[dict[str, Any]]:
    for line in data.splitlines():
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise _breach()
        yield value


def _entry(line: dict[str, Any]) -> Entry:
    path, kind, digest, target = line.get("path"), line.get("kind"), line.get("digest"), line.get("target")
    if not isinstance(path, str) or kind not in _KINDS or not isinstance(digest, str | None):
        raise _breach()
    size = None if line.get("size") is None else _number(line["size"])
    content = target.encode("utf-8", "surrogatepass") if isinstance(target, str) else None
    if isinstance(line.get("content"), str):
        try:
            content = base64.b64decode(line["content"], validate=True)
        except (binascii.Error, ValueError):
            raise _breach() from None
    return Entry(path, kind, _number(line.get("mode")), size, digest, content)


def _process(line: dict[str, Any]) -> ProcessInfo:
    command = line.get("command")
    if not isinstance(command, list) or not all(isinstance(part, str) for part in command):
        raise _breach()
    return ProcessInfo(_number(line.get("pid")), _number(line.get("parent")), tuple(command))


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _breach()
    return value


def _breach() -> GuestProtocolError:
    return GuestProtocolError("the machine described its files or processes in a way that makes no sense")
