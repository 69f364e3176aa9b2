"""The contract between the gateway and its neighbours.

The guest's connector gives `Session.handle` a `ByteStream` and an `Origin`; an `Interceptor` may answer a request or
change what upstream answered. Bytes that reach the client come from a `ResponsePlan`, whose framing is decided here
and not by a library, so that a response can be cut, delayed or bent at any byte.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

RawHeaders = tuple[tuple[bytes, bytes], ...]
"""Names as sent, in order, repeated names kept."""


class ByteStream(Protocol):
    """One connection of the guest, after any carrier was removed. One reader and one writer at a time.

    Every method may raise `OSError` when the other side is gone.
    """

    async def read(self, max_bytes: int) -> bytes:
        """At least one byte and at most `max_bytes` as soon as any are there; b"" at the end, and again after it."""

    async def write(self, data: bytes) -> None:
        """Send all of it. Waits while the other side doesn't read, so that memory stays bounded."""

    async def write_eof(self) -> None:
        """End this direction; reading goes on."""

    async def close(self) -> None:
        """Send what is left and end both directions. May be called repeatedly."""

    async def abort(self) -> None:
        """Drop what is left and reset the connection: the client sees a reset, not an end."""


@dataclass(frozen=True, slots=True)
class Origin:
    """How a connection arrived. Make one with `proxy()` or `direct()`."""

    kind: Literal["proxy", "direct"]
    name: str | None = None
    address: str | None = None
    port: int = 0
    let_in: bool = False
    """Whether `Session.opening` has let it come about."""

    @classmethod
    def proxy(cls) -> Origin:
        """The client speaks to an HTTP proxy: absolute-form requests or CONNECT."""
        return cls("proxy")

    @classmethod
    def direct(cls, name: str | None, address: str | None, port: int, *, let_in: bool = False) -> Origin:
        """The client dialled `address`, which stands for `name` (None: it dialled a real address), and `port`."""
        return cls("direct", name, address, port, let_in)


class RequestBody(Protocol):
    """What the client sends after the head, transfer coding removed."""

    @property
    def length(self) -> int | None:
        """Announced size in bytes, 0 without a body, None when it is chunked."""

    async def read(self) -> bytes:
        """The next piece, b"" at the end. Raises `Failure` when it breaks off or must not leave the guest."""


class ReadBody:
    """A request body that was read already, and what may follow it. `length` as announced, where that differs."""

    def __init__(self, read: bytes, rest: RequestBody | None = None, *, length: int | None = -1) -> None:
        self._length = len(read) if length == -1 else length
        self._read = read
        self._rest = rest

    @property
    def length(self) -> int | None:
        return self._length

    async def read(self) -> bytes:
        if self._read:
            data, self._read = self._read, b""
            return data
        return b"" if self._rest is None else await self._rest.read()


@dataclass(slots=True)
class Notes:
    """What whoever interferes with an exchange tells its recorder."""

    faults: list[str] = field(default_factory=list)
    """Ids of the faults that hit it."""
    rewrites: list[str] = field(default_factory=list)
    """Ids of the rewrites that changed it."""
    withheld: bytes | None = None
    """What upstream answered, content codings removed, and the guest was not given."""


def _ignore() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Request:
    """A request that policy has allowed, as the guest sent it: placeholders, not values."""

    method: str
    scheme: str
    host: str
    port: int
    target: str
    """Origin form: path and query."""
    headers: RawHeaders
    body: RequestBody
    http_version: str = "1.1"
    reused: bool = False
    """Whether its connection has carried another request before it."""
    notes: Notes = field(default_factory=Notes)
    end_with_client: Callable[[], None] = _ignore
    """To be called by whoever makes the answer late on purpose: a client that ends its side has left from then on, and
    the exchange ends with it. Before, a client that asked with `Connection: close` may end its side and read on."""

    original: Request | None = None
    """The request as the guest sent it, where an interceptor sends another body: a replay looks it up by this one."""

    layer: Literal["http", "mcp"] = "http"
    """`mcp`: not HTTP at all, but what an MCP server inside the sandbox is asked by its standard input (`tap.py`): the
    body is one JSON-RPC message, host and path are made up for it, and nothing is ever dialled."""

    def header(self, name: str) -> str | None:
        """The first header of this name (any case), or None."""
        wanted = name.lower().encode()
        for key, value in self.headers:
            if key.lower() == wanted:
                return value.decode("latin-1")
        return None


