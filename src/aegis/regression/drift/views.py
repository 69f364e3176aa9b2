"""What of a trial is compared, worked out once for everything that is the same.

Trials share what they did: those of one snapshot as the very same objects, those of different ones as equal values. A
view is made once for each object, and views of equal content are one object, so that "all did the same" is seen
without looking at what they did.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from typing import Any

from aegis.regression.drift import normal, shorten
from aegis.regression.drift.behaviour import Behaviour, Request, ToolUse


class Leaves:
    """Of a tool's arguments: (JSON path, value as JSON) of everything in them, in order."""

    __slots__ = ("items",)

    def __init__(self, items: tuple[tuple[str, str], ...]) -> None:
        self.items = items


class Use:
    """A tool call."""

    __slots__ = ("leaves", "may_write", "name")

    def __init__(self, name: str, leaves: Leaves, *, may_write: bool) -> None:
        self.name = name
        self.leaves = leaves
        self.may_write = may_write


class Calls:
    """All of a trial."""

    __slots__ = ("arguments", "may_write", "names")

    def __init__(self, uses: tuple[Use, ...]) -> None:
        self.names = tuple([use.name for use in uses])
        self.may_write = frozenset([use.name for use in uses if use.may_write])
        self.arguments: dict[str, tuple[Leaves, ...]] = {}
        """By tool, in the order of the calls."""
        for use in uses:
            self.arguments[use.name] = (*self.arguments.get(use.name, ()), use.leaves)


class Traffic:
    __slots__ = ("hosts", "writes")

    def __init__(self, hosts: frozenset[str], writes: tuple[str, ...]) -> None:
        self.hosts = hosts
        self.writes = writes


class Views:
    """Of the trials of one comparison, which must live as long as this does. Texts are cut to `chars` characters."""

    def __init__(self, chars: int | None = None) -> None:
        self._chars = chars
        self._argument_chars = None if chars is None else shorten.argument_chars(chars)
        self._calls: dict[int, Calls] = {}
        self._uses: dict[int, Use] = {}
        self._leaves: dict[int, Leaves] = {}
        self._traffic: dict[int, Traffic] = {}
        self._sent: dict[int, tuple[str, str | None]] = {}
        self._paths: dict[str, str] = {}
        self._texts: dict[str, str] = {}
        self._same: dict[Hashable, Any] = {}

    def calls(self, trials: Sequence[Behaviour]) -> list[Calls]:
        known = self._calls
        found = []
        for trial in trials:
            view = known.get(id(trial.tools))
            if view is None:
                view = known[id(trial.tools)] = self._new_calls(trial.tools)
            found.append(view)
        return found

    def traffic(self, trials: Sequence[Behaviour]) -> list[Traffic]:
        known = self._traffic
        found = []
        for trial in trials:
            view = known.get(id(trial.requests))
            if view is None:
                view = known[id(trial.requests)] = self._new_traffic(trial.requests)
            found.append(view)
        return found

    def answers(self, trials: Sequence[Behaviour]) -> list[tuple[int, ...]]:
        """Their words as numbers (`normal.word`)."""
        chars = normal.MAX_CHARS if self._chars is None else self._chars
        return [normal.numbered(shorten.answer(trial.answer, chars)) for trial in trials]

    def _new_calls(self, tools: tuple[ToolUse, ...]) -> Calls:
        known = self._uses
        uses = tuple([known.get(id(call)) or self._new_use(call) for call in tools])
        found: Calls | None = self._same.get(uses)
        if found is None:
            found = self._same[uses] = Calls(uses)
        return found

    def _new_use(self, call: ToolUse) -> Use:
        leaves = self._leaves_of(call.arguments)
        # One of which nobody knows whether it writes may do so.
        key = call.name, leaves, call.writes is not False
        found: Use | None = self._same.get(key)
        if found is None:
            found = self._same[key] = Use(call.name, leaves, may_write=key[2])
        self._uses[id(call)] = found
        return found

    def _leaves_of(self, arguments: Any) -> Leaves:
        # No arguments at all are no value of the whole.
        if not arguments:
            return _NO_LEAVES
        found = self._leaves.get(id(arguments))
        if found is None:
            items = self._items(arguments)
            found = self._same.get(items)
            if found is None:
                found = self._same[items] = Leaves(items)
            self._leaves[id(arguments)] = found
        return found

    def _items(self, arguments: Any) -> tuple[tuple[str, str], ...]:
        if type(arguments) is dict:
            types = set(map(type, arguments.values()))
            if dict not in types and list not in types and tuple not in types:
                return tuple([(self._path(name), self._text(item)) for name, item in arguments.items()])
        return tuple([(path, self._text(value)) for path, value in normal.leaves(arguments)])

    def _path(self, name: str) -> str:
        """Of a member of the whole."""
        found = self._paths.get(name)
        if found is None:
            found = self._paths[name] = normal.member("$", name)
        return found

    def _text(self, value: Any) -> str:
        if type(value) is not str:
            return json.dumps(value, ensure_ascii=False, default=str)
        found = self._texts.get(value)
        if found is None:
            kept = value if self._argument_chars is None else shorten.argument(value, self._argument_chars)
            found = self._texts[value] = json.dumps(normal.text(kept), ensure_ascii=False)
        return found

    def _new_traffic(self, requests: tuple[Request, ...]) -> Traffic:
        known = self._sent
        sent = [known.get(id(request)) or self._new_sent(request) for request in requests]
        hosts = frozenset([host for host, _ in sent])
        writes = tuple([what for _, what in sent if what is not None])
        found: Traffic | None = self._same.get((hosts, writes))
        if found is None:
            found = self._same[hosts, writes] = Traffic(hosts, writes)
        return found

    def _new_sent(self, request: Request) -> tuple[str, str | None]:
        what = write_of(request.method, request.host, request.path) if request.writes else None
        found = self._sent[id(request)] = request.host, what
        return found


_NO_LEAVES = Leaves(())


def write_of(method: str, host: str, path: str) -> str:
    return f"{method.upper()} {host}{normal.path(path)}"
