"""TLS over any `ByteStream`, as a server and as a client."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

from aegis.gateway.base import ByteStream
from aegis.gateway.sockets import SocketStream
from aegis.gateway.streams import READ_BYTES


class TLSStream:
    """One TLS connection. Make it with `accept`, or with `TLSUpstream.connect`.

    A peer's close_notify and a bare end of the connection both read as the end; `ragged` tells them apart. `close`
    sends our close_notify and doesn't wait for the peer's.
    """

    def __init__(
        self, inner: ByteStream, context: ssl.SSLContext, *, server_hostname: str | None = None
    ) -> None:
        self._inner = inner
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=server_hostname is None,
            server_hostname=server_hostname,
        )
        self._flushing = asyncio.Lock()
        self._notified = False
        self._ended = False
        self.ragged = False
        """Whether the connection ended without the peer's close_notify: what came may be cut short."""

    @classmethod
    async def accept(cls, inner: ByteStream, context: ssl.SSLContext) -> TLSStream:
        """Serve the handshake. Raises `ssl.SSLError` when the client refuses it, `OSError` when it goes away."""
        stream = cls(inner, context)
        await stream._handshake()
        return stream

    async def _handshake(self) -> None:
        while True:
            try:
                self._object.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                if not await self._receive():
                    raise ConnectionResetError("the peer left during the TLS handshake") from None
            except ssl.SSLError:
                with contextlib.suppress(OSError):
                    await self._flush()
                raise
            else:
                await self._flush()
                return

    async def read(self, max_bytes: int) -> bytes:
        while not self._ended:
            if self._incoming.pending or self._object.pending():
                data = self._decrypted(max_bytes)
                if data or self._over():
                    return data
                # An answer to the peer's message, such as a change of keys.
                if self._outgoing.pending:
                    await self._flush()
            if not await self._receive():
                self._incoming.write_eof()
                if not (data := self._decrypted(max_bytes)):
                    self._ended = True
                return data
        return b""

    def _over(self) -> bool:
        return self._ended

    def _decrypted(self, max_bytes: int) -> bytes:
        """What can be read now: a record holds 16 KiB at most, and as many are taken as are there."""
        pieces: list[bytes] = []
        left = max_bytes
        try:
            while left > 0:
                piece = self._object.read(left)
                if not piece:
                    self._ended = True
                    break
                pieces.append(piece)
                left -= len(piece)
                if not self._incoming.pending and not self._object.pending():
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLEOFError:
            self._ended = self.ragged = True
        except ssl.SSLError as error:
            if not pieces:
                raise ConnectionResetError(f"TLS: {error.reason}") from error
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def write(self, data: bytes) -> None:
        if len(data) <= READ_BYTES:
            self._encrypt(data)
            await self._flush()
            return
        view = memoryview(data)
        for at in range(0, len(view), READ_BYTES):
            self._encrypt(view[at : at + READ_BYTES])
            await self._flush()

    def _encrypt(self, data: bytes | memoryview) -> None:
        if data:
            try:
                self._object.write(data)
            except ssl.SSLError as error:
                raise ConnectionResetError(f"TLS: {error.reason}") from error

    async def write_eof(self) -> None:
        await self._notify()
        await self._inner.write_eof()

    async def close(self) -> None:
        with contextlib.suppress(OSError):
            await self._notify()
        await self._inner.close()

    async def end_ragged(self) -> None:
        """Close without close_notify: the peer can tell that what it got may be cut short."""
        self._notified = True
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


class TLSUpstream(TLSStream):
    """The client's side, over a socket of ours."""

    _inner: SocketStream

    @classmethod
    async def connect(cls, inner: SocketStream, context: ssl.SSLContext, server_name: str) -> TLSUpstream:
        """Raises `ssl.SSLError` when the certificate is not for that name or the peer speaks no TLS, `OSError` when it
        goes away."""
        stream = cls(inner, context, server_hostname=server_name)
        await stream._handshake()
        return stream

    @property
    def quiet(self) -> bool:
        """Whether it is open and nothing has arrived that was not read. Session tickets don't count."""
        if data := self._inner.take(READ_BYTES):
            self._incoming.write(data)
        if not self._inner.quiet or self._ended:
            return False
        if not self._incoming.pending and not self._object.pending():
            return True
        try:
            self._object.read(1)
        except ssl.SSLWantReadError:
            return True
        except ssl.SSLError:
            pass
        return False

    def drop(self) -> None:
        """Close at once; what was not sent yet is lost."""
        self._inner.drop()
