"""HTTP/1.1 with an upstream: one request at a time on a connection, kept for the next one when both sides agree."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable

import h11

from aegis.gateway.base import Framing, RawHeaders, RequestBody
from aegis.gateway.bodies import ByH11, Chunked, Decoder, Sized, UntilClose
from aegis.gateway.config import Bounds
from aegis.gateway.deadlines import Deadlines
from aegis.gateway.dial import Dialer, Dialled, Endpoint, Wire
from aegis.gateway.failures import Cut, Failure
from aegis.gateway.incoming import choose_framing
from aegis.gateway.plain import ResponseHead, read_response
from aegis.gateway.policy import Policy
from aegis.gateway.streams import READ_BYTES

_MAX_INFORMATIONAL = 32
_PLAIN = b"HTTP/1.1 "
_BARE_LF = re.compile(rb"(?<!\r)\n")
_FRAMED = (b"content-length", b"transfer-encoding")


class UpstreamConnection:
    def __init__(self, dialled: Dialled, bounds: Bounds, deadlines: Deadlines) -> None:
        self._wire = dialled.stream
        self._bounds = bounds
        self._deadlines = deadlines
        self._inbox = b""
        """What arrived and was not looked at."""
        self._piece = b""
        """What was decoded and not yet asked for."""
        self._decoder: Decoder = Sized(0)
        self._keep_alive = True
        self._sent = True
        """Whether the request has left whole."""
        self.address = dialled.address
        self.received = False
        """Whether any byte of the current response has arrived."""
        self.idle_since = 0.0
        self.sending: asyncio.Future[None] | None = None
        """A long request body that is still on its way."""

    @property
    def usable(self) -> bool:
        """Whether nothing has arrived or ended since the last response."""
        return not self._inbox and self._wire.quiet

    async def send(self, method: str, target: str, headers: RawHeaders, body: RequestBody | None) -> None:
        """Send the head, and the body when there is one. Raises `Failure`, also what reading the body raises."""
        self.received = self._sent = False
        data = render_request(method, target, headers)
        if body is None:
            await self._write(data)
        elif body.length is None:
            await self._write(data)
            while piece := await body.read():
                await self._write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await self._write(b"0\r\n\r\n")
        else:
            await self._send_sized(data, body, body.length)
        self._sent = True

    async def _send_sized(self, head: bytes, body: RequestBody, left: int) -> None:
        data = head
        while piece := await body.read():
            left -= len(piece)
            data += piece
            if left < 0:
                break
            await self._write(data)
            data = b""
        if left or data:
            raise RuntimeError("a request's body is not as long as its Content-Length says")

    async def head(self, method: str, target: str, headers: RawHeaders) -> ResponseHead:
        """The final response's head, or a 101, of what was sent. Raises `Failure`."""
        head = bytearray(self._inbox)
        self._inbox, seen = b"", 0
        while True:
            end = head.find(b"\r\n\r\n", max(0, seen - 3))
            if end >= 0:
                break
            if _BARE_LF.search(head, max(0, seen - 1)) or not _PLAIN.startswith(bytes(head[: len(_PLAIN)])):
                return await self._careful_head(bytes(head), method, target, headers)
            seen = len(head)
            if seen > self._bounds.upstream_head_bytes or not (data := await self._receive()):
                return await self._careful_head(bytes(head), method, target, headers)
            head += data
        found = read_response(bytes(head[: end + 4]), method)
        if found is None:
            return await self._careful_head(bytes(head), method, target, headers)
        self._inbox = bytes(head[end + 4 :])
        self._keep_alive = found.keep_alive
        if found.framing is Framing.CHUNKED:
            self._decoder = Chunked(self._bounds.upstream_head_bytes)
        else:
            self._decoder = Sized(found.length)
        return found

    async def _careful_head(self, data: bytes, method: str, target: str, headers: RawHeaders) -> ResponseHead:
        """What is not written in the plainest form, as h11 reads it."""
        connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=self._bounds.upstream_head_bytes)
        unframed = [(key, value) for key, value in headers if key.lower() not in _FRAMED]
        connection.send(h11.Request(method=method, target=target, headers=unframed))
        connection.send(h11.EndOfMessage())
        informational = 0
        try:
            connection.receive_data(data)
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    connection.receive_data(await self._receive())
                elif isinstance(event, h11.ConnectionClosed):
                    raise Failure("upstream-closed", f"{self.address} closed without an answer", status=None)
                elif isinstance(event, h11.Response) or (
                    isinstance(event, h11.InformationalResponse) and event.status_code == 101
                ):
                    return self._by_h11(connection, event, method)
                else:
                    informational += 1
                    if informational > _MAX_INFORMATIONAL:
                        raise Failure("upstream-protocol", f"{self.address} sends 1xx responses only")
        except h11.RemoteProtocolError as error:
            if not self.received:
                raise Failure(
                    "upstream-closed", f"{self.address} closed without an answer", status=None
                ) from error
            raise Failure("upstream-protocol", f"{self.address}: {str(error)[:200]}") from error

    def _by_h11(
        self, connection: h11.Connection, event: h11.Response | h11.InformationalResponse, method: str
    ) -> ResponseHead:
        headers: RawHeaders = tuple(event.headers.raw_items())
        reason = event.reason.decode("latin-1")
        if event.status_code == 101:
            self._inbox = connection.trailing_data[0]
            return ResponseHead(101, reason, headers, Framing.NONE, 0, False)
        try:
            decoder = ByH11(connection)
        except ValueError as error:
            raise Failure("upstream-protocol", f"{self.address}: {error}") from error
        self._decoder, self._piece, self._inbox = decoder, decoder.first, decoder.rest
        self._keep_alive = True
        framing = choose_framing(method, event.status_code, headers)
        if framing is Framing.CLOSE:
            self._decoder = UntilClose()
        return ResponseHead(event.status_code, reason, headers, framing, 0, True)

    async def piece(self) -> bytes:
        """The next piece of the body, b"" at its end. Raises `Failure`."""
        if self._piece:
            data, self._piece = self._piece, b""
            return data
        decoder = self._decoder
        try:
            while not decoder.done:
                data, self._inbox = self._inbox, b""
                if data or (data := await self._receive()):
                    piece = decoder.decode(data)
                    self._inbox = decoder.rest
                    if piece:
                        return piece
                else:
                    decoder.end()
                    self._check_end()
        except ValueError as error:
            raise Failure("upstream-protocol", f"{self.address} {error}") from error
        return b""

    def _check_end(self) -> None:
        """A body may end with the connection, but not with a connection that was cut."""
        if self._wire.ragged:
            text = "ended without TLS's close_notify: the response may be cut short"
            raise Failure("upstream-closed", f"{self.address} {text}")

    @property
    def trailers(self) -> RawHeaders:
        return self._decoder.trailers

    @property
    def ready(self) -> bool:
        """Whether the next piece, or the end, is here already."""
        return bool(self._piece or self._inbox) or self._decoder.done

    def next_cycle(self) -> bool:
        """Make it ready for another request; False when it can't take one."""
        if self.sending is not None and not self.sending.done():
            return False
        self.sending = None
        decoder = self._decoder
        if isinstance(decoder, ByH11) and not decoder.keep_alive:
            return False
        return decoder.done and self._keep_alive and self._sent and self.usable

    def as_stream(self) -> tuple[Wire, bytes]:
        """After a 101: the bare connection, and what of it was read already."""
        return self._wire, self._inbox

    def close(self) -> None:
        if self.sending is not None:
            self.sending.cancel()
            self.sending.add_done_callback(_retrieve)
        self._wire.drop()

    async def _write(self, data: bytes) -> None:
        try:
            with self._deadlines.within(self._bounds.response_timeout_s):
                await self._wire.write(data)
        except TimeoutError:
            raise Failure(
                "upstream-timeout", f"{self.address} does not read the request", status=504
            ) from None
        except OSError as error:
            raise Failure("upstream-reset", f"{self.address} reset the connection", status=None) from error

    async def _receive(self) -> bytes:
        try:
            with self._deadlines.within(self._bounds.response_timeout_s):
                data = await self._wire.read(READ_BYTES)
        except TimeoutError:
            raise Failure("upstream-timeout", f"{self.address} owes a response", status=504) from None
        except OSError as error:
            raise Failure("upstream-reset", f"{self.address} reset the connection", status=None) from error
        self.received = self.received or bool(data)
        return data


