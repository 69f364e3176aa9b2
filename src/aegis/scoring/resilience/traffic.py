"""All that a trial sent, in the order in which it was sent, with what is retried being one logical request."""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from aegis.scoring.resilience.attempt import Attempt
from aegis.scoring.resilience.failures import failed
from aegis.trace import Exchange, ModelCall, Trace, lenient
from aegis.trace.faults import FaultReport
from aegis.trace.message import FetchBlob

SLACK_S = 0.05
"""The gateway notes the end of a response a moment after the client has it: the same request counts as sent again when
it comes at most this long before that, and in the second half of the first one's time."""

_NUMBERED = re.compile(r"-\d+$")

Route = tuple[str, int, str, str]

Chain = tuple[Attempt, ...]
"""One logical request: an attempt, and those that were sent because the one before had failed."""


@dataclass(frozen=True)
class Traffic:
    attempts: tuple[Attempt, ...]
    """HTTP requests and MCP messages, by when they were sent."""
    connections: tuple[Attempt, ...]
    """Connections that failed before they carried a request."""
    trace: Trace
    faults: Mapping[str, FaultReport]

    @cached_property
    def chains(self) -> tuple[Chain, ...]:
        """What is sent again after a success (a poll, a second look) is a new logical request, and so is what was
        sent while its like was still under way."""
        open_chains: dict[str, list[list[Attempt]]] = {}
        all_chains: list[list[Attempt]] = []
        for attempt in self.attempts:
            known = open_chains.setdefault(attempt.key, [])
            mine = [chain for chain in known if follows(attempt, chain[-1])]
            if mine:
                chain = max(mine, key=lambda chain: chain[-1].ended_s)
                chain.append(attempt)
            else:
                chain = [attempt]
                known.append(chain)
                all_chains.append(chain)
            if not failed(attempt):
                known.remove(chain)
        return tuple(map(tuple, all_chains))

    @cached_property
    def model_calls(self) -> Mapping[int, ModelCall]:
        """By the id of their exchange."""
        return {call.exchange: call for call in self.trace.model_calls}

    def is_model_call(self, attempt: Attempt) -> bool:
        return attempt.asks_model or attempt.id in self.model_calls

    def after(self, attempt: Attempt) -> Iterator[Attempt]:
        """Those that were sent when the end of this one was known."""
        start = bisect_left(self.attempts, attempt.ended_s - SLACK_S, key=lambda item: item.started_s)
        later = (self.attempts[index] for index in range(start, len(self.attempts)))
        return (item for item in later if item is not attempt and follows(item, attempt))

    @cached_property
    def by_key(self) -> Mapping[str, tuple[Attempt, ...]]:
        """Logical request → its attempts and polls, by when they were sent."""
        found: dict[str, list[Attempt]] = {}
        for attempt in self.attempts:
            found.setdefault(attempt.key, []).append(attempt)
        return {key: tuple(same) for key, same in found.items()}

    @cached_property
    def by_route(self) -> Mapping[Route, tuple[Attempt, ...]]:
        """Host, port, method and path without its query → who was sent there."""
        found: dict[Route, list[Attempt]] = {}
        for attempt in self.attempts:
            found.setdefault(attempt.route, []).append(attempt)
        return {route: tuple(same) for route, same in found.items()}

    def same_after(self, attempt: Attempt) -> Iterator[Attempt]:
        """Those of `after` that ask for the same."""
        same = self.by_key[attempt.key]
        start = bisect_left(same, attempt.ended_s - SLACK_S, key=lambda item: item.started_s)
        later = (same[index] for index in range(start, len(same)))
        return (item for item in later if item is not attempt and follows(item, attempt))

    def between(self, first: Attempt, last: Attempt) -> Iterator[Attempt]:
        """Those that were sent after the end of `first` and had ended when `last` was sent."""
        for item in self.after(first):
            if item.started_s > last.started_s:
                return
            if item is not last and item.ended_s <= last.started_s + SLACK_S:
                yield item

    @cached_property
    def tool_hints(self) -> Mapping[tuple[str, int, str], Mapping[str, Any]]:
        """Host, port and tool → what the MCP server's own list says about it (tool annotations)."""
        found: dict[tuple[str, int, str], Mapping[str, Any]] = {}
        for item in self.attempts:
            if item.message.request_map.get("method") == "tools/list":
                for tool in _listed_tools(item):
                    name, hints = lenient.string(tool.get("name")), lenient.mapping(tool.get("annotations"))
                    found[(*item.place, name)] = hints
        return found

    def turn_end_s(self, at_s: float) -> float:
        """When the turn that was under way was answered."""
        return next((end for _, end in self.trace.turn_times_s if end >= at_s), math.inf)

    def answers_since(self, at_s: float) -> str:
        """What the agent answered to the turn that was under way, and to later ones."""
        times = self.trace.turn_times_s
        told = [turn.answer for turn, (_, end) in zip(self.trace.turns, times, strict=True) if end >= at_s]
        return "\n".join(told) if told else self.trace.answer


def follows(later: Attempt, earlier: Attempt) -> bool:
    """Whether `later` was sent when the end of `earlier` was known to the client."""
    if later.started_s >= earlier.ended_s:
        return True
    slack_s = min(SLACK_S, (earlier.ended_s - earlier.started_s) / 2)
    late = later.id > earlier.id and later.started_s > earlier.ended_s - slack_s
    return late and later.key == earlier.key


def traffic_of(trace: Trace, fetch_blob: FetchBlob) -> Traffic:
    faults = {report.id: report for report in trace.faults}

    def attempt(exchange: Exchange) -> Attempt:
        hit = [faults[name] for name in exchange.faults if name in faults]
        # A report may be missing in what another version recorded; the id says the kind all the same.
        kinds = {report.kind for report in hit} | {
            _NUMBERED.sub("", name) for name in exchange.faults if name not in faults
        }
        return Attempt(
            exchange, fetch_blob, kinds=frozenset(kinds), permanent=any(report.permanent for report in hit)
        )

    ordered = sorted(trace.exchanges, key=lambda item: (item.started_s, item.id))
    return Traffic(
        tuple(attempt(item) for item in ordered if _is_request(item)),
        tuple(attempt(item) for item in ordered if _is_failed_connection(item)),
        trace,
        faults,
    )


def _listed_tools(attempt: Attempt) -> list[dict[str, Any]]:
    message = attempt.message
    bodies = (
        [lenient.parse(event.data) for event in message.events]
        if message.is_event_stream
        else [message.response]
    )
    results = [lenient.mapping(lenient.mapping(body).get("result")) for body in bodies]
    return [tool for result in results for tool in lenient.mappings(result.get("tools"))]


def _is_request(exchange: Exchange) -> bool:
    if exchange.kind == "mcp-stdio":
        return True
    return exchange.kind == "http" and exchange.method not in ("", "CONNECT")


def _is_failed_connection(exchange: Exchange) -> bool:
    if exchange.kind == "denied" or _is_request(exchange):
        return False
    return (exchange.error or "").startswith(("injected:", "upstream-"))
