"""Scorer `request`: what the agent sent to the outside world, as the gateway saw it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aegis.errors import InfrastructureError
from aegis.scoring import configs, counts, request_pattern
from aegis.scoring.base import Score, ScoreContext
from aegis.scoring.configs import Problem, refuse
from aegis.scoring.request_pattern import FetchBlob, UnknownBodyError
from aegis.scoring.words import failed, passed
from aegis.suite.units import describe as kind_of
from aegis.trace import Exchange

_SHOWN = 3


class RequestScorer:
    """`count` requests that match a pattern (by default at least one), or a `sequence` of patterns that match requests
    in this order, with any others between them. Requests are ordered by when they were sent."""

    name = "request"

    def check(self, config: Any) -> None:
        refuse(_problems(config))

    def files(self, config: Any) -> tuple[str, ...]:
        return ()

    async def score(self, config: Any, context: ScoreContext) -> Score:
        trace = context.trace
        if not trace.recorded:
            raise InfrastructureError("no gateway recorded this trial: its requests are not known")
        judge = _in_order if "sequence" in config else _counted
        return await asyncio.to_thread(judge, config, trace.exchanges, context.body)


@dataclass(frozen=True, slots=True)
class _Found:
    sure: tuple[Exchange, ...]
    doubtful: int
    """How many more might match: of their bodies only the beginning was recorded."""


def _find(pattern: Mapping[str, Any], exchanges: Sequence[Exchange], body: FetchBlob) -> _Found:
    sure, doubtful = [], 0
    for exchange in exchanges:
        try:
            if request_pattern.matches(pattern, exchange, body):
                sure.append(exchange)
        except UnknownBodyError:
            doubtful += 1
    return _Found(tuple(sure), doubtful)


def _counted(config: Mapping[str, Any], exchanges: Sequence[Exchange], body: FetchBlob) -> Score:
    found = _find(config, exchanges, body)
    number, words = len(found.sure), request_pattern.describe(config)

    def right(number: int) -> bool:
        return counts.right(number, config.get("count"))

    if any(right(number + more) is not right(number) for more in range(1, found.doubtful + 1)):
        raise InfrastructureError(
            f"{found.doubtful} requests that may match ({words}) had bodies longer than is recorded",
            fix="Match on something other than the body, or on its beginning.",
        )
    seen = ", ".join(map(request_pattern.told, found.sure[:_SHOWN])) + (" …" if number > _SHOWN else "")
    if right(number):
        return passed(
            "request", f"{counts.several(number, 'request')}: {words}" + (f" ({seen})" if seen else "")
        )
    near = "" if number else _nearest(config, exchanges)
    wanted = counts.wanted(config.get("count"), "request")
    return failed("request", f"expected {wanted}: {words}, found {number}{f': {seen}' if seen else near}")


def _nearest(config: Mapping[str, Any], exchanges: Sequence[Exchange]) -> str:
    """What was sent to the same host instead: mostly a slip in the path or the method."""
    alike = {key: config[key] for key in ("host", "denied") if key in config}
    others = [
        item
        for item in exchanges
        if "host" in alike and request_pattern.matches(alike, item, lambda digest: b"")
    ]
    if others:
        more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
        return f"; sent to this host: {', '.join(map(request_pattern.told, others[:_SHOWN]))}{more}"
    refused = {f"{item.host}:{item.port}" for item in exchanges if item.kind == "denied"}
    hint = f" (refused by network.allow: {', '.join(sorted(refused)[:_SHOWN])})" if refused else ""
    return f"; nothing was sent to this host{hint}" if "host" in alike else ""


def _in_order(config: Mapping[str, Any], exchanges: Sequence[Exchange], body: FetchBlob) -> Score:
    patterns = config["sequence"]
    position, seen = 0, []
    for number, pattern in enumerate(patterns, 1):
        words = request_pattern.describe(pattern)
        for place in range(position, len(exchanges)):
            try:
                hit = request_pattern.matches(pattern, exchanges[place], body)
            except UnknownBodyError:
                raise InfrastructureError(
                    f"request {exchanges[place].id} may match ({words}), but its body is longer than is recorded",
                    fix="Match on something other than the body, or on its beginning.",
                ) from None
            if hit:
                position = place + 1
                seen.append(request_pattern.told(exchanges[place]))
                break
        else:
            after = f" after {seen[-1]}" if seen else ""
            near = "" if seen else _nearest(pattern, exchanges)
            return failed(
                "request", f"expected request {number} of the sequence, {words}{after}, found none{near}"
            )
    return passed(
        "request",
        f"{len(patterns)} requests in order: {', '.join(seen[:_SHOWN])}{' …' * (len(seen) > _SHOWN)}",
    )


def _problems(config: Any) -> Iterator[Problem]:
    yield from configs.keys(config, (*request_pattern.KEYS, "count", "sequence"))
    if not isinstance(config, Mapping):
        return
    if "sequence" not in config:
        yield from request_pattern.problems(config)
        yield from counts.problems(config)
        return
    for key in config:
        if key != "sequence":
            yield (key,), f"{key!r} stands beside a sequence: move it into one of its patterns"
    sequence = config["sequence"]
    if not isinstance(sequence, list | tuple) or len(sequence) < 2:
        yield ("sequence",), f"expected a list of two or more patterns, got {kind_of(sequence)}"
        return
    for index, pattern in enumerate(sequence):
        inner = list(configs.keys(pattern, request_pattern.KEYS))
        if isinstance(pattern, Mapping):
            inner += request_pattern.problems(pattern)
        yield from (((("sequence", index, *path)), message) for path, message in inner)


scorer = RequestScorer()
