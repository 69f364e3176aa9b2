"""Requests out of a client's stream: strict heads, bodies without their transfer coding, deadlines for both."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

import h11

from aegis.gateway import heads, plain
from aegis.gateway.base import ByteStream, RawHeaders, RequestBody
from aegis.gateway.config import Bounds
from aegis.gateway.deadlines import Deadlines
from aegis.gateway.failures import Failure, malformed
from aegis.gateway.streams import READ_BYTES

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Head:
    method: str
    target: str
    headers: RawHeaders
    http_version: str
    keep_alive: bool


class ClientBody(RequestBody, Protocol):
    complete: bool
    """True once its end was read."""


class RequestReader:
    """The client's side of one HTTP connection. Requests may be pipelined; they are taken one after another."""

    def __init__(self, stream: ByteStream, bounds: Bounds, deadlines: Deadlines | None = None) -> None:
        self._stream = stream
        self._bounds = bounds
        self._deadlines = deadlines or Deadlines()
        self._buffer = bytearray()
        self._ended = False

    async def next(self) -> tuple[Head, ClientBody] | None:
        """None when the client is done or was idle for too long. Raises `Failure` for what is no request."""
        if not await self._begun():
            return None
        try:
            raw = await self._head()
        except TimeoutError:
            raise Failure(
                "request-timeout", "the request's headers were never finished", status=408
            ) from None
        bounds = self._bounds
        found = plain.read_request(raw, max_headers=bounds.max_headers, target_bytes=bounds.target_bytes)
        if found is None:
            return self._careful(raw)
        keep_alive = b"close" not in _wishes(found.headers)
        return Head(found.method, found.target, found.headers, "1.1", keep_alive), SizedBody(
            self, found.length
        )

    def _careful(self, raw: bytes) -> tuple[Head, ClientBody]:
        """What is not written in the plainest form: every rule is checked, and h11 reads it."""
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
        headers: RawHeaders = tuple(event.headers.raw_items())
        wishes = _wishes(headers)
        keep_alive = b"close" not in wishes if version == "1.1" else b"keep-alive" in wishes
        head = Head(event.method.decode(), event.target.decode(), headers, version, keep_alive)
        return head, ParsedBody(self, connection, head)

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
        until: float | None = None
        while True:
            # RFC 9112, section 2.2: empty lines before a request line are skipped.
            while self._buffer[:2] == b"\r\n":
                del self._buffer[:2]
            if self._buffer and self._buffer != b"\r":
                return True
            until = until or asyncio.get_running_loop().time() + self._bounds.idle_timeout_s
            try:
                with self._deadlines.until(until):
                    if not await self._receive():
                        return False
            except TimeoutError:
                return False

    async def _head(self) -> bytes:
        """Raises `TimeoutError`, and `Failure` for what can't become a head."""
        checked, until = 0, None
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
            until = until or asyncio.get_running_loop().time() + self._bounds.head_timeout_s
            with self._deadlines.until(until):
                if not await self._receive():
                    raise malformed("the connection ended inside the headers")

    async def _receive(self) -> bool:
        data = b"" if self._ended else await self._stream.read(READ_BYTES)
        self._ended = not data
        self._buffer += data
        return bool(data)

    async def take(self) -> bytes:
        """Whatever the client goes on sending, b"" at the connection's end."""
        if not self._buffer:
            await self._receive()
        return self.rest()

    async def body_bytes(self, most: int) -> bytes:
        """At least one and at most `most` bytes of the current request's body. Raises `Failure`."""
        if not self._buffer:
            try:
                with self._deadlines.within(self._bounds.body_timeout_s):
                    await self._receive()
            except TimeoutError:
                raise Failure(
                    "request-timeout", "the request's body was never finished", status=408
                ) from None
            if not self._buffer:
                raise Failure("client-gone", "the connection ended inside the request's body", status=None)
        if len(self._buffer) <= most:
            return self.rest()
        data = bytes(self._buffer[:most])
        del self._buffer[:most]
        return data

    def give_back(self, data: bytes) -> None:
        self._buffer[:0] = data

    async def invite(self) -> None:
        """Answer `Expect: 100-continue`."""
        await self._stream.write(_CONTINUE)


def _wishes(headers: RawHeaders) -> frozenset[bytes] | set[bytes]:
    """What the client says about the connection. Clients of proxies have a header of their own for it."""
    options = heads.connection_options(headers)
    other = heads.first(headers, b"proxy-connection")
    if other is None:
        return options
    return options | {word.strip().lower() for word in other.split(b",")}


class SizedBody:
    """A body with a Content-Length, or none. Fulfils `ClientBody`."""

    def __init__(self, reader: RequestReader, length: int) -> None:
        self._reader = reader
        self._left = length
        self.length: int | None = length
        self.complete = not length

    async def read(self) -> bytes:
        if not self._left:
            return b""
        data = await self._reader.body_bytes(self._left)
        self._left -= len(data)
        self.complete = not self._left
        return data


class ParsedBody:
    """A body that h11 takes apart: chunked, or asked for by `Expect`. Fulfils `ClientBody`."""

    def __init__(self, reader: RequestReader, connection: h11.Connection, head: Head) -> None:
        self._reader = reader
        self._connection = connection
        length = heads.first(head.headers, b"content-length")
        chunked = heads.first(head.headers, b"transfer-encoding") is not None
        self.length: int | None = None if chunked else int(length or 0)
        self.complete = False
        self._invited = False
        if self.length == 0:
            self._connection.next_event()
            self._finish()

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
                self._finish()
        return b""

    def _finish(self) -> None:
        self.complete = True
        self._reader.give_back(self._connection.trailing_data[0])

    async def _receive(self) -> None:
        if self._connection.they_are_waiting_for_100_continue and not self._invited:
            self._invited = True
            await self._reader.invite()
        self._connection.receive_data(await self._reader.body_bytes(READ_BYTES))
