"""Adapters: asyncio's streams as `ByteStream`, and a stream whose first bytes were read already."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

from aegis.gateway.base import ByteStream

READ_BYTES = 64 * 1024


class AsyncioStream:
    """A socket of asyncio as a `ByteStream`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self, max_bytes: int) -> bytes:
        return await self._reader.read(max_bytes)

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def write_eof(self) -> None:
        if self._writer.is_closing():
            return
        if not self._writer.can_write_eof():
            # asyncio's TLS has no half-closed state; a peer that waits for our end would wait for ever.
            self._writer.close()
            return
        with contextlib.suppress(OSError):
            self._writer.write_eof()

    async def close(self) -> None:
        self._writer.close()

    async def abort(self) -> None:
        linger_zero(self._writer)
        self._writer.transport.abort()


def linger_zero(writer: asyncio.StreamWriter) -> None:
    """Make the socket's close a reset."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Peekable:
    """A stream that can be looked at before it is read."""

    def __init__(self, inner: ByteStream, first: bytes = b"") -> None:
        self._inner = inner
        self._first = first
        self._ended = False

    @property
    def peeked(self) -> bytes:
        """What was read from the other side and not yet taken."""
        return self._first

    @property
    def ended(self) -> bool:
        return self._ended

    async def more(self) -> bool:
        """Read on without taking anything; False at the end."""
        data = await self._inner.read(READ_BYTES) if not self._ended else b""
        self._ended = not data
        self._first += data
        return bool(data)

    async def read(self, max_bytes: int) -> bytes:
        if self._first:
            data, self._first = self._first[:max_bytes], self._first[max_bytes:]
            return data
        return b"" if self._ended else await self._inner.read(max_bytes)

    async def write(self, data: bytes) -> None:
        await self._inner.write(data)

    async def write_eof(self) -> None:
        await self._inner.write_eof()

    async def close(self) -> None:
        await self._inner.close()

    async def abort(self) -> None:
        await self._inner.abort()
