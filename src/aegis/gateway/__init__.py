"""The only way out of a sandbox: policy, TLS, secrets, upstreams, and a record of every exchange.

Runs on the host. Public names: `Gateway` (one a run), `Session` (one a trial), `GatewayConfig`, `Bounds`,
`ProviderLimit`, `Authority`, `Limiter`, `Recording`, `Denied`; the contracts `ByteStream`, `Origin`, `Interceptor`,
`Request`, `ResponsePlan`, `Framing`, `Cut`, `Failure`; `SocketStream` is one over a socket.
`entries` holds the rules for hosts that a suite is checked by.

The names are imported when they are first used: checking a suite needs neither TLS nor certificates.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aegis.gateway.authority import Authority
    from aegis.gateway.base import ByteStream, Forward, Framing, Interceptor, Origin, Request, ResponsePlan
    from aegis.gateway.config import Bounds, GatewayConfig, ProviderLimit
    from aegis.gateway.failures import Cut, Failure
    from aegis.gateway.gateway import Gateway
    from aegis.gateway.limiter import Limiter
    from aegis.gateway.replay import Recording
    from aegis.gateway.session import Denied, Session
    from aegis.gateway.sockets import SocketStream

_PLACES = {
    "Authority": "authority",
    "Bounds": "config",
    "ByteStream": "base",
    "Cut": "failures",
    "Denied": "session",
    "Failure": "failures",
    "Forward": "base",
    "Framing": "base",
    "Gateway": "gateway",
    "GatewayConfig": "config",
    "Interceptor": "base",
    "Limiter": "limiter",
    "Origin": "base",
    "ProviderLimit": "config",
    "Recording": "replay",
    "Request": "base",
    "ResponsePlan": "base",
    "Session": "session",
    "SocketStream": "sockets",
}

__all__ = [
    "Authority",
    "Bounds",
    "ByteStream",
    "Cut",
    "Denied",
    "Failure",
    "Forward",
    "Framing",
    "Gateway",
    "GatewayConfig",
    "Interceptor",
    "Limiter",
    "Origin",
    "ProviderLimit",
    "Recording",
    "Request",
    "ResponsePlan",
    "Session",
    "SocketStream",
]


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(f"aegis.gateway.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
