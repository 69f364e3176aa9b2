"""What of a trial is compared, worked out once for everything that is the same.

Trials share what they did: those of one snapshot as the very same objects, those of different ones as equal values. A
view is made once for each object, and views of equal content are one object, so that "all did the same" is seen
without looking at what they did.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from aegis.regression.drift import normal, shorten
from aegis.regression.drift.behaviour import Behaviour, Request, ToolUse

_View = TypeVar("_View")
Leaves = tuple[tuple[str, str], ...]
"""(JSON path, value as JSON) of everything in a tool's arguments, in order."""


@dataclass(frozen=True, slots=True, eq=False)
class Calls:
    names: tuple[str, ...]
    leaves: tuple[Leaves, ...]
    """Of each call."""
    writing: frozenset[str]
    """Tools that write, or of which nobody knows whether they do."""

    def values(self) -> dict[str, dict[str, list[str]]]:
        """Tool → path → values, in the order of the calls."""
        found: dict[str, dict[str, list[str]]] = {}
        for name, leaves in zip(self.names, self.leaves, strict=True):
            paths = found.setdefault(name, {})
            for path, value in leaves:
                paths.setdefault(path, []).append(value)
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Traffic:
    hosts: frozenset[str]
    writes: tuple[str, ...]


class Views:
    """Of the trials of one comparison, which must live as long as this does. Texts are cut to `chars` characters."""

    def __init__(self, chars: int | None = None) -> None:
        self._chars = chars
        self._argument_chars = None if chars is None else shorten.argument_chars(chars)
        self._calls: dict[int, Calls] = {}
        self._uses: dict[int, tuple[str, Leaves, bool]] = {}
        self._leaves: dict[int, Leaves] = {}
        self._traffic: dict[int, Traffic] = {}
        self._writes: dict[int, str | None] = {}
        self._texts: dict[str, str] = {}
        self._same: dict[Hashable, Any] = {}

    def calls(self, trial: Behaviour) -> Calls:
        found = self._calls.get(id(trial.tools))
        if found is None:
            found = self._calls[id(trial.tools)] = self._new_calls(trial.tools)
        return found

    def traffic(self, trial: Behaviour) -> Traffic:
        found = self._traffic.get(id(trial.requests))
        if found is None:
            found = self._traffic[id(trial.requests)] = self._new_traffic(trial.requests)
        return found

    def words(self, trial: Behaviour) -> tuple[str, ...]:
        if self._chars is None:
            return normal.words(trial.answer)
        return normal.words(shorten.answer(trial.answer, self._chars))

    def _new_calls(self, tools: tuple[ToolUse, ...]) -> Calls:
        uses = tuple([self._use(call) for call in tools])
        known = self._same.get(uses)
        if known is None:
            known = self._same[uses] = Calls(
                tuple([name for name, _, _ in uses]),
                tuple([leaves for _, leaves, _ in uses]),
                frozenset([name for name, _, writing in uses if writing]),
            )
        found: Calls = known
        return found

    def _use(self, call: ToolUse) -> tuple[str, Leaves, bool]:
        found = self._uses.get(id(call))
        if found is None:
            # One of which nobody knows whether it writes may do so.
            found = call.name, self._leaves_of(call.arguments), call.writes is not False
            self._uses[id(call)] = found
        return found

    def _leaves_of(self, arguments: Any) -> Leaves:
        # No arguments at all are no value of the whole.
        if not arguments:
            return ()
        found = self._leaves.get(id(arguments)) if isinstance(arguments, dict | list) else None
        if found is None:
            kept = (
                arguments if self._argument_chars is None else shorten.recut(arguments, self._argument_chars)
            )
            leaves = tuple([(path, self._text(value)) for path, value in normal.leaves(kept)])
            found = self._same.setdefault(leaves, leaves)
            if isinstance(arguments, dict | list):
                self._leaves[id(arguments)] = found
        return found

    def _text(self, value: Any) -> str:
        if not isinstance(value, str):
            return json.dumps(value, ensure_ascii=False, default=str)
        found = self._texts.get(value)
        if found is None:
            found = self._texts[value] = json.dumps(normal.text(value), ensure_ascii=False)
        return found

    def _new_traffic(self, requests: tuple[Request, ...]) -> Traffic:
        hosts = frozenset([request.host for request in requests])
        writes = tuple([what for request in requests if (what := self._write(request)) is not None])
        found: Traffic | None = self._same.get((hosts, writes))
        if found is None:
            found = self._same[hosts, writes] = Traffic(hosts, writes)
        return found

    def _write(self, request: Request) -> str | None:
        found = self._writes.get(id(request), "")
        if found == "":
            found = write_of(request.method, request.host, request.path) if request.writes else None
            self._writes[id(request)] = found
        return found


def write_of(method: str, host: str, path: str) -> str:
    return f"{method.upper()} {host}{normal.path(path)}"


def alike(views: Sequence[object]) -> bool:
    """Whether all of them are one object."""
    first = views[0]
    return all([view is first for view in views])
