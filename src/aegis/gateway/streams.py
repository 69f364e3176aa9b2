"""A stream whose first bytes were read already."""

from __future__ import annotations

from aegis.gateway.base import ByteStream

READ_BYTES = 64 * 1024


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

    async def end_ragged(self) -> None:
        """Close, inside TLS without close_notify."""
        await getattr(self._inner, "end_ragged", self._inner.close)()

    async def abort(self) -> None:
        await self._inner.abort()
