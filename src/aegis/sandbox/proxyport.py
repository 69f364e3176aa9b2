"""A proxy port on this host's loopback for one trial of the driver `process`: its connections reach the handler.

Nothing makes a client use it: a program that ignores the proxy variables goes straight out.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress

from aegis.errors import SandboxStartError
from aegis.sandbox.connections import HANDLER_GRACE_S, MAX_CONNECTIONS, report_trouble, serve
from aegis.sandbox.network import Destination, NetworkHandler

BUFFER_BYTES = 65536
LINGER_S = 30.0
"""How long a client may take to read what is left, and to end its side, when the handler is done."""


class SocketConnection:
    """Fulfils `Connection` over a socket of asyncio."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._closed = False

    async def read(self, max_bytes: int) -> bytes:
        if self._closed:
            raise ConnectionResetError("the connection was closed")
        return await self._reader.read(max_bytes)

    async def write(self, data: bytes) -> None:
        if self._closed or self._writer.is_closing():
            raise ConnectionResetError("the client is gone")
        self._writer.write(data)
        await self._writer.drain()

    async def write_eof(self) -> None:
        if not self._writer.is_closing():
            with suppress(OSError):
                self._writer.write_eof()

    async def close(self) -> None:
        await self.write_eof()
        self._closed = True

    async def abort(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._closed = True
        sock = self._writer.get_extra_info("socket")
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def finish(self) -> None:
        """Wait until the client has ended its side too: closing with unread data would reset the connection, and take
        undelivered bytes with it. What still comes is dropped."""
        try:
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(LINGER_S):
                    while await self._reader.read(BUFFER_BYTES):
                        pass
        finally:
            self.leave()

    def leave(self) -> None:
        """Close the socket; what was written is sent. Never raises."""
        self._writer.close()


class ProxyPort:
    """Listens from `open` to `close`."""

    def __init__(self, handler: NetworkHandler) -> None:
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self._open: set[SocketConnection] = set()
        self.url = ""

    async def open(self) -> None:
        """Raises SandboxStartError."""
        try:
            self._server = await asyncio.start_server(
                self._accepted, "127.0.0.1", 0, limit=BUFFER_BYTES, backlog=512
            )
        except OSError as error:
            raise SandboxStartError(f"cannot listen on this host's loopback: {error}") from None
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """Reset what is left. Never raises."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in self._serving:
            task.cancel()
        if self._serving:
            await asyncio.wait(self._serving, timeout=HANDLER_GRACE_S)
        for connection in list(self._open):
            await connection.abort()

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Not a coroutine: of one that is cancelled, asyncio before Python 3.12 prints a traceback.
        connection = SocketConnection(reader, writer)
        if self._server is None or len(self._serving) >= MAX_CONNECTIONS:
            connection.reset()
            return
        task = asyncio.create_task(self._serve(connection))
        self._serving.add(task)
        self._open.add(connection)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, connection: SocketConnection) -> None:
        try:
            await serve(self._handler, connection, Destination("proxy"))
            await connection.finish()
        except Exception as error:
            report_trouble(error)
        finally:
            connection.leave()
            self._open.discard(connection)
