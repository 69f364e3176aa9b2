"""TLS over any `ByteStream`."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

from aegis.gateway.base import ByteStream
from aegis.gateway.streams import READ_BYTES


class TLSStream:
    """One TLS connection. Make it with `accept`.

    A peer's close_notify and a bare end of the connection both read as the end: clients' libraries don't tell them
    apart either. `close` sends our close_notify and doesn't wait for the peer's.
    """

    def __init__(self, inner: ByteStream, context: ssl.SSLContext) -> None:
        self._inner = inner
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._flushing = asyncio.Lock()
        self._notified = False

    @classmethod
    async def accept(cls, inner: ByteStream, context: ssl.SSLContext) -> TLSStream:
        """Serve the handshake. Raises `ssl.SSLError` when the client refuses it, `OSError` when it goes away."""
        stream = cls(inner, context)
        while True:
            try:
                stream._object.do_handshake()
            except ssl.SSLWantReadError:
                await stream._flush()
                if not await stream._receive():
                    raise ConnectionResetError("the client left during the TLS handshake") from None
            except ssl.SSLError:
                with contextlib.suppress(OSError):
                    await stream._flush()
                raise
            else:
                # Session tickets wait in the buffer; they go out with the first bytes of a response.
                await stream._flush()
                return stream

    async def read(self, max_bytes: int) -> bytes:
        while True:
            try:
                return self._object.read(max_bytes)
            except ssl.SSLWantReadError:
                if self._outgoing.pending:
                    await self._flush()
                if not await self._receive():
                    self._incoming.write_eof()
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""
            except ssl.SSLError as error:
                raise ConnectionResetError(f"TLS: {error.reason}") from error

    async def write(self, data: bytes) -> None:
        view = memoryview(data)
        for at in range(0, len(view), READ_BYTES):
            try:
                self._object.write(view[at : at + READ_BYTES])
            except ssl.SSLError as error:
                raise ConnectionResetError(f"TLS: {error.reason}") from error
            await self._flush()

    async def write_eof(self) -> None:
        await self._notify()
        await self._inner.write_eof()

    async def close(self) -> None:
        with contextlib.suppress(OSError):
            await self._notify()
        await self._inner.close()

    async def abort(self) -> None:
        await self._inner.abort()

    async def _notify(self) -> None:
        if not self._notified:
            self._notified = True
            # It only waits for the peer's notification, which nobody needs.
            with contextlib.suppress(ssl.SSLError, ValueError):
                self._object.unwrap()
            await self._flush()

    async def _receive(self) -> bool:
        data = await self._inner.read(READ_BYTES)
        self._incoming.write(data)
        return bool(data)

    async def _flush(self) -> None:
        # Two tasks may write (a tunnel reads and writes at once); records must leave in the order of their making.
        async with self._flushing:
            if self._outgoing.pending:
                await self._inner.write(self._outgoing.read())
