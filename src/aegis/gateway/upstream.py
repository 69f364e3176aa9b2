"""HTTP/1.1 with an upstream: one request at a time on a connection, kept for the next one when both sides agree."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import h11

from aegis.gateway.base import RawHeaders, RequestBody
from aegis.gateway.config import Bounds
from aegis.gateway.dial import Dialer, Dialled, Endpoint
from aegis.gateway.failures import Cut, Failure
from aegis.gateway.streams import READ_BYTES, AsyncioStream

_MAX_INFORMATIONAL = 32


class UpstreamConnection:
    def __init__(self, dialled: Dialled, bounds: Bounds) -> None:
        self._dialled = dialled
        self._bounds = bounds
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=bounds.upstream_head_bytes)
        self.address = dialled.address
        self.received = False
        """Whether any byte of the current response has arrived."""
        self.idle_since = 0.0
        self.sending: asyncio.Future[None] | None = None
        """A long request body that is still on its way."""

    @property
    def usable(self) -> bool:
        """Whether nothing has arrived or ended since the last response."""
        reader = self._dialled.reader
        return not (reader.at_eof() or self._dialled.writer.is_closing() or reader._buffer)  # type: ignore[attr-defined]

    async def send(self, method: str, target: str, headers: RawHeaders, body: RequestBody | None) -> None:
        """Send the head, and the body when there is one. Raises `Failure`, also what reading the body raises."""
        self.received = False
        request = h11.Request(method=method, target=target, headers=list(headers))
        data = self._http.send(request) or b""
        if body is None:
            data += self._http.send(h11.EndOfMessage()) or b""
            await self._write(data)
            return
        piece = await body.read() if body.length is not None else b""
        if piece:
            data += self._http.send(h11.Data(data=piece)) or b""
        await self._write(data)
        while piece := await body.read():
            await self._write(self._http.send(h11.Data(data=piece)) or b"")
        await self._write(self._http.send(h11.EndOfMessage()) or b"")

    async def head(self) -> h11.Response | h11.InformationalResponse:
        """The final response's head, or a 101. Raises `Failure`."""
        for _ in range(_MAX_INFORMATIONAL):
            event = await self._event()
            if isinstance(event, h11.Response):
                return event
            if isinstance(event, h11.InformationalResponse) and event.status_code == 101:
                return event
            if isinstance(event, h11.ConnectionClosed):
                raise Failure("upstream-closed", f"{self.address} closed without an answer", status=None)
        raise Failure("upstream-protocol", f"{self.address} sends 1xx responses only")

    async def piece(self) -> tuple[bytes, RawHeaders] | bytes:
        """The next piece of the body; at its end a pair of b"" and the trailers. Raises `Failure`."""
        event = await self._event()
        if isinstance(event, h11.Data):
            return bytes(event.data)
        trailers = event.headers.raw_items() if isinstance(event, h11.EndOfMessage) else ()
        return b"", tuple(trailers)

    @property
    def buffered(self) -> bool:
        """Whether bytes behind the response's head have arrived with it."""
        return bool(self._http.trailing_data[0])

    def next_cycle(self) -> bool:
        """Make it ready for another request; False when it can't take one."""
        if self.sending is not None and not self.sending.done():
            return False
        self.sending = None
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        if self._http.trailing_data[0]:
            return False
        self._http.start_next_cycle()
        return self.usable

    def as_stream(self) -> tuple[AsyncioStream, bytes]:
        """After a 101: the bare connection, and what of it was read already."""
        return AsyncioStream(self._dialled.reader, self._dialled.writer), self._http.trailing_data[0]

    def close(self) -> None:
        if self.sending is not None:
            self.sending.cancel()
            self.sending.add_done_callback(_retrieve)
        self._dialled.writer.transport.abort()

    async def _write(self, data: bytes) -> None:
        try:
            async with asyncio.timeout(self._bounds.response_timeout_s):
                self._dialled.writer.write(data)
                await self._dialled.writer.drain()
        except TimeoutError:
            raise Failure(
                "upstream-timeout", f"{self.address} does not read the request", status=504
            ) from None
        except OSError as error:
            raise Failure("upstream-reset", f"{self.address} reset the connection", status=None) from error

    async def _event(self) -> h11.Event:
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                self._http.receive_data(await self._receive())
        except h11.RemoteProtocolError as error:
            if not self.received:
                raise Failure(
                    "upstream-closed", f"{self.address} closed without an answer", status=None
                ) from error
            raise Failure("upstream-protocol", f"{self.address}: {str(error)[:200]}") from error
        if event is h11.PAUSED:
            raise Failure("upstream-protocol", f"{self.address} sent more than one response")
        assert isinstance(event, h11.Event)
        return event

    async def _receive(self) -> bytes:
        try:
            async with asyncio.timeout(self._bounds.response_timeout_s):
                data = await self._dialled.reader.read(READ_BYTES)
        except TimeoutError:
            raise Failure("upstream-timeout", f"{self.address} owes a response", status=504) from None
        except OSError as error:
            raise Failure("upstream-reset", f"{self.address} reset the connection", status=None) from error
        self.received = self.received or bool(data)
        return data


def _retrieve(task: asyncio.Future[None]) -> None:
    if not task.cancelled():
        task.exception()


class UpstreamBody:
    """A response's body piece by piece. What breaks it off becomes a `Cut` at that byte."""

    def __init__(self, connection: UpstreamConnection, done: Callable[[bool], None]) -> None:
        self._connection = connection
        self._done = done
        self._ended = False
        self.trailers: RawHeaders = ()

    def __aiter__(self) -> UpstreamBody:
        return self

    async def __anext__(self) -> bytes:
        if self._ended:
            raise StopAsyncIteration
        try:
            piece = await self._connection.piece()
        except Failure as failure:
            self._end(False)
            raise Cut(str(failure), reset=failure.kind == "upstream-reset") from failure
        if isinstance(piece, bytes):
            return piece
        self.trailers = piece[1]
        self._end(True)
        raise StopAsyncIteration

    async def release(self) -> None:
        """Give the connection up unless the body was read to its end."""
        self._end(False)

    def _end(self, whole: bool) -> None:
        if not self._ended:
            self._ended = True
            self._done(whole)


class Pool:
    """Kept-alive upstream connections of one session."""

    def __init__(self, dialer: Dialer, bounds: Bounds) -> None:
        self._dialer = dialer
        self._bounds = bounds
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
        return UpstreamConnection(await self._dialer.connect(to), self._bounds)

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