class Framing(enum.Enum):
    """How the client learns where the body ends. The plan's headers are sent as they are: a Content-Length there may
    lie."""

    NONE = "none"
    """No body follows the head (HEAD, 204, 304)."""
    LENGTH = "length"
    """The plan's Content-Length header says."""
    CHUNKED = "chunked"
    CLOSE = "close"
    """The connection's end is the body's end."""


async def _nothing() -> None:
    return None


def _unchanged(client: ByteStream) -> ByteStream:
    return client


@dataclass(slots=True)
class ResponsePlan:
    """A response on its way to the client. `body` yields pieces, each sent as soon as it is there; raising `Cut`
    ends the connection at that byte."""

    status: int
    reason: str
    headers: RawHeaders
    """Without Connection and Transfer-Encoding."""
    framing: Framing
    body: AsyncIterator[bytes]
    trailers: Callable[[], RawHeaders] = tuple
    """Asked after the body's end; sent when it is chunked."""
    wire: Callable[[AsyncIterator[bytes]], AsyncIterator[bytes]] | None = None
    """Applied to the framed bytes, head included, as the last step before the client."""
    release: Callable[[], Awaitable[None]] = field(default=_nothing)
    """Called once when the response was sent or given up."""
    upstream: str = ""
    """Address that was dialled for it."""
    replayed: bool = False
    keep_alive: bool = True
    """False closes the client's connection after it."""
    tunnel: Callable[[ByteStream], ByteStream] = _unchanged
    """Of a 101: the client's side of what follows, as `Interceptor.tunnel` gives it."""
    added: set[tuple[str | None, bytes]] = field(default_factory=set)
    """Marks of what an interceptor has put into the JSON of the body, for those that look for something in there
    (`aegis.faults.added`)."""


def is_ready(body: AsyncIterator[bytes]) -> bool:
    """Whether a body says (by an attribute `ready`) that its next piece, or its end, is here already: then what came
    before may be sent together with it. Bodies that say nothing are taken to have reasons to be slow."""
    return bool(getattr(body, "ready", False))


def is_slow(stream: ByteStream) -> bool:
    """Whether a stream says (by an attribute `slow`) that writing to it may take any time: it bounds itself what the
    client may take for it."""
    return bool(getattr(stream, "slow", False))


Forward = Callable[[Request], Awaitable[ResponsePlan]]
"""Sends a request to its upstream and returns the response's plan. Raises `Failure`."""


@dataclass(slots=True)
class Shut:
    """A connection that is not to come about."""

    how: Literal["refused", "unresolved", "tls"]
    """`refused`: as a port without a listener answers. `unresolved`: the name does not resolve, as `dns` says. `tls`:
    the handshake fails as `tls` says. A proxy's client is told by 502 of the first two."""
    dns: Literal["", "nxdomain", "servfail", "timeout"] = ""
    """How the lookup fails."""
    tls: Literal["", "expired", "wrong-host", "untrusted", "alert", "reset"] = ""
    """What is wrong with the handshake: the certificate, or the server breaks it off."""
    notes: Notes = field(default_factory=Notes)

    @property
    def needs_certificate(self) -> bool:
        """Whether it can strike only where the gateway is the server of the client's TLS."""
        return self.tls in ("expired", "wrong-host", "untrusted")


class Interceptor:
    """Stands between a trial's connections and the outside world. This one changes nothing."""

    async def intercept(self, request: Request, forward: Forward) -> ResponsePlan:
        """May forward the request and change the plan, or answer without forwarding. Raises `Failure` (answered with
        its status) or `Cut` (the connection ends without an answer)."""
        return await forward(request)

    def resolving(self, host: str) -> Shut | None:
        """Asked once for each lookup, by a client that uses no proxy, of a name that policy admits at some port. None:
        let it resolve."""
        return None

    def connecting(self, host: str, port: int, *, proxied: bool) -> Shut | None:
        """Asked once for each connection that policy has admitted, before anything is dialled or answered; for a
        proxy's client that asks by absolute URLs, once for each request. Of a `proxied` one it is the proxy that looks
        up the name: nobody was asked about that before. None: let it come about."""
        return None

    def handshaking(self, host: str, port: int, *, opened: bool) -> Shut | None:
        """Asked once for each ClientHello of a connection that policy has admitted. Where TLS is not `opened`, the
        handshake can be broken off and nothing else be wrong with it. None: let it be."""
        return None

    def tunnel(self, host: str, port: int, client: ByteStream, notes: Notes) -> ByteStream:
        """The client's side of a connection that is carried unread (plain TCP, TLS that is not opened), as the
        other side is to see it: what is written to it may be delayed or cut there. Its methods raise `Failure` to end
        the connection; what is behind it is reset then, unless they have closed it."""
        return client
