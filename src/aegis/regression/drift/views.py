"""What of a case's trials is compared, worked out once for everything that is the same, and not before it is asked for.

Trials share what they did: those of one snapshot as the very same objects, those of different ones as equal values. A
view is made once for each object, and views of equal content are one object, so that "all did the same" is seen
without looking at what they did.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from aegis.regression.drift import normal, shorten
from aegis.regression.drift.behaviour import Behaviour, Request, ToolUse


class Leaves:
    """A tool's arguments. Different ones may still have equal items: what differs each time is not in those."""

    __slots__ = ("_arguments", "_chars", "_items")

    def __init__(self, arguments: Any, chars: int | None) -> None:
        self._arguments = arguments
        self._chars = chars
        self._items: tuple[tuple[str, str], ...] | None = None

    @property
    def items(self) -> tuple[tuple[str, str], ...]:
        """(JSON path, value as JSON) of everything in them, in order."""
        if self._items is None:
            # No arguments at all are no value of the whole.
            found = normal.leaves(self._arguments) if self._arguments else ()
            self._items = tuple([(path, _as_json(value, self._chars)) for path, value in found])
        return self._items


Use = tuple[str, Leaves, bool]
"""A tool call: its name, its arguments, and whether it may write."""


class Calls:
    """All of a trial."""

    __slots__ = ("_arguments", "_uses", "names")

    def __init__(self, uses: tuple[Use, ...]) -> None:
        self.names = tuple([name for name, _, _ in uses])
        self._uses = uses
        self._arguments: dict[str, tuple[Leaves, ...]] | None = None

    @property
    def may_write(self) -> frozenset[str]:
        return frozenset([name for name, _, may_write in self._uses if may_write])

    @property
    def arguments(self) -> dict[str, tuple[Leaves, ...]]:
        """By tool, in the order of the calls."""
        found = self._arguments
        if found is None:
            found = self._arguments = {}
            for name, leaves, _ in self._uses:
                found[name] = (*found[name], leaves) if name in found else (leaves,)
        return found


class Traffic:
    __slots__ = ("hosts", "writes")

    def __init__(self, hosts: frozenset[str], writes: tuple[str, ...]) -> None:
        self.hosts = hosts
        self.writes = writes


class Views:
    """Of the trials of one case, which must live as long as this does. Texts are cut to `chars` characters."""

    __slots__ = (
        "_argument_chars",
        "_calls",
        "_chars",
        "_leaves",
        "_same_calls",
        "_same_leaves",
        "_same_traffic",
        "_sent",
        "_traffic",
        "_uses",
    )

    def __init__(self, chars: int | None = None) -> None:
        self._chars = normal.MAX_CHARS if chars is None else chars
        self._argument_chars = None if chars is None else shorten.argument_chars(chars)
        self._calls: dict[int, Calls] = {}
        self._uses: dict[int, Use] = {}
        self._leaves: dict[int, Leaves] = {}
        self._traffic: dict[int, Traffic] = {}
        self._sent: dict[Request, tuple[str, str | None]] = {}
        self._same_calls: dict[tuple[Use, ...], Calls] = {}
        self._same_leaves: dict[str, Leaves] = {}
        self._same_traffic: dict[tuple[frozenset[str], tuple[str, ...]], Traffic] = {}

    def calls(self, trials: Sequence[Behaviour]) -> list[Calls]:
        known = self._calls
        return [known.get(id(tools)) or self._new_calls(tools) for tools in [trial.tools for trial in trials]]

    def traffic(self, trials: Sequence[Behaviour]) -> list[Traffic]:
        known = self._traffic
        return [
            known.get(id(requests)) or self._new_traffic(requests)
            for requests in [trial.requests for trial in trials]
        ]

    def answers(self, trials: Sequence[Behaviour]) -> list[tuple[int, ...]]:
        """Their words as numbers (`normal.word`)."""
        chars = self._chars
        texts = [trial.answer for trial in trials]
        return [
            normal.numbered(text if len(text) <= chars else shorten.answer(text, chars)) for text in texts
        ]

    def _new_calls(self, tools: tuple[ToolUse, ...]) -> Calls:
        known = self._uses
        uses = tuple([known.get(id(call)) or self._new_use(call) for call in tools])
        found = self._same_calls.get(uses)
        if found is None:
            found = self._same_calls[uses] = Calls(uses)
        self._calls[id(tools)] = found
        return found

    def _new_use(self, call: ToolUse) -> Use:
        name, arguments, writes = call
        leaves = self._leaves.get(id(arguments))
        if leaves is None:
            # Equal values need not be equal as JSON: 1, 1.0 and true.
            text = repr(arguments)
            leaves = self._same_leaves.get(text)
            if leaves is None:
                leaves = self._same_leaves[text] = Leaves(arguments, self._argument_chars)
            self._leaves[id(arguments)] = leaves
        # One of which nobody knows whether it writes may do so.
        found = self._uses[id(call)] = name, leaves, writes is not False
        return found

    def _new_traffic(self, requests: tuple[Request, ...]) -> Traffic:
        known = self._sent
        sent = [known.get(request) or self._new_sent(request) for request in requests]
        hosts = frozenset([host for host, _ in sent])
        writes = tuple([what for _, what in sent if what is not None])
        found = self._same_traffic.get((hosts, writes))
        if found is None:
            found = self._same_traffic[hosts, writes] = Traffic(hosts, writes)
        self._traffic[id(requests)] = found
        return found

    def _new_sent(self, request: Request) -> tuple[str, str | None]:
        what = write_of(request.method, request.host, request.path) if request.writes else None
        found = self._sent[request] = request.host, what
        return found


def write_of(method: str, host: str, path: str) -> str:
    return f"{method.upper()} {host}{normal.path(path)}"


def _as_json(value: Any, chars: int | None) -> str:
    if type(value) is str:
        return _text(value, chars)
    return str(value) if type(value) is int else _encode(value)


@lru_cache(maxsize=1_024)
def _text(value: str, chars: int | None) -> str:
    return _encode(normal.text(value if chars is None else shorten.argument(value, chars)))


_encode = json.JSONEncoder(ensure_ascii=False, default=str).encode
