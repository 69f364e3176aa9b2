"""What the weather of a case would hit of a trial that was recorded without it. Nothing is sent anywhere.

The recorded requests come again in their order, at their times; faults that learn from answers learn from the recorded
ones. What the agent would have done otherwise after a hit is not known: the requests stay as they were.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from aegis.faults.base import Seen, TrialKey
from aegis.faults.plan.weather import MAX_BODY_BYTES, Weather, is_address
from aegis.gateway.base import Forward, Framing, RawHeaders, ReadBody, Request, ResponsePlan, Shut
from aegis.gateway.deliver import Whole
from aegis.gateway.failures import Failure
from aegis.gateway.heads import without
from aegis.suite.model import FaultRule
from aegis.trace import Body, Exchange
from aegis.trace.exchange import Headers
from aegis.trace.faults import FaultReport

Content = Callable[[Body], bytes]
"""A recorded body's bytes, as far as they were kept."""

_NEVER_ASKED = ("malformed-request:", "secret-refused:")
"""Errors of requests that the gateway refuses before any fault is asked."""


@dataclass(frozen=True, slots=True)
class Foreseen:
    """One recorded exchange and the rules that would hit it, in the order in which they take it."""

    exchange: Exchange
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Preview:
    exchanges: tuple[Foreseen, ...]
    reports: tuple[FaultReport, ...]
    """Of every rule, also of those that would hit nothing."""


async def preview(
    rules: Sequence[FaultRule],
    key: TrialKey,
    exchanges: Iterable[Exchange],
    *,
    secrets: Collection[str] = (),
    content: Content,
) -> Preview:
    """`secrets` are the names of the suite's: the record has marks in place of their values."""
    trial = _Trial(rules, key, secrets, content)
    found = [Foreseen(item, await trial.meets(item)) for item in sorted(exchanges, key=lambda item: item.id)]
    return Preview(tuple(found), trial.weather.reports())


class _Trial:
    def __init__(
        self, rules: Sequence[FaultRule], key: TrialKey, secrets: Collection[str], content: Content
    ) -> None:
        marks = {name: f"[secret:{name}]" for name in secrets}
        self.weather = Weather(rules, key, placeholders=marks)
        self.weather.use_clock(lambda: self._at_s)
        self.weather.start()
        self._at_s = 0.0
        self._content = content
        self._up: set[tuple[int, str, int]] = set()
        self._used: set[int] = set()

    async def meets(self, exchange: Exchange) -> tuple[str, ...]:
        """The rules that hit it."""
        if exchange.kind == "denied" or (exchange.error or "").startswith(_NEVER_ASKED):
            return ()
        self._at_s = exchange.started_s
        if (shut := self._come_about(exchange)) is not None:
            return tuple(shut.notes.faults)
        if exchange.kind in ("tcp", "tls-passthrough"):
            # Without an upstream it got no further than the connection.
            return self.weather.decide_tunnel(exchange.host, exchange.port) if exchange.upstream else ()
        if exchange.method in ("", "CONNECT"):
            return ()
        seen = self._seen(exchange)
        self._used.add(exchange.connection)
        return await self.weather.decide(seen, self._recorded(exchange))

    def _come_about(self, exchange: Exchange) -> Shut | None:
        """What keeps the exchange's connection from coming about; None also when it has come about before. As in a
        machine without a proxy: each new connection looks its host up."""
        host, port = exchange.host, exchange.port
        place = (exchange.connection, host, port)
        if exchange.kind == "mcp-stdio" or place in self._up:
            return None
        weather, shut = self.weather, None
        if not is_address(host):
            shut = weather.resolving(host)
        if shut is None and exchange.scheme != "dns":
            shut = weather.connecting(host, port, proxied=False)
        if shut is None and exchange.scheme in ("https", "wss", "tls"):
            shut = weather.handshaking(host, port, opened=exchange.kind != "tls-passthrough")
        if shut is None and exchange.connection:
            self._up.add(place)
        return shut

    def _seen(self, exchange: Exchange) -> Seen:
        body = self._whole(exchange.request_body)
        request = Request(
            method=exchange.method,
            scheme=exchange.scheme,
            host=exchange.host,
            port=exchange.port,
            target=exchange.path,
            headers=_raw(exchange.request_headers),
            body=ReadBody(body or b""),
            reused=exchange.connection in self._used,
            layer="mcp" if exchange.kind == "mcp-stdio" else "http",
        )
        return Seen(request, body, _parsed(body), exchange.started_s)

    def _whole(self, body: Body | None) -> bytes | None:
        """None for one that a fault could not look at either, or that is not known to its end."""
        if body is None:
            return b""
        content = self._content(body)
        return None if body.truncated or len(content) > MAX_BODY_BYTES else content

    def _recorded(self, exchange: Exchange) -> Forward:
        async def forward(request: Request) -> ResponsePlan:
            if exchange.status is None:
                raise Failure("unanswered", "no answer was recorded")
            body = b"" if exchange.response_body is None else self._content(exchange.response_body)
            headers = without(_raw(exchange.response_headers), b"content-encoding", b"content-length")
            if request.method == "HEAD" or exchange.status in (101, 204, 304):
                return ResponsePlan(exchange.status, exchange.reason, headers, Framing.NONE, Whole(b""))
            headers = (*headers, (b"Content-Length", b"%d" % len(body)))
            return ResponsePlan(exchange.status, exchange.reason, headers, Framing.LENGTH, Whole(body))

        return forward


def _raw(headers: Headers) -> RawHeaders:
    return tuple(
        (name.encode("latin-1", "replace"), text.encode("latin-1", "replace")) for name, text in headers
    )


def _parsed(body: bytes | None) -> Any:
    try:
        return json.loads(body) if body else None
    except (ValueError, RecursionError):
        return None
