"""The gateway as one trial sees it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from aegis.gateway import ahead, arrive
from aegis.gateway.base import ByteStream, Interceptor, Origin, RawHeaders, Request
from aegis.gateway.deadlines import Deadlines
from aegis.gateway.environment import guest_environment
from aegis.gateway.failures import Failure, denied
from aegis.gateway.limiter import BYTES_PER_TOKEN
from aegis.gateway.names import Host
from aegis.gateway.policy import Admission, Policy
from aegis.gateway.recorder import Blobs, Budget, ExchangeRecorder, Sink
from aegis.gateway.refusals import why_unreachable
from aegis.gateway.upstream import Pool
from aegis.trace import Exchange

if TYPE_CHECKING:
    from aegis.gateway.gateway import Gateway

_log = logging.getLogger(__name__)

_REFUSALS = frozenset({"denied", "secret-refused", "limit"})
_MAX_SUMMARY = 1000
_MAX_REFUSED = 1000
"""Recorded of the conversations that the guest's kernel refused; a program that tries for ever fills no trace."""


@dataclass(frozen=True, slots=True)
class Denied:
    """Refusals of one kind, counted."""

    host: str
    port: int
    reason: str
    count: int


class Session:
    """One trial's connections. `handle` is called for each connection that the guest opens; `close` ends them all.

    `sink` gets each exchange once, when it has ended. `blobs` stores bytes and returns their digest; for long bodies
    it is called from a worker thread.
    """

    def __init__(
        self,
        gateway: Gateway,
        policy: Policy,
        label: str,
        sink: Sink,
        blobs: Blobs,
        interceptor: Interceptor,
        shown_s: float | None = None,
    ) -> None:
        self.label = label
        self.shown_s = shown_s
        """What the machine's clock shows (seconds since 1970) when the agent starts; None: the real time."""
        self.vault = gateway.vault
        self.policy = policy
        self.dialer = gateway.dialer
        self.authority = gateway.authority
        self.bounds = gateway.config.bounds
        self.replaying = gateway.replaying
        self.interceptor = interceptor
        self.deadlines = Deadlines()
        self.pool = Pool(gateway.dialer, policy, self.bounds, self.deadlines)
        self._limiter = gateway.limiter
        self._clock = gateway.clock
        self._zero_s = gateway.clock()
        self._sink = sink
        self._blobs = blobs
        self._budget = Budget(self.bounds.recording_bytes, self.bounds.kept_body_bytes)
        self._live: set[asyncio.Task[None]] = set()
        self._connections = 0
        self._open = 0
        self._exchanges = 0
        self._weight_bytes = 0
        self._denied: dict[tuple[str, int, str], int] = {}
        self._waiting = 0
        self._waiting_since_s = 0.0
        self._waited_s = 0.0
        self.taps = 0
        """Connections that MCP servers inside the sandbox are watched by at this moment (`tap.py`)."""
        self._refused = 0
        self._closed = False

    @property
    def denied(self) -> tuple[Denied, ...]:
        """What was refused, each host and reason once, the most frequent first."""
        items = sorted(self._denied.items(), key=lambda item: (-item[1], item[0]))
        return tuple(Denied(host, port, reason, count) for (host, port, reason), count in items)

    @property
    def waited_s(self) -> float:
        """Seconds during which at least one request waited for a provider's shared limit."""
        running = self._clock() - self._waiting_since_s if self._waiting else 0.0
        return self._waited_s + running

    @property
    def begun(self) -> int:
        """How many exchanges have begun: the id of the last one."""
        return self._exchanges

    def start_clock(self) -> None:
        """Now is second 0 of the exchanges' times: the agent starts."""
        self._zero_s = self._clock()

    def environment(
        self, *, ca_file: str | None = None, ca_bundle: str | None = None, proxy: str | None = None
    ) -> dict[str, str]:
        """Variables for the guest: placeholders for the secrets, and see `guest_environment`."""
        found = guest_environment(ca_file=ca_file, ca_bundle=ca_bundle, proxy=proxy)
        return {**found, **self.vault.environment()}

    async def handle(self, stream: ByteStream, origin: Origin) -> None:
        """Serve one connection to its end. Raises nothing but `asyncio.CancelledError`."""
        self._connections += 1
        task = asyncio.ensure_future(self._serve(stream, origin, self._connections))
        self._live.add(task)
        task.add_done_callback(self._live.discard)
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait({task})
            raise

    def lookup(self, name: str) -> Literal["", "nxdomain", "servfail", "timeout"]:
        """Asked about a lookup by a client that uses no proxy: how it fails; "" when it doesn't."""
        return "" if self._closed else ahead.lookup(self, name)

    def opening(self, name: str | None, address: str | None, port: int) -> bool:
        """Asked about a connection past the proxy port, as in `Origin.direct`: whether it comes about. If it does, its
        `Origin` says so."""
        return self._closed or ahead.opening(self, name, address, port)

    def refused(self, address: str, port: int, protocol: str, name: str | None = None) -> None:
        """Told of a conversation that never reached the gateway, because nothing in the sandbox listens for it: the
        sandbox's own kernel has refused it. `protocol` is `tcp`, `udp` or `icmp`; `name` is the host that the address
        stands for. Recorded as `denied`, the first 1,000 of a trial; all are counted."""
        host = (name or address)[:253]
        try:
            self.vault.refuse_host(host)
            failure = denied(why_unreachable(host, port, protocol, name=name is not None))
        except Failure as refusal:
            failure = refusal
        self._refused += 1
        recorder = self.begin("denied", 0) if self._refused <= _MAX_REFUSED and not self._closed else None
        if recorder is None:
            self._count(self.vault.redact_text(host), port, self.vault.redact_text(str(failure)))
            return
        recorder.scheme, recorder.host, recorder.port = protocol, host, port
        self.note(recorder, failure)
        recorder.finish_at_once(str(failure))

    async def close(self) -> None:
        """End every connection; exchanges in progress are recorded as cancelled. May be called repeatedly."""
        self._closed = True
        live = list(self._live)
        for task in live:
            task.cancel()
        if live:
            await asyncio.wait(live)
        self.pool.close()
        self.deadlines.close()

    def begin(self, kind: str, connection: int) -> ExchangeRecorder | None:
        """A new exchange, or None when the trial has had its share: then nothing more is recorded or served."""
        if self._exchanges >= self.bounds.max_exchanges or self._weight_bytes > self.bounds.trace_bytes:
            self._count("", 0, f"limit: more than {self.bounds.max_exchanges} exchanges, or too long ones")
            return None
        self._exchanges += 1
        return ExchangeRecorder(
            self._exchanges,
            kind=kind,
            connection=connection,
            now=self.now,
            vault=self.vault,
            sink=self._emit,
            blobs=self._blobs,
            bounds=self.bounds,
            budget=self._budget,
        )

    def admit(self, host: Host, port: int) -> Admission:
        """Raises `Failure` for what policy does not allow."""
        self.vault.refuse_host(host.name)
        admission = self.policy.admit(host, port)
        if admission is None:
            raise denied(f"{host.in_url}:{port} is not in network.allow")
        return admission

    def note(self, recorder: ExchangeRecorder, failure: Failure) -> None:
        """Mark an exchange that was refused, and count it for the summary."""
        if failure.kind not in _REFUSALS:
            return
        if failure.kind == "denied":
            recorder.kind = "denied"
        reason = self.vault.redact_text(str(failure))
        self._count(self.vault.redact_text(recorder.host), recorder.port, reason)

    async def wait_for_limit(self, request: Request) -> float:
        """Queue for the provider's limit. The number of tokens that `release_limit` must give back."""
        if not self._limiter.applies(request.host):
            return 0.0
        tokens = (request.body.length or 0) / BYTES_PER_TOKEN
        if not self._waiting:
            self._waiting_since_s = self._clock()
        self._waiting += 1
        try:
            await self._limiter.acquire(request.host, tokens, self)
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._waited_s += self._clock() - self._waiting_since_s
        return tokens

    def release_limit(self, request: Request, tokens: float) -> None:
        self._limiter.finished(request.host, tokens)

    def learn_limit(self, host: str, status: int, headers: RawHeaders) -> None:
        self._limiter.learn(host, status, headers, self)

    def now(self) -> float:
        """Seconds since `start_clock`."""
        return round(self._clock() - self._zero_s, 6)

    def _emit(self, exchange: Exchange) -> None:
        headers = (*exchange.request_headers, *exchange.response_headers)
        bodies = [body.text for body in (exchange.request_body, exchange.response_body) if body and body.text]
        self._weight_bytes += sum(len(name) + len(value) for name, value in headers)
        self._weight_bytes += len(exchange.path) + sum(len(text) for text in bodies)
        self._sink(exchange)

    def _count(self, host: str, port: int, reason: str) -> None:
        key = (host, port, reason)
        if key not in self._denied and len(self._denied) >= _MAX_SUMMARY:
            key = ("", 0, "further refusals")
        self._denied[key] = self._denied.get(key, 0) + 1

    async def _serve(self, stream: ByteStream, origin: Origin, number: int) -> None:
        try:
            if self._closed or self._open >= self.bounds.max_connections:
                self._count("", 0, f"limit: more than {self.bounds.max_connections} connections at once")
                await stream.abort()
                return
            self._open += 1
            try:
                await arrive.serve(self, stream, origin, number)
            finally:
                self._open -= 1
        except asyncio.CancelledError:
            with contextlib.suppress(OSError):
                await stream.abort()
            raise
        except (OSError, Failure):
            # The client has gone or takes nothing; its exchange, if there was one, says so.
            pass
        except Exception as error:
            # One connection's trouble never ends the trial. The text may hold anything: the type must do.
            _log.exception("connection %d of %s", number, self.label)
            recorder = self.begin("http", number)
            if recorder is not None:
                await recorder.finish(f"internal: {type(error).__name__}")
        finally:
            with contextlib.suppress(OSError):
                await stream.close()