def render_request(method: str, target: str, headers: RawHeaders) -> bytes:
    """Raises `ValueError` when a line end stands inside what must be one line: it would begin another request."""
    lines = [f"{method} {target} HTTP/1.1".encode("latin-1")]
    lines += [b"%s: %s" % header for header in headers]
    data = b"\r\n".join(lines)
    if data.count(b"\n") != len(headers) or data.count(b"\r") != len(headers):
        raise ValueError("a line end inside a request's head")
    return data + b"\r\n\r\n"


def _retrieve(task: asyncio.Future[None]) -> None:
    if not task.cancelled():
        task.exception()


class UpstreamBody:
    """A response's body piece by piece. What breaks it off becomes a `Cut` at that byte."""

    def __init__(
        self, connection: UpstreamConnection, done: Callable[[bool], None], framing: Framing
    ) -> None:
        self._connection = connection
        self._done = done
        self._framing = framing
        self._ended = False
        self.trailers: RawHeaders = ()

    @property
    def ready(self) -> bool:
        """Whether the next piece, or the end, is here already: nothing is gained by sending what came before it."""
        return self._ended or self._connection.ready

    def __aiter__(self) -> UpstreamBody:
        return self

    async def __anext__(self) -> bytes:
        if self._ended:
            raise StopAsyncIteration
        try:
            piece = await self._connection.piece()
        except Failure as failure:
            self._end(False)
            raise Cut(
                str(failure),
                reset=failure.kind == "upstream-reset",
                ragged=self._framing is Framing.CLOSE,
            ) from failure
        if not piece:
            self.trailers = self._connection.trailers
            self._end(True)
            raise StopAsyncIteration
        return piece

    async def release(self) -> None:
        """Give the connection up unless the body was read to its end."""
        self._end(False)

    def _end(self, whole: bool) -> None:
        if not self._ended:
            self._ended = True
            self._done(whole)


