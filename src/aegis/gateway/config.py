"""What one run's gateway may do, as a value that serialises."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aegis.errors import UsageError

KIB = 1024
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits against a hostile guest and a hostile upstream. Sizes in bytes, times in seconds."""

    head_bytes: int = 64 * KIB
    """Request line and headers together."""
    target_bytes: int = 16 * KIB
    max_headers: int = 200
    upstream_head_bytes: int = 256 * KIB
    inline_body_bytes: int = 64 * KIB
    """Text bodies up to this length stand in the exchange itself, longer ones in a blob."""
    recorded_body_bytes: int = 8 * MIB
    """Kept of each body; the rest is counted only."""
    recording_bytes: int = 64 * MIB
    """Bodies being recorded at one moment, of all of a session's connections together."""
    kept_body_bytes: int = 1024 * MIB
    """Kept of all bodies of a trial together; after that they are counted only."""
    trace_bytes: int = 128 * MIB
    """Headers, paths and inline bodies of a trial's exchanges together; after that requests are refused."""
    max_connections: int = 512
    """Open at once in one trial; more are refused."""
    max_exchanges: int = 20_000
    """Recorded in one trial; after that requests are refused and counted."""
    idle_timeout_s: float = 300.0
    """A kept-alive connection without a request."""
    head_timeout_s: float = 30.0
    """From a request's first byte to the end of its headers."""
    body_timeout_s: float = 120.0
    """Without a byte of a request body that was announced."""
    write_timeout_s: float = 120.0
    """Without the client taking a byte of what is sent to it."""
    connect_timeout_s: float = 10.0
    """Name resolution, connecting, and the TLS handshake with the upstream, each."""
    response_timeout_s: float = 900.0
    """Without a byte from an upstream that owes one."""
    tunnel_idle_timeout_s: float = 3600.0
    reuse_idle_s: float = 4.0
    """An upstream connection that was idle for longer is not used again: many servers close at 5 s."""
    first_bytes_s: float = 0.05
    """How long a client may be silent on a port allowed by number before the upstream is dialled, which lets
    servers that speak first (SMTP, MySQL) speak."""
    queue_s: float = 300.0
    """The longest that one request waits for a provider's shared limit."""


@dataclass(frozen=True, slots=True)
class ProviderLimit:
    """A provider's limit as set by the user; learnt limits need no entry."""

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """The network section of a suite, resolved. Checked in full when a `Gateway` is made."""

    allow: tuple[str, ...] = ()
    """`name`, `*.wild.example`, `name:port`, `ip:port`, `*`; without a port 80 and 443."""
    routes: Mapping[str, str] = field(default_factory=dict)
    """Production name (as in `allow`) → `http://host:port`, `https://host:port`, or `host:port`, which is spoken to
    as the client speaks. A route allows its name."""
    tls_passthrough: tuple[str, ...] = ()
    """Hosts (as in `allow`) whose TLS is not opened."""
    secrets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Name of the secret → hosts that may see its value. Without a port an entry covers TLS on every port, and
    routed hosts; with a port, that port, TLS or not."""
    ca_bundle: str | None = None
    """PEM text of further authorities that upstreams may be certified by."""
    limits: Mapping[str, ProviderLimit] = field(default_factory=dict)
    """Host name → its shared limit."""
    bounds: Bounds = field(default_factory=Bounds)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> GatewayConfig:
        """The inverse of `to_json`. Raises `UsageError` for an unknown key."""
        known = {item.name for item in dataclasses.fields(cls)}
        if unknown := sorted(set(data) - known):
            raise UsageError(
                f"unknown key in the gateway's configuration: {unknown[0]!r}",
                fix=f"the keys are {', '.join(sorted(known))}",
            )
        fields = dict(data)
        for name in ("allow", "tls_passthrough"):
            fields[name] = tuple(data.get(name, ()))
        fields["secrets"] = {name: tuple(hosts) for name, hosts in data.get("secrets", {}).items()}
        fields["limits"] = {host: ProviderLimit(**limit) for host, limit in data.get("limits", {}).items()}
        fields["bounds"] = Bounds(**data.get("bounds", {}))
        return cls(**fields)
