"""How unmodified clients react to each fault: attempts, the gaps between them, and what the caller got.

Each cell is a gateway session of its own with one rule, which hits every request, and one call of the client, over TLS,
to a name that leads to the gateway. Gaps are told in classes, since clients vary theirs by chance.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aegis.faults.base import TrialKey
from aegis.faults.plan.weather import Weather
from aegis.gateway import Authority, Origin
from aegis.gateway.base import Shut
from aegis.suite.model import FaultMatch, FaultRule
from aegis.trace import Exchange
from support.gateway_server import GatewayServer, World
from support.reaction_clients import TIMEOUT_S, Client
from support.reaction_upstream import TEXT, upstream

AT_ONCE = 8
"""Cells that are measured at the same time: they mostly wait."""
MOST_CALLS = 5
GAPS = ((0.25, "at once"), (1.5, "½–1 s"), (3.0, "2 s"), (6.0, "4 s"), (12.0, "8 s"))
"""Upper bounds in seconds, and what such a gap is called: wide enough for a busy host."""

MCP_SERVER = f"""
import sys
from mcp.server import MCPServer
from mcp.server.transport_security import TransportSecuritySettings

server = MCPServer("orders")

@server.tool()
def lookup_order(order: int) -> str:
    return {TEXT!r}

server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]),
           transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False))
