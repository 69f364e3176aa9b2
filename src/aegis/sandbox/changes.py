"""Reading what a machine says was changed in it: hostile until proven dull."""

from __future__ import annotations

import base64
import binascii
import json
import posixpath
from typing import Any, cast

from aegis.errors import GuestProtocolError
from aegis.sandbox.base import Change, Changes

LIST_BYTES = 5 << 20
"""Of an answer, besides the contents."""
MAX_PATH_BYTES = 4096
MAX_SIZE = 1 << 62
MAX_MORE = 1 << 40
KINDS = frozenset(("file", "folder", "link", "other"))
HOWS = frozenset(("added", "changed", "deleted"))


def answer_bytes(max_bytes: int) -> int:
    """How long an answer with contents of `max_bytes` may be."""
    return LIST_BYTES + max_bytes * 4 // 3 + max_bytes // 8


def read(answer: bytes, *, max_items: int, max_file_bytes: int, max_bytes: int) -> Changes:
    """The answer to the operation `changes`. Raises GuestProtocolError for anything but one."""
    lines = answer.split(b"\n")
    if len(lines) < 2 or lines[-1] or len(lines) - 2 > max_items:
        raise _broken("it has no end, or more lines than were asked for")
    items = [_item(_decoded(line), max_file_bytes) for line in lines[:-2]]
    if sum(len(each.before or b"") + len(each.after or b"") for each in items) > max_bytes:
        raise _broken("more contents than were asked for")
    if len({(each.path, each.how) for each in items}) < len(items):
        raise _broken("a path comes twice")
    more = _number(_decoded(lines[-2]).get("more"), MAX_MORE)
    if more is None:
        raise _broken("no number of what was left out")
    return Changes(tuple(sorted(items, key=lambda each: (each.path, each.how == "added"))), more)


def _broken(why: str) -> GuestProtocolError:
    return GuestProtocolError(f"the machine broke the protocol: changes: {why}")


def _decoded(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        raise _broken("a line that is no JSON") from None
    if not isinstance(value, dict):
        raise _broken("a line that is no object")
    return value


def _item(line: dict[str, Any], max_file_bytes: int) -> Change:
    how, kind = line.get("how"), line.get("kind")
    if not isinstance(how, str) or how not in HOWS or not isinstance(kind, str) or kind not in KINDS:
        raise _broken("a difference of no known kind")
    before_bytes, after_bytes = (_number(each, MAX_SIZE) for each in _pair(line, "bytes"))
    before_mode, after_mode = (_number(each, 0o7777) for each in _pair(line, "mode"))
    before, after = (_content(each, max_file_bytes) for each in _pair(line, "content"))
    if how == "added" and (before_bytes, before_mode, before) != (None, None, None):
        raise _broken("something added that was there before")
    if how == "deleted" and (after_bytes, after_mode, after) != (None, None, None):
        raise _broken("something deleted that is there now")
    return Change(
        path=_path(line.get("path")),
        how=cast(Any, how),
        kind=cast(Any, kind),
        before_bytes=before_bytes,
        after_bytes=after_bytes,
        before=before,
        after=after,
        before_mode=before_mode,
        after_mode=after_mode,
    )


def _path(value: object) -> str:
    """Absolute and normal. Bytes that are no UTF-8 stay what Python makes of them (`surrogateescape`)."""
    if not isinstance(value, str) or "\0" in value:
        raise _broken("a path that is none")
    if not value.startswith("/") or value.startswith("//") or posixpath.normpath(value) != value:
        raise _broken("a path that is not absolute and normal")
    try:
        size = len(value.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        raise _broken("a path that is none") from None
    if size > MAX_PATH_BYTES or value == "/":
        raise _broken("a path that cannot be")
    return value


def _pair(line: dict[str, Any], name: str) -> list[Any]:
    value = line.get(name)
    if not isinstance(value, list) or len(value) != 2:
        raise _broken(f"`{name}` is no pair")
    return value


def _number(value: object, highest: int) -> int | None:
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= highest:
        raise _broken("a number that cannot be")
    return value


def _content(value: object, max_bytes: int) -> bytes | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise _broken("a content that is none")
    try:
        data = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise _broken("a content that is none") from None
    if len(data) > max_bytes:
        raise _broken("a content larger than was asked for")
    return data
