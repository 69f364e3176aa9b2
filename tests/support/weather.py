"""Weather without a gateway: what would be asked of it, as values."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from aegis.faults.base import Seen, TrialKey
from aegis.faults.plan.weather import Weather
from aegis.gateway.base import Framing, Request, ResponsePlan
from aegis.gateway.deliver import Whole
from aegis.suite.model import FaultRule

HOST = "api.example"
KEY = TrialKey("storms", "case", "baseline", 1)


class Sent:
    """A request's body that is there already. Fulfils `RequestBody`."""

    def __init__(self, content: bytes = b"") -> None:
        self.length: int | None = len(content)
        self._content = content

    async def read(self) -> bytes:
        content, self._content = self._content, b""
        return content


def request(
    target: str = "/",
    method: str = "GET",
    *,
    host: str = HOST,
    port: int = 443,
    body: Any = None,
    **more: Any,
) -> Request:
    headers = tuple((name.encode(), text.encode()) for name, text in more.pop("headers", {}).items())
    content = b"" if body is None else json.dumps(body).encode()
    return Request(method, "https", host, port, target, headers, Sent(content), **more)


class Day:
    """A trial in the weather of these rules, begun unless `started` says otherwise. Time stands still until `at_s` is
    set."""

    def __init__(
        self,
        rules: Sequence[FaultRule],
        *,
        key: TrialKey = KEY,
        started: bool = True,
        placeholders: dict[str, str] | None = None,
    ) -> None:
        self.at_s = 0.0
        self.forwarded: list[Request] = []
        self.status = 200
        """Of what upstream answers."""
        self.weather = Weather(rules, key, placeholders=placeholders, now=lambda: self.at_s)
        if started:
            self.weather.start()

    def send(self, *args: Any, **more: Any) -> tuple[str, ...]:
        """A request like `request(…)`: the rules that hit it."""
        return self.exchange(request(*args, **more))[0]

    def foresee(self, *args: Any, **more: Any) -> tuple[str, ...]:
        """The rules that would hit a request like `request(…)`, without waiting for anything."""
        body = more.get("body")
        seen = Seen(request(*args, **more), json.dumps(body).encode() if body else b"", body, self.at_s)
        return asyncio.run(self.weather.decide(seen, self._upstream))

    def exchange(self, sent: Request) -> tuple[tuple[str, ...], ResponsePlan, bytes]:
        """The rules that hit a request, and the answer with its body."""

        async def run() -> tuple[ResponsePlan, bytes]:
            plan = await self.weather.intercept(sent, self._upstream)
            return plan, b"".join([piece async for piece in plan.body])

        plan, body = asyncio.run(run())
        return tuple(sent.notes.faults), plan, body

    async def _upstream(self, sent: Request) -> ResponsePlan:
        self.forwarded.append(sent)
        body = b'{"secret": "1042 euros"}'
        headers = ((b"Content-Type", b"application/json"), (b"Content-Length", b"%d" % len(body)))
        return ResponsePlan(self.status, "", headers, Framing.LENGTH, Whole(body))

    def report(self, id: str) -> Any:
        return next(report for report in self.weather.reports() if report.id == id)
