"""What the agent of a trial changed in its machine: taken between its end and the scoring, kept with the result.

It is an account, no judgement: whatever goes wrong with it becomes a note, and the outcome is what it would have
been.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aegis.sandbox.base import WORKSPACE, Change, Changes, Sandbox

TIMEOUT_S = 60.0
"""For each of the two operations, on a very slow host."""
FIRST = 5
"""Names that stand in the run document itself."""
NAME_CHARS = 200
SIGNS = {"added": "+", "changed": "~", "deleted": "-"}
BEHIND = ("/tmp/", "/run/", "/var/", "/usr/", "/root/.cache/", "/proc/")
"""What is named last: programs leave things there that nobody asked for."""


class Differences:
    """Of one attempt's machine."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._failure = ""

    async def mark(self) -> None:
        """The agent starts now. Raises nothing but cancellation."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self._sandbox.mark()
        except Exception as error:  # of whatever kind: the trial is judged all the same
            self._failure = _words(error)

    async def collect(self) -> dict[str, Any]:
        """The result's `changes`, with its `items`. Raises nothing but cancellation."""
        if self._failure:
            return _failed(self._failure)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return described(await self._sandbox.changes())
        except Exception as error:  # of whatever kind: the trial is judged all the same
            return _failed(_words(error))


def _words(error: Exception) -> str:
    text = f"not within {TIMEOUT_S:.0f} s" if isinstance(error, TimeoutError) else str(error)
    return f"what it changed could not be told: {text}"[:500]


def _failed(note: str) -> dict[str, Any]:
    return described(Changes(())) | {"note": note}


def described(changes: Changes) -> dict[str, Any]:
    """As JSON. Counts are of everything but folders that hold something else that is told."""
    told = _told(changes.items)
    counts = {how: sum(each.how == how for each in told) for how in SIGNS}
    return {
        **counts,
        "more": changes.more,
        "first": [_name(each) for each in sorted(told, key=_order)[:FIRST]],
        "note": "",
        "items": [_item(each) for each in changes.items],
    }


def _told(items: Sequence[Change]) -> list[Change]:
    parents = {(each.path.rpartition("/")[0], each.how) for each in items}
    return [each for each in items if each.kind != "folder" or (each.path, each.how) not in parents]


def _order(each: Change) -> tuple[int, str]:
    if each.path.startswith(f"{WORKSPACE}/"):
        return (1 if "/__pycache__" in each.path else 0), each.path
    return (3 if each.path.startswith(BEHIND) or "/__pycache__" in each.path else 2), each.path


def _name(each: Change) -> str:
    name = each.path.removeprefix(f"{WORKSPACE}/")
    if len(name) > NAME_CHARS:
        name = f"…{name[-NAME_CHARS:]}"
    return SIGNS[each.how] + name + ("/" if each.kind == "folder" else "")


def _item(each: Change) -> dict[str, Any]:
    """Contents are kept as text; of what is none, its size is enough."""
    texts = [_text(each.before), _text(each.after)]
    binary = any(
        data is not None and text is None for data, text in zip((each.before, each.after), texts, strict=True)
    )
    item: Mapping[str, Any] = {
        "path": each.path,
        "how": each.how,
        "kind": each.kind,
        "bytes": [each.before_bytes, each.after_bytes],
        "mode": [each.before_mode, each.after_mode],
        "text": texts,
        "binary": binary,
    }
    return dict(item)


def _text(data: bytes | None) -> str | None:
    if data is None or b"\0" in data:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None
