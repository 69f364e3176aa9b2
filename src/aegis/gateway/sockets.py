"""A TCP socket as a `ByteStream`, without the layers of asyncio's own streams."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from typing import Any, cast

from aegis.gateway.streams import READ_BYTES

_INBOX_BYTES = 256 * 1024
"""What may wait to be read before the socket isn't read any more."""

_shared = threading.local()


def _receive_buffer() -> memoryview:
    """One for all sockets of a thread: the loop fills it and hands it over in one step."""
    view: memoryview | None = getattr(_shared, "view", None)
    if view is None:
        view = _shared.view = memoryview(bytearray(READ_BYTES))
    return view


class SocketStream(asyncio.BufferedProtocol):
    """Fulfils `ByteStream`. For `create_connection`; or, with `accepted`, for `create_server`: it is called with each
    new connection, in a task of its own."""

    ragged = False
    """As `TLSStream.ragged`: TCP tells an end from a reset by itself."""

    def __init__(self, accepted: Callable[[SocketStream], Coroutine[Any, Any, None]] | None = None) -> None:
        self._accepted = accepted
        self._task: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._view = _receive_buffer()
        self._transport: asyncio.Transport
        self._inbox = bytearray()
        self._resting = False
        self._ended = False
        self._lost = False
        self._error: Exception | None = None
        self._full = False
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None

    # -- ByteStream ------------------------------------------------------------------------------------------------

    async def read(self, max_bytes: int) -> bytes:
        while not self._inbox:
            if self._error is not None:
                raise ConnectionResetError(str(self._error)) from self._error
            if self._ended or self._lost:
                return b""
            self._reader = self._loop.create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        return self.take(max_bytes)

    def take(self, max_bytes: int) -> bytes:
        """What has arrived already, b"" when nothing has."""
        inbox = self._inbox
        if len(inbox) <= max_bytes:
            data = bytes(inbox)
            inbox.clear()
        else:
            data = bytes(memoryview(inbox)[:max_bytes])
            del inbox[:max_bytes]
        if self._resting and len(inbox) <= _INBOX_BYTES // 2:
            self._resting = False
            if not self._lost:
                self._transport.resume_reading()
        return data

    async def write(self, data: bytes) -> None:
        if self._lost or self._transport.is_closing():
            raise ConnectionResetError("the connection is gone") from self._error
        self._transport.write(data)
        while self._full and not self._lost:
            self._writer = self._loop.create_future()
            try:
                await self._writer
            finally:
                self._writer = None

    async def write_eof(self) -> None:
        if not self._lost and not self._transport.is_closing():
            with contextlib.suppress(OSError):
                self._transport.write_eof()

    async def close(self) -> None:
        self._transport.close()

    async def abort(self) -> None:
        linger_zero(self._transport)
        self._transport.abort()

    # -- for connections that the gateway has opened ---------------------------------------------------------------

    @property
    def quiet(self) -> bool:
        """Whether it is open and nothing has arrived that was not read."""
        return not (self._inbox or self._ended or self._lost or self._transport.is_closing())

    def drop(self) -> None:
        """Close at once; what was not sent yet is lost."""
        self._transport.abort()

    # -- asyncio's side --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._accepted is not None:
            self._task = self._loop.create_task(self._accepted(self))

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        self._inbox += self._view[:nbytes]
        if len(self._inbox) > _INBOX_BYTES and not self._resting:
            self._resting = True
            self._transport.pause_reading()
        self._wake(self._reader)

    def eof_received(self) -> bool:
        self._ended = True
        self._wake(self._reader)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost, self._error = True, exc
        self._wake(self._reader)
        self._wake(self._writer)

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._wake(self._writer)

    @staticmethod
    def _wake(waiter: asyncio.Future[None] | None) -> None:
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


def linger_zero(transport: asyncio.BaseTransport) -> None:
    """Make the socket's close a reset."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
