"""The only way out of a sandbox: policy, TLS, secrets, upstreams, and a record of every exchange.

Runs on the host. Public names: `Gateway` (one a run), `Session` (one a trial), `GatewayConfig`, `Bounds`,
`ProviderLimit`, `Authority`, `Limiter`, `Recording`, `Denied`; the contracts `ByteStream`, `Origin`, `Interceptor`,
`Request`, `ResponsePlan`, `Framing`, `Cut`, `Failure`; `AsyncioStream` adapts a socket.
"""

from aegis.gateway.authority import Authority
from aegis.gateway.base import ByteStream, Forward, Framing, Interceptor, Origin, Request, ResponsePlan
from aegis.gateway.config import Bounds, GatewayConfig, ProviderLimit
from aegis.gateway.failures import Cut, Failure
from aegis.gateway.gateway import Gateway
from aegis.gateway.limiter import Limiter
from aegis.gateway.replay import Recording
from aegis.gateway.session import Denied, Session
from aegis.gateway.streams import AsyncioStream

__all__ = [
    "AsyncioStream",
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
]