class Pool:
    """Kept-alive upstream connections of one session."""

    def __init__(self, dialer: Dialer, policy: Policy, bounds: Bounds, deadlines: Deadlines) -> None:
        self._dialer = dialer
        self._policy = policy
        self._bounds = bounds
        self._deadlines = deadlines
        self._idle: dict[Endpoint, list[UpstreamConnection]] = {}

    def reuse(self, to: Endpoint) -> UpstreamConnection | None:
        """A connection that is very likely still open, or None."""
        now = asyncio.get_running_loop().time()
        idle = self._idle.get(to, [])
        while idle:
            connection = idle.pop()
            if connection.usable and now - connection.idle_since < self._bounds.reuse_idle_s:
                return connection
            connection.close()
        return None

    async def open(self, to: Endpoint) -> UpstreamConnection:
        """Raises `Failure`."""
        dialled = await self._dialer.connect(to, self._policy)
        return UpstreamConnection(dialled, self._bounds, self._deadlines)

    def give_back(self, to: Endpoint, connection: UpstreamConnection, whole: bool) -> None:
        if not whole or not connection.next_cycle():
            connection.close()
            return
        connection.idle_since = asyncio.get_running_loop().time()
        idle = self._idle.setdefault(to, [])
        idle.append(connection)
        if len(idle) > 32:
            idle.pop(0).close()

    def close(self) -> None:
        for idle in self._idle.values():
            for connection in idle:
                with contextlib.suppress(OSError):
                    connection.close()
        self._idle.clear()
