"""The way out of a run's trials: one gateway, a session of it for each attempt, and the programs that answer for the
outside world."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from aegis.engine.ports import BlobStore
from aegis.engine.resolve import Resolved
from aegis.engine.spec import DeniedHost, PlannedTrial
from aegis.engine.upstreams import Upstreams
from aegis.errors import InfrastructureError
from aegis.faults.base import TrialKey
from aegis.faults.plan.weather import Weather
from aegis.gateway import Bounds, ByteStream, Gateway, GatewayConfig, Origin, ProviderLimit, Session
from aegis.gateway.authority import Authority
from aegis.gateway.config import MIB
from aegis.gateway.gateway import Recordings
from aegis.gateway.placeholders import made_up
from aegis.gateway.policy import DEFAULT_PORTS, Pattern, parse_pattern
from aegis.sandbox.network import Destination, LookupAnswer, NetworkAccess, NetworkPaths, Refusal
from aegis.suite.model import FaultRule
from aegis.trace import Exchange
from aegis.trace.faults import FaultReport

MAX_DENIED = 100
"""Kinds of refusals told of one attempt, the most frequent ones."""

WHOLE = Bounds(recorded_body_bytes=256 * MIB, recording_bytes=512 * MIB, kept_body_bytes=8192 * MIB)
"""With `record`: what fits into memory is kept whole, so that a replay has it."""

_NOWHERE = "http://127.0.0.1:9"
"""Where an upstream program's route leads in a replay, which dials nothing."""


def label(trial: PlannedTrial) -> str:
    """The name of a trial's session; a replay is looked up by it."""
    return f"{trial.case}/{trial.variant}/{trial.number}"


class RunNetwork:
    """What the trials of a run share. Used as an asynchronous context manager: entering it starts the upstream
    programs of the run's scope."""

    def __init__(
        self,
        resolved: Resolved,
        blobs: BlobStore,
        *,
        root: Path,
        ca_bundle: str | None = None,
        record: bool = False,
        replay: Recordings | None = None,
        carried: Mapping[str, Any] | None = None,
    ) -> None:
        """`root` is the project's folder, in which upstream programs run; `ca_bundle` is PEM text. Raises `UsageError`
        for what the gateway cannot use. `carried`: what another run's network told of itself (`carried`), in whose
        place this one stands."""
        self.resolved = resolved
        values = {name: resolved.values.get(name) or made_up(name) for name in resolved.secrets}
        known = (carried or {}).get("gateway")
        self.gateway = Gateway(
            _config(resolved, ca_bundle, record=record),
            ca=None if known is None else Authority.load(known["authority"]),
            secret_values=values,
            placeholders=None if known is None else known["secrets"],
            replay=replay,
        )
        self._blobs = blobs
        self._root = root
        self._replaying = replay is not None
        named = [parse_pattern(name) for name in (*resolved.network.allow, *resolved.network.routes)]
        self._ports = _ports(named)
        self._addresses = _addresses(named)
        self._shared = self._programs("run")

    async def __aenter__(self) -> RunNetwork:
        try:
            await self._shared.__aenter__()
        except BaseException:
            self.gateway.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._shared.__aexit__(kind, error, trace)
        finally:
            self.gateway.close()

    def carried(self) -> dict[str, Any]:
        """What programs in a machine take in from this network and may hold on to, so that another one can stand in for
        it. Holds the authority's key, and no value of a secret."""
        return {
            "gateway": {
                "authority": self.gateway.authority.dump(),
                "secrets": self.gateway.vault.environment(),
            }
        }

    async def open(
        self,
        trial: PlannedTrial,
        *,
        suite: str = "",
        faults: Sequence[FaultRule] = (),
        shown_s: float | None = None,
        weather_of: PlannedTrial | None = None,
    ) -> AttemptNetwork:
        """A session for one attempt, with its own upstream programs running, in the weather of these rules, which
        `suite` and `trial` (or `weather_of`) decide. `shown_s` as in `Gateway.session`. Raises `InfrastructureError`
        when one of the programs does not start."""
        if (problem := self._shared.problem()) is not None:
            raise InfrastructureError(problem)
        own = self._programs("trial")
        await own.__aenter__()
        try:
            return self._attempt(trial, own, TrialKey(suite, *(weather_of or trial)), faults, shown_s)
        except BaseException:
            await own.__aexit__(None, None, None)
            raise

    def _attempt(
        self,
        trial: PlannedTrial,
        own: Upstreams,
        key: TrialKey,
        faults: Sequence[FaultRule],
        shown_s: float | None,
    ) -> AttemptNetwork:
        urls = {**self._shared.urls, **own.urls}
        led = self.resolved.upstream_routes.items()
        return AttemptNetwork(
            self.gateway,
            label(trial),
            self._blobs,
            routes={name: urls.get(upstream, _NOWHERE) for name, upstream in led},
            ports=self._ports,
            addresses=self._addresses,
            shared=self._shared,
            own=own,
            weather=Weather(faults, key, placeholders=self.gateway.vault.environment()) if faults else None,
            shown_s=shown_s,
        )

    def _programs(self, scope: str) -> Upstreams:
        """The upstreams of this scope that routes lead to; none in a replay."""
        known = self.resolved.network.upstreams
        wanted = () if self._replaying else sorted(self.resolved.upstreams)
        programs = {name: known[name] for name in wanted if known[name].scope == scope}
        return Upstreams(programs, self._root, redact=self.gateway.vault.redact_text)


