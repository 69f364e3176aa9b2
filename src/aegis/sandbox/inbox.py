"""What a machine has sent on one channel, until somebody reads it."""

from __future__ import annotations

import asyncio

from aegis.sandbox.guest import wire


class Inbox:
    """One channel's bytes on their way to a reader. Unread bytes are never more than the window granted."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._arrived = asyncio.Event()
        self.allowed = wire.WINDOW
        self.ended = False

    @property
    def unread(self) -> bytes:
        return b"".join(self._chunks)

    def put(self, data: bytes) -> None:
        if self.ended or len(data) > self.allowed:
            raise wire.WireError("more data than was granted")
        self.allowed -= len(data)
        self._chunks.append(data)
        self._arrived.set()

    def end(self) -> None:
        self.ended = True
        self._arrived.set()

    async def take(self) -> bytes:
        """All bytes that have arrived; b"" at the end."""
        while not self._chunks:
            if self.ended:
                return b""
            self._arrived.clear()
            await self._arrived.wait()
        data = b"".join(self._chunks)
        self._chunks.clear()
        return data