"""


@dataclass(frozen=True)
class Row:
    """One fault with its parameters."""

    inject: str
    params: dict[str, Any] = field(default_factory=dict)
    only: Callable[[Client], bool] = lambda client: True
    rule: dict[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        told = ", ".join(f"{name}: {value}" for name, value in {**self.rule, **self.params}.items())
        return f"{self.inject}{f' ({told})' if told else ''}"


def _streams(client: Client) -> bool:
    return client.streams


def _whole(client: Client) -> bool:
    return not client.streams and not client.tool


def _json(client: Client) -> bool:
    return _whole(client) and client.json


def _pages(client: Client) -> bool:
    return client.name in ("httpx", "requests", "urllib3.Retry", "tenacity")


def _tools(client: Client) -> bool:
    return client.tool


ROWS = (
    Row("latency", {"delay": "300ms"}),
    Row("slow-body", {"chunks": 4, "duration": "400ms"}),
    Row("bandwidth", {"rate": "2KiB"}, _whole),
    Row("hang"),
    Row("hang", {"after_bytes": 20}),
    Row("refuse"),
    Row("reset"),
    Row("reset", {"at_byte": 20}),
    Row("empty-reply"),
    Row("dns-failure"),
    Row("tls-failure", {"how": "expired"}),
    Row("tls-failure", {"how": "alert"}),
    Row("close-idle", {}, _tools),
    Row("truncate", {"how": "right-length", "at": 0.5}, _whole),
    Row("truncate", {"how": "wrong-length", "at": 0.5}, _whole),
    Row("truncate", {"how": "in-chunk", "at": 0.5}, _whole),
    Row("truncate", {"how": "in-gzip", "at": 0.5}, _whole),
    Row("truncate", {"how": "until-close", "at": 0.5, "ragged": True}, _whole),
    Row("cut-stream", {"how": "clean", "at_event": 5}, _streams),
    Row("cut-stream", {"how": "inside-event", "at_event": 5}, _streams),
    Row("cut-stream", {"how": "in-chunk", "at_event": 5}, _streams),
    Row("cut-stream", {"how": "reset", "at_event": 5}, _streams),
    Row("drop-page", {}, _pages),
    Row("malformed-json", {"how": "trailing-comma"}, _json),
    Row("garbage", {"how": "body"}, _whole),
    Row("garbage", {"how": "bad-gzip"}, _whole),
    Row("rate-limit", {"retry_after": "1s"}),
    # How often a client with full jitter comes too early is chance.
    Row("rate-limit", {"retry_after": "1s"}, lambda client: not client.full_jitter, rule={"on": 1}),
    Row("overloaded"),
    Row("server-error"),
    Row("gateway-html"),
    Row("gateway-html", {"status": 502}, rule={"on": 1}),
    Row("quota-exceeded"),
    Row("token-expired"),
    Row("forbidden"),
    Row("stale", {}, _pages),
    Row("silent-noop"),
    Row("wrong-shape", {}, _json),
    Row("tool-error", {}, _tools),
    Row("graphql-errors", {}, _pages),
    Row("duplicate-delivery"),
)


@dataclass(frozen=True)
class Reaction:
    attempts: int
    gaps: tuple[str, ...]
    """Between one attempt's end and the next one's beginning, in classes, like ones next to each other once."""
    got: str

    def __str__(self) -> str:
        if not self.attempts:
            return "–"
        gaps = f" ({', '.join(self.gaps)})" if self.gaps else ""
        return f"{self.attempts}{gaps}: {self.got}"


@dataclass(frozen=True)
class _Measured:
    """One call of a client."""

    gaps_s: tuple[float, ...]
    attempts: int
    got: str

    def quickest(self, other: _Measured) -> _Measured:
        """What both have shown, with the shorter gaps: a busy host makes them longer, nothing makes them shorter."""
        if (self.attempts, self.got) != (other.attempts, other.got):
            return other
        return _Measured(tuple(map(min, self.gaps_s, other.gaps_s)), self.attempts, self.got)

    def told(self, client: Client) -> Reaction:
        names: list[str] = []
        for name in map(_gap, self.gaps_s):
            if not names or names[-1] != name:
                names.append(name)
        if client.full_jitter and names:
            names = ["full jitter"]
        return Reaction(self.attempts, tuple(names), self.got)


class _Asked(Weather):
    """Weather whose names and connections are asked for where the client resolves a name, so that it meets what it
    would meet inside a machine: a name that does not resolve, a port that refuses."""

    def connecting(self, host: str, port: int, *, proxied: bool) -> Shut | None:
        return None

    def now(self) -> float:
        return self._now()

    def opening(self, host: str, port: int) -> Shut | None:
        return super().resolving(host) or super().connecting(host, port, proxied=False)


class Places:
    """Names that lead to gateways, for every client in this process."""

    def __init__(self) -> None:
        self._cells: dict[str, tuple[_Asked, list[float]]] = {}
        self._real = socket.getaddrinfo
        self._lock = threading.Lock()

    def __enter__(self) -> Places:
        socket.getaddrinfo = self._resolve
        return self

    def __exit__(self, *_: object) -> None:
        socket.getaddrinfo = self._real

    def add(self, host: str, weather: _Asked) -> list[float]:
        """The times (monotonic) of connections that failed before they came about will stand in the list."""
        failed: list[float] = []
        with self._lock:
            self._cells[host] = weather, failed
        return failed

    def _resolve(self, host: Any, port: Any, *args: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        with self._lock:
            cell = self._cells.get(name)
        if cell is None:
            return self._real(host, port, *args, **options)
        weather, failed = cell
        shut = weather.opening(name, int(port))
        if shut is None:
            return self._real("127.0.0.1", port, *args, **options)
        failed.append(weather.now())
        if shut.how == "refused":
            # Nothing listens there.
            return self._real("127.0.0.2", port, *args, **options)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


class Bench:
    """The upstreams and the authority that all cells share."""

    def __init__(self, world: World, places: Places) -> None:
        self._world = world
        self._places = places
        self._authority = Authority()
        self._port = world.upstream(upstream())
        self._mcp_port = world.free_port()
        self._mcp = subprocess.Popen(
            [sys.executable, "-c", MCP_SERVER, str(self._mcp_port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._ca = world.folder / "reactions-ca.pem"
        self._ca.write_text(self._authority.pem)
        self._making = threading.Lock()

    def __enter__(self) -> Bench:
        self._world.wait_for_port(self._mcp_port)
        os.environ["SSL_CERT_FILE"] = str(self._ca)
        return self

    def __exit__(self, *_: object) -> None:
        os.environ.pop("SSL_CERT_FILE", None)
        self._mcp.terminate()
        self._mcp.wait(30)

    def react(self, row: Row, client: Client, *, most_calls: int) -> Reaction:
        """What two calls in a row have shown, taking the shorter gaps of all; `most_calls` 1: what one has shown."""
        seen = self._once(row, client)
        for _ in range(most_calls - 1):
            if not seen.gaps_s:
                break
            before, seen = seen, seen.quickest(self._once(row, client))
            if seen.told(client) == before.told(client):
                break
        return seen.told(client)

    def _once(self, row: Row, client: Client) -> _Measured:
        with self._making:
            # Always the same one: what a fault draws depends on the route.
            host = (
                re.sub(r"[^a-z0-9]+", "-", f"{client.name}-{row.label}".lower())[:60].rstrip("-") + ".example"
            )
            weather = _weather(row, client)
            port = self._world.free_port()
            server = self._server(f"{host}:{port}", weather, client)
            server.listen(Origin.direct(host, "198.18.1.0", port), port)
        failed = self._places.add(host, weather)
        try:
            got = _got(client, f"https://{host}:{port}", str(self._ca))
        finally:
            server.close()
        if not any(report.fired for report in weather.reports()):
            return _Measured((), 0, "")
        return _measured(client, server.exchanges, failed, got)

    def _server(self, place: str, weather: _Asked, client: Client) -> GatewayServer:
        port = self._mcp_port if client.tool else self._port
        server = self._world.gateway(
            routes={place: f"http://127.0.0.1:{port}"},
            session={"interceptor": weather},
            gateway={"ca": self._authority},
        )
        weather.use_clock(server.session.now)
        server.session.start_clock()
        weather.start()
        return server


def _weather(row: Row, client: Client) -> _Asked:
    fields = {**row.rule}
    if "on" in fields:
        fields["on"] = (fields["on"],)
    rule = FaultRule(id=row.inject, inject=row.inject, params=row.params, match=_match(row, client), **fields)
    return _Asked([rule], TrialKey("reactions", client.name, "baseline", 1))


def _match(row: Row, client: Client) -> FaultMatch:
    if client.tool and row.inject not in ("refuse", "dns-failure", "tls-failure"):
        return FaultMatch(call="tool")
    return FaultMatch()


def _got(client: Client, url: str, ca: str) -> str:
    try:
        answer = client.ask(url, ca)
    except Exception as error:
        return _error(error)
    if answer == client.expected:
        return "the answer"
    if answer.startswith("tool error: "):
        return "a tool's error, told as one"
    if not answer:
        return "**an empty answer, as if whole**"
    if client.expected.startswith(answer):
        return "**a cut answer, as if whole**"
    if answer.lstrip().lower().startswith(("<html", "<!doctype")):
        return "**an HTML page, as the answer**"
    return "**another answer, as if right**"


def _error(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    module = type(error).__module__.partition(".")[0]
    return f"`{type(error).__name__}`" if module == "builtins" else f"`{module}.{type(error).__name__}`"


def _measured(client: Client, exchanges: Sequence[Exchange], failed: Sequence[float], got: str) -> _Measured:
    times = [(at, at) for at in failed]
    for exchange in exchanges:
        if client.tool and exchange.method and "tools/call" not in _sent(exchange):
            continue
        times.append((exchange.started_s, exchange.ended_s or exchange.started_s))
    times.sort()
    gaps_s = tuple(started_s - ended_s for (_, ended_s), (started_s, _) in itertools.pairwise(times))
    return _Measured(gaps_s, len(times), got)


def _sent(exchange: Exchange) -> str:
    return (exchange.request_body.text or "") if exchange.request_body is not None else ""


def _gap(seconds: float) -> str:
    return next((name for bound_s, name in GAPS if seconds < bound_s), "longer")


def applies(row: Row, client: Client) -> bool:
    return row.only(client)


def measure(
    folder: Path,
    rows: Sequence[Row],
    clients: Sequence[Client],
    *,
    told: Callable[[str], None] = lambda text: None,
    most_calls: int = MOST_CALLS,
) -> dict[tuple[str, str], Reaction]:
    """(label of the row, name of the client) → its reaction, for every pair that makes sense."""
    from support.gateway_server import world

    pairs = [(row, client) for row in rows for client in clients if applies(row, client)]
    found: dict[tuple[str, str], Reaction] = {}
    with world(folder) as made, Places() as places, Bench(made, places) as bench, _pool() as pool:

        def cell(pair: tuple[Row, Client]) -> None:
            row, client = pair
            reaction = found[row.label, client.name] = bench.react(row, client, most_calls=most_calls)
            told(f"{row.label} | {client.name} | {reaction}")

        list(pool.map(cell, pairs))
    return found


@contextlib.contextmanager
def _pool() -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


__all__ = ["AT_ONCE", "ROWS", "TIMEOUT_S", "Reaction", "Row", "applies", "measure"]