class AttemptNetwork:
    """Fulfils `TrialNetwork`, and `NetworkHandler` and `Gate` for the sandbox, with a session of the gateway."""

    def __init__(
        self,
        gateway: Gateway,
        name: str,
        blobs: BlobStore,
        *,
        routes: Mapping[str, str],
        ports: tuple[int, ...],
        addresses: tuple[tuple[str, int], ...],
        shared: Upstreams,
        own: Upstreams,
        weather: Weather | None = None,
        shown_s: float | None = None,
    ) -> None:
        """`shared` are the programs that all trials use, `own` this attempt's, which end with it. `weather` begins with
        the agent. `shown_s`: what the machine's clock shows when the agent starts; None: the real time."""
        self._blobs = blobs
        self._shared = shared
        self._own = own
        self._begun_before: int | None = None
        self._setup: list[Exchange] = []
        self._exchanges: list[Exchange] = []
        self._failure: InfrastructureError | None = None
        self._weather = weather
        self._session: Session = gateway.session(
            name, self._keep, self._store, routes=routes, interceptor=weather, shown_s=shown_s
        )
        self._shown_s = shown_s
        if weather is not None:
            weather.use_clock(self._session.now)
        asks = () if weather is None else weather.shuts
        self._access = NetworkAccess(
            self,
            ports,
            addresses,
            gateway.authority.pem_at(shown_s),
            gate=self if asks else None,
            asks=asks,
        )

    @property
    def access(self) -> NetworkAccess:
        return self._access

    @property
    def waited_s(self) -> float:
        return self._session.waited_s

    @property
    def exchanges(self) -> Sequence[Exchange]:
        return self._exchanges

    @property
    def setup(self) -> Sequence[Exchange]:
        return self._setup

    @property
    def denied(self) -> tuple[DeniedHost, ...]:
        most = self._session.denied[:MAX_DENIED]
        return tuple(DeniedHost(item.host, item.port, item.reason, item.count) for item in most)

    def environment(self, paths: NetworkPaths | None) -> dict[str, str]:
        if paths is None:
            return self._session.environment()
        # A proxy would turn a name that does not resolve, and a refused connection, into an answer of its own.
        proxy = None if paths.direct and self._access.gate is not None else paths.proxy
        return self._session.environment(ca_file=paths.ca_file, ca_bundle=paths.ca_bundle, proxy=proxy)

    def start_clock(self) -> None:
        self._begun_before = self._session.begun
        self._session.start_clock()
        if self._weather is not None:
            if self._shown_s is not None:
                self._weather.shift_date(self._shown_s - time.time())
            self._weather.start()

    @property
    def faults(self) -> tuple[FaultReport, ...]:
        return () if self._weather is None else self._weather.reports()

    async def connect(self, connection: ByteStream, destination: Destination) -> None:
        """As `NetworkHandler` says; a sandbox's `Connection` is a `ByteStream`."""
        await self._session.handle(connection, _origin(destination))

    def lookup(self, name: str) -> LookupAnswer:
        """As `Gate` says."""
        return self._session.lookup(name)

    def opening(self, destination: Destination) -> bool:
        """As `Gate` says."""
        return self._session.opening(destination.name, destination.address, destination.port)

    def refused(self, refusal: Refusal) -> None:
        self._session.refused(refusal.address, refusal.port, refusal.protocol, refusal.name)

    async def end(self) -> None:
        await self._session.close()
        problem = self._shared.problem() or self._own.problem()
        if problem is not None and self._failure is None:
            self._failure = InfrastructureError(problem)

    def check(self) -> None:
        if self._failure is not None:
            raise self._failure

    async def close(self) -> None:
        try:
            await self._session.close()
        finally:
            await self._own.__aexit__(None, None, None)

    def _keep(self, exchange: Exchange) -> None:
        early = self._begun_before is None or exchange.id <= self._begun_before
        (self._setup if early else self._exchanges).append(exchange)

    def _store(self, data: bytes) -> str:
        """Called from worker threads too. The gateway survives what this raises; the trial must not."""
        try:
            return self._blobs.put(data)
        except InfrastructureError as error:
            self._failure = self._failure or error
            raise


def _origin(destination: Destination) -> Origin:
    if destination.via == "proxy":
        return Origin.proxy()
    return Origin.direct(destination.name, destination.address, destination.port, let_in=destination.let_in)


def _config(resolved: Resolved, ca_bundle: str | None, *, record: bool) -> GatewayConfig:
    network = resolved.network
    return GatewayConfig(
        allow=(*network.allow, *resolved.direct),
        routes=resolved.routes,
        tls_passthrough=network.passthrough,
        secrets={name: secret.hosts for name, secret in resolved.secrets.items()},
        ca_bundle=ca_bundle,
        limits={
            host: ProviderLimit(limit.requests_per_minute, limit.tokens_per_minute)
            for host, limit in network.limits.items()
        },
        bounds=WHOLE if record else Bounds(),
    )


def _ports(patterns: Sequence[Pattern]) -> tuple[int, ...]:
    """Those at which names are listened for, besides the usual two."""
    named = {item.port for item in patterns if item.port is not None and not item.host.is_address}
    return tuple(sorted(named - set(DEFAULT_PORTS)))


def _addresses(patterns: Sequence[Pattern]) -> tuple[tuple[str, int], ...]:
    """The literal IPv4 addresses with their ports."""
    found = {
        (item.host.name, port)
        for item in patterns
        if item.host.is_address and ":" not in item.host.name
        for port in (DEFAULT_PORTS if item.port is None else (item.port,))
    }
    return tuple(sorted(found))
