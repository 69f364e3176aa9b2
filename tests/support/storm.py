"""A gateway whose session meets the weather of given rules, and an upstream behind the name `api.example`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aegis.faults.base import TrialKey
from aegis.faults.plan.weather import Weather
from aegis.gateway import Origin
from aegis.suite.model import FaultMatch, FaultRule
from aegis.trace import Exchange
from aegis.trace.faults import FaultReport
from support.gateway_server import GatewayServer, World
from support.http_upstream import HttpUpstream, echo

HOST = "api.example"
KEY = TrialKey("storms", "case", "baseline", 1)

_FIELDS = FaultRule.model_fields.keys() - {"params"}


def rule(inject: str, *, match: Mapping[str, Any] | None = None, **given: Any) -> FaultRule:
    """A rule; what is no field of `FaultRule` is a parameter of the fault, written as in a file."""
    fields = {name: given.pop(name) for name in list(given) if name in _FIELDS}
    fields.setdefault("id", inject)
    return FaultRule(inject=inject, match=FaultMatch(**(match or {})), params=given, **fields)


@dataclass
class Storm:
    """`port` takes what a client inside a machine would send to `http://api.example`; `tls_port` the same to https;
    `proxy` is the URL of the proxy port."""

    server: GatewayServer
    upstream: HttpUpstream
    weather: Weather

    @property
    def port(self) -> int:
        return self.server.listen(Origin.direct(HOST, "198.18.1.0", 80))

    @property
    def tls_port(self) -> int:
        return self.server.listen(Origin.direct(HOST, "198.18.1.0", 443))

    @property
    def proxy(self) -> str:
        return self.server.proxy()

    def report(self, id: str) -> FaultReport:
        return next(report for report in self.weather.reports() if report.id == id)

    def exchanges(self, count: int) -> list[Exchange]:
        """The first exchanges, once this many have ended."""
        return self.server.wait_for(count)


def storm(
    net: World,
    rules: Sequence[FaultRule],
    upstream: HttpUpstream | None = None,
    *,
    key: TrialKey = KEY,
    **config: Any,
) -> Storm:
    """`upstream` answers for api.example on both ports (plain HTTP behind the gateway); an echo by default.
    `config` goes to the gateway."""
    upstream = upstream or HttpUpstream(echo)
    clock: list[Any] = []
    weather = Weather(rules, key, now=lambda: clock[0]() if clock else 0.0)
    port = net.upstream(upstream)
    server = net.gateway(
        routes={HOST: f"http://127.0.0.1:{port}"}, **config, session={"interceptor": weather}
    )
    clock.append(server.session.now)
    server.session.start_clock()
    weather.start()
    return Storm(server, upstream, weather)
