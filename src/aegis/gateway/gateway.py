"""The gateway of one run: what its trials share."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from aegis.gateway.authority import Authority
from aegis.gateway.base import ByteStream, Forward, Interceptor, Notes, Request, ResponsePlan, Shut
from aegis.gateway.config import GatewayConfig
from aegis.gateway.dial import Dialer, Resolve
from aegis.gateway.limiter import Limiter
from aegis.gateway.policy import Policy
from aegis.gateway.recorder import Blobs, Sink
from aegis.gateway.replay import Recording, Replayer
from aegis.gateway.secrets import Vault
from aegis.gateway.session import Session

Recordings = Callable[[str], Recording | None]
"""A session's label → what it is answered from."""


class Gateway:
    """Policy, secrets, certificates and shared limits of a run.

    `secret_values` holds a value for each secret that the configuration declares. With `replay` nothing is ever
    dialled. `ca` and `placeholders` are those that machines know already. Raises `UsageError` for a configuration that
    can't be used; the text never holds a value.
    """

    def __init__(
        self,
        config: GatewayConfig,
        *,
        ca: Authority | None = None,
        secret_values: Mapping[str, str] | None = None,
        placeholders: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
        replay: Recordings | None = None,
        limiter: Limiter | None = None,
        resolve: Resolve | None = None,
    ) -> None:
        self.config = config
        self.policy = Policy(config.allow, config.routes, config.tls_passthrough)
        self.vault = Vault(config.secrets, secret_values or {}, placeholders=placeholders)
        self.authority = ca or Authority()
        self.dialer = Dialer(config.bounds, ca_bundle=config.ca_bundle, resolve=resolve)
        self.clock = clock
        self.limiter = limiter or Limiter(config.limits, clock=clock, longest_s=config.bounds.queue_s)
        self._replay = replay

    @property
    def ca_pem(self) -> str:
        """The authority's certificate, for the guest's trust store."""
        return self.authority.pem

    @property
    def replaying(self) -> bool:
        return self._replay is not None

    def session(
        self,
        label: str,
        sink: Sink,
        blobs: Blobs,
        *,
        interceptor: Interceptor | None = None,
        routes: Mapping[str, str] | None = None,
        shown_s: float | None = None,
    ) -> Session:
        """For one trial. `label` chooses the recording in a replay. `interceptor` stands before the upstream, or
        before the recording in a replay. `routes` are this trial's own, in the forms of `GatewayConfig.routes`; for
        the same name they win over the run's. `shown_s`: what the machine's clock shows, as seconds since 1970, where
        that is not the real time; certificates suit it. Raises `UsageError` when one of the routes is wrong."""
        if self._replay is not None:
            recording = self._replay(label) or Recording.empty()
            replayer = Replayer(recording, self.vault)
            interceptor = replayer if interceptor is None else Chained(interceptor, replayer)
        policy = self.policy.with_routes(routes or {})
        return Session(self, policy, label, sink, blobs, interceptor or Interceptor(), shown_s)

    def close(self) -> None:
        """After the last session was closed."""
        self.dialer.close()


class Chained(Interceptor):
    """The first interceptor's upstream is the second one."""

    def __init__(self, first: Interceptor, second: Interceptor) -> None:
        self._first = first
        self._second = second

    async def intercept(self, request: Request, forward: Forward) -> ResponsePlan:
        return await self._first.intercept(request, lambda inner: self._second.intercept(inner, forward))

    def resolving(self, host: str) -> Shut | None:
        return self._first.resolving(host) or self._second.resolving(host)

    def connecting(self, host: str, port: int, *, proxied: bool) -> Shut | None:
        first = self._first.connecting(host, port, proxied=proxied)
        return first or self._second.connecting(host, port, proxied=proxied)

    def handshaking(self, host: str, port: int, *, opened: bool) -> Shut | None:
        first = self._first.handshaking(host, port, opened=opened)
        return first or self._second.handshaking(host, port, opened=opened)

    def tunnel(self, host: str, port: int, client: ByteStream, notes: Notes) -> ByteStream:
        return self._first.tunnel(host, port, self._second.tunnel(host, port, client, notes), notes)
