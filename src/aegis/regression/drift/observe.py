"""What one trial did, taken from its trace while that is at hand: nobody has to read traces back to compare two runs.

Everything is bounded: 1,000 tool calls and as many requests, texts of 4,000 characters (`shorten`), so that an agent
that never stops fills no ledger.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Protocol

from aegis.regression.drift import shorten
from aegis.regression.drift.behaviour import WRITE_METHODS, Behaviour, Request, ToolUse
from aegis.regression.drift.views import write_of
from aegis.trace import Exchange, ToolCall, Trace
from aegis.trace.mcp_http import is_mcp
from aegis.trace.modelrequests import asks_a_model

MAX_CALLS = 1_000
"""Tool calls that are kept; how many more there were is told in the place of the next one."""
MAX_REQUESTS = 1_000
"""Requests that are kept in order; of those behind them, up to as many that go or write where none of the kept did."""

_READ_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_TESTED = "resilience"
"""The scorer whose parts are rules."""


class PartLike(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def passed(self) -> bool | None: ...


class ScoreLike(Protocol):
    """As `aegis.scoring.base.Score`, of which this room knows nothing."""

    @property
    def scorer(self) -> str: ...
    @property
    def parts(self) -> Sequence[PartLike]: ...


def observe(trace: Trace, scores: Iterable[ScoreLike]) -> Behaviour:
    """The behaviour of one judged trial. Pure, and bounded whatever the agent did."""
    usage = trace.usage
    tokens = None
    if usage is not None and usage.input_tokens is not None and usage.output_tokens is not None:
        tokens = usage.input_tokens + usage.output_tokens
    said = [turn.answer for turn in trace.turns if turn.answer]
    return Behaviour(
        tools=_tools(trace),
        requests=_requests(trace),
        answer=shorten.answer("\n\n".join(said), shorten.LONGEST),
        tokens=tokens,
        cost_usd=None if usage is None else usage.usd,
        latency_s=trace.own_s,
        rules={
            part.name: part.passed
            for score in scores
            if score.scorer == _TESTED
            for part in score.parts
            if part.passed is not None
        },
    )


def to_json(behaviour: Behaviour) -> dict[str, Any]:
    """As the ledger's row holds it; what is empty or not known is left out."""
    document: dict[str, Any] = {
        "tools": [[call.name, call.arguments, call.writes] for call in behaviour.tools],
        "requests": [[item.host, item.method, item.path, item.to_model] for item in behaviour.requests],
        "answer": behaviour.answer,
        "tokens": behaviour.tokens,
        "cost_usd": behaviour.cost_usd,
        "latency_s": behaviour.latency_s,
        "rules": dict(behaviour.rules),
    }
    return {name: value for name, value in document.items() if value not in (None, [], "", {})}


def from_json(data: Mapping[str, Any]) -> Behaviour:
    """The inverse of `to_json`."""
    return Behaviour(
        tools=tuple(ToolUse(*call) for call in data.get("tools", ())),
        requests=tuple(Request(*item) for item in data.get("requests", ())),
        answer=data.get("answer", ""),
        tokens=data.get("tokens"),
        cost_usd=data.get("cost_usd"),
        latency_s=data.get("latency_s"),
        rules=data.get("rules", {}),
    )


def _tools(trace: Trace) -> tuple[ToolUse, ...]:
    exchanges = {item.id: item for item in trace.exchanges}
    kept = [
        ToolUse(
            shorten.argument(call.name, shorten.LONGEST),
            shorten.arguments(call.arguments, shorten.LONGEST),
            _writes(call, exchanges),
        )
        for call in trace.tool_calls[:MAX_CALLS]
    ]
    if more := len(trace.tool_calls) - len(kept):
        kept.append(ToolUse(f"… {more} more", writes=False))
    return tuple(kept)


def _writes(call: ToolCall, exchanges: Mapping[int, Exchange]) -> bool | None:
    """Known only by what was seen on the wire: connections that weren't read, and a JSON-RPC POST, which says nothing
    of what the tool behind it does, leave it open."""
    own = [exchanges[number] for number in call.exchanges if number in exchanges]
    if "mcp" in call.seen:
        asked = [item for item in own if is_mcp(item, lambda digest: b"")]
        if any(_wrote(item) for item in own if item not in asked):
            return True
        return None
    if any(map(_wrote, own)):
        return True
    return False if own and all(item.method.upper() in _READ_METHODS for item in own) else None


def _wrote(exchange: Exchange) -> bool:
    return exchange.method.upper() in WRITE_METHODS


def _requests(trace: Trace) -> tuple[Request, ...]:
    models = {call.exchange for call in trace.model_calls}
    hosts = {call.host for call in trace.model_calls}
    seen = (
        Request(
            shorten.argument(item.host, shorten.LONGEST),
            item.method[:32],
            shorten.argument(item.path.split("?", 1)[0], shorten.LONGEST),
            item.id in models
            # What was refused or broke off is a model's all the same, and so is what only counts or embeds.
            or (item.host in hosts and asks_a_model(item.method, item.path.split("?", 1)[0])),
        )
        for item in trace.exchanges
        if item.kind != "mcp-stdio"
    )
    kept = list(islice(seen, MAX_REQUESTS))
    known = {what for item in kept for what in _what(item)}
    for item in seen:
        if len(kept) >= 2 * MAX_REQUESTS:
            break
        if not known.issuperset(what := _what(item)):
            known.update(what)
            kept.append(item)
    return tuple(kept)


def _what(request: Request) -> tuple[str, ...]:
    if not request.writes:
        return (request.host,)
    return (request.host, write_of(request.method, request.host, request.path))


def finite(value: float | None) -> float | None:
    """An amount that can be kept."""
    return value if value is not None and math.isfinite(value) and value >= 0 else None
