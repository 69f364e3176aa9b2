"""Requests out of a client's stream: strict heads, bodies without their transfer coding, deadlines for both."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import h11

from aegis.gateway import heads
from aegis.gateway.base import ByteStream, RawHeaders
from aegis.gateway.config import Bounds
from aegis.gateway.failures import Failure, malformed
from aegis.gateway.streams import READ_BYTES

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Head:
    method: str
    target: str
    headers: RawHeaders
    http_version: str

    @property
    def keep_alive(self) -> bool:
        options = heads.connection_options(self.headers)
        options |= {
            word.strip().lower()
            for word in (heads.first(self.headers, b"proxy-connection") or b"").split(b",")
            if word
        }
        return b"close" not in options if self.http_version == "1.1" else b"keep-alive" in options


class RequestReader:
    """The client's side of one HTTP connection. Requests may be pipelined; they are taken one after another."""

    def __init__(self, stream: ByteStream, bounds: Bounds) -> None:
        self._stream = stream
        self._bounds = bounds
        self._buffer = bytearray()
        self._ended = False
        self.partial = b""
        """The beginning of a head that could not be read, for the trace."""

    async def next(self) -> tuple[Head, ClientBody] | None:
        """None when the client is done or was idle for too long. Raises `Failure` for what is no request."""
        if not await self._begun():
            return None
        try:
            async with asyncio.timeout(self._bounds.head_timeout_s):
                raw = await self._head()
        except TimeoutError:
            self.partial = bytes(self._buffer[:200])
            raise Failure(
                "request-timeout", "the request's headers were never finished", status=408
            ) from None
        except Failure:
            self.partial = bytes(self._buffer[:200])
            raise
        self.partial = raw[:200]
        heads.check_head(raw, self._bounds)
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=self._bounds.head_bytes)
        try:
            connection.receive_data(raw)
            event = connection.next_event()
        except h11.RemoteProtocolError as error:
            raise malformed(str(error)[:200]) from error
        if not isinstance(event, h11.Request):
            raise malformed("no request line")
        version = event.http_version.decode()
        if version not in ("1.0", "1.1"):
            raise malformed(f"HTTP version {version}")
        head = Head(event.method.decode(), event.target.decode(), tuple(event.headers.raw_items()), version)
        return head, ClientBody(self, connection, head)

    async def until_gone(self) -> None:
        """Returns when the client ends its side. Call it only while no request is being read; what arrives
        meanwhile is kept."""
        while not self._ended:
            if len(self._buffer) > self._bounds.head_bytes:
                # Pipelined so far ahead that nothing more can be learnt without unbounded memory.
                await asyncio.Event().wait()
            await self._receive()

    def rest(self) -> bytes:
        """What was read and belongs to no request: the first bytes of a tunnel."""
        data = bytes(self._buffer)
        self._buffer.clear()
        return data

    async def _begun(self) -> bool:
        try:
            async with asyncio.timeout(self._bounds.idle_timeout_s):
                while True:
                    # RFC 9112, section 2.2: empty lines before a request line are skipped.
                    while self._buffer[:2] == b"\r\n":
                        del self._buffer[:2]
                    if self._buffer and self._buffer != b"\r":
                        return True
                    if not await self._receive():
                        return False
        except TimeoutError:
            return False

    async def _head(self) -> bytes:
        checked = 0
        while True:
            end = self._buffer.find(b"\r\n\r\n", max(0, checked - 3))
            if end >= 0 and end + 4 <= self._bounds.head_bytes:
                raw = bytes(self._buffer[: end + 4])
                del self._buffer[: end + 4]
                return raw
            if end >= 0 or len(self._buffer) > self._bounds.head_bytes:
                raise malformed(f"headers longer than {self._bounds.head_bytes} bytes")
            heads.check_partial(self._buffer, checked)
            checked = len(self._buffer)
            if not await self._receive():
                raise malformed("the connection ended inside the headers")

    async def _receive(self) -> bool:
        data = b"" if self._ended else await self._stream.read(READ_BYTES)
        self._ended = not data
        self._buffer += data
        return bool(data)

    async def take(self) -> bytes:
        """Bytes of the current request's body, b"" at the connection's end."""
        if not self._buffer:
            await self._receive()
        return self.rest()

    def give_back(self, data: bytes) -> None:
        self._buffer[:0] = data

    async def invite(self) -> None:
        """Answer `Expect: 100-continue`."""
        await self._stream.write(_CONTINUE)


class ClientBody:
    """Fulfils `RequestBody`. `complete` is true once its end was read."""

    def __init__(self, reader: RequestReader, connection: h11.Connection, head: Head) -> None:
        self._reader = reader
        self._connection = connection
        self._timeout_s = reader._bounds.body_timeout_s
        length = heads.first(head.headers, b"content-length")
        chunked = heads.first(head.headers, b"transfer-encoding") is not None
        self.length: int | None = None if chunked else int(length or 0)
        self.complete = False
        self._invited = False
        self.trailers: RawHeaders = ()
        if self.length == 0:
            self._finish(self._connection.next_event())

    async def read(self) -> bytes:
        while not self.complete:
            try:
                event = self._connection.next_event()
            except h11.RemoteProtocolError as error:
                raise malformed(f"request body: {str(error)[:200]}") from error
            if event is h11.NEED_DATA:
                await self._receive()
            elif isinstance(event, h11.Data):
                return bytes(event.data)
            else:
                self._finish(event)
        return b""

    def _finish(self, event: object) -> None:
        self.complete = True
        if isinstance(event, h11.EndOfMessage):
            self.trailers = tuple(event.headers.raw_items())
        self._reader.give_back(self._connection.trailing_data[0])

    async def _receive(self) -> None:
        if self._connection.they_are_waiting_for_100_continue and not self._invited:
            self._invited = True
            await self._reader.invite()
        try:
            async with asyncio.timeout(self._timeout_s):
                data = await self._reader.take()
        except TimeoutError:
            raise Failure("request-timeout", "the request's body was never finished", status=408) from None
        if not data:
            raise Failure("client-gone", "the connection ended inside the request's body", status=None)
        self._connection.receive_data(data)
