"""One request and its response, as the gateway saw them: the raw material of a trace."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

Headers = tuple[tuple[str, str], ...]
"""Names as sent, values decoded as Latin-1, in order, repeated names kept; secrets already redacted."""


@dataclass(frozen=True, slots=True)
class Body:
    """A message body as recorded, content codings (gzip…) and transfer codings removed, secrets redacted."""

    size_bytes: int
    """Of the whole body on the wire after removing the transfer coding, before removing the content coding."""
    text: str | None = None
    """The decoded text when it is text and no longer than the recorder's inline bound."""
    blob: str | None = None
    """Digest of the stored bytes, for a body that is binary or longer than the inline bound."""
    truncated: bool = False
    """True when more bytes passed than the recorder keeps; what is kept is the beginning."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """Times are seconds since the trial's clock zero (the agent's start), on the host's monotonic clock."""

    id: int
    """1, 2, … in the order in which requests (or connections) arrived."""
    kind: Literal["http", "websocket", "tcp", "tls-passthrough", "denied", "mcp-stdio"]
    scheme: str
    host: str
    port: int
    method: str = ""
    path: str = ""
    """With the query, secrets redacted."""
    request_headers: Headers = ()
    request_body: Body | None = None
    status: int | None = None
    reason: str = ""
    response_headers: Headers = ()
    response_body: Body | None = None
    started_s: float = 0.0
    first_byte_s: float | None = None
    """When the response's first byte was sent to the agent."""
    ended_s: float | None = None
    connection: int = 0
    """Number of the agent's connection that carried it: several exchanges share one with keep-alive."""
    upstream: str = ""
    """Address dialled (`127.0.0.1:9001`), "" when none was."""
    routed: bool = False
    replayed: bool = False
    error: str | None = None
    """What went wrong, typed: `denied: …`, `upstream-refused: …`, `malformed-request: …`, `client-gone: …`."""
    credential: str | None = None
    """A short stable hash of the credential that the request carried (Authorization, x-api-key…), never its value."""
    chunks: tuple[tuple[float, int], ...] = ()
    """Arrival of response pieces: (seconds, bytes), at most 1,000, for streamed responses."""
    faults: tuple[str, ...] = ()
    """Ids of the faults that hit it, in the order in which they took it (`Trace.faults`)."""
    rewrites: tuple[str, ...] = ()
    """Ids of what a stress transform had the gateway change in it."""
    withheld: Body | None = None
    """What the upstream answered to a request that may be repeated without effect, and a fault kept from the agent for
    good: what it says the agent cannot know."""

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Exchange:
        """The inverse of `to_json`."""
        fields = dict(data)
        for name in ("request_headers", "response_headers", "chunks"):
            fields[name] = tuple((a, b) for a, b in data.get(name, ()))
        for name in ("request_body", "response_body", "withheld"):
            if fields.get(name) is not None:
                fields[name] = Body(**fields[name])
        fields["faults"] = tuple(data.get("faults", ()))
        fields["rewrites"] = tuple(data.get("rewrites", ()))
        return cls(**fields)
