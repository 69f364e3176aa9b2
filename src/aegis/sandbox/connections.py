"""Connections that the workload opened, on the host's side: streams that reach a handler and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from aegis.sandbox.guest import wire

FIRST_STREAM = 0x80000000
"""Streams that begin in the machine have numbers from here on."""
MAX_CONNECTIONS = 4096
RESET, FINISH = b"\x01", b"\x02"
"""Payloads of a CLOSE: reset the connection; or deliver what was sent, and drop what still arrives."""
_PIECE = 32768


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a connection wanted to go, as the machine tells it; hostile like everything else from there."""

    via: Literal["proxy", "direct"]
    name: str | None = None
    address: str | None = None
    port: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """A conversation with the outside that the machine's own kernel refused: no listener stands for it."""

    address: str
    port: int
    protocol: str
    name: str | None = None


class Connection(Protocol):
    """A connection's bytes. One reader and one writer; every method may raise OSError when the other side is gone."""

    async def read(self, max_bytes: int) -> bytes: ...

    async def write(self, data: bytes) -> None: ...

    async def write_eof(self) -> None: ...

    async def close(self) -> None: ...

    async def abort(self) -> None: ...


class NetworkHandler(Protocol):
    """Serves a machine's connections; the gateway's session behind a thin adapter."""

    async def connect(self, connection: Connection, destination: Destination) -> None:
        """Serve one connection to its end. Raises nothing but CancelledError."""

    def refused(self, refusal: Refusal) -> None:
        """Told of each refused conversation once."""


Send = Callable[[bytes], None]
Drain = Callable[[], Awaitable[None]]


class MuxConnection:
    """Fulfils `Connection` over a stream of the mux."""

    def __init__(self, stream: int, send: Send, drain: Drain) -> None:
        self._stream = stream
        self._send = send
        self._drain = drain
        self._inbox = bytearray()
        self._allowed = wire.WINDOW
        self._credit = wire.WINDOW
        self._read_ended = False
        self._write_ended = False
        self._gone = False
        self._changed = asyncio.Event()

    # -- the handler's side ----------------------------------------------------------------------------------------

    async def read(self, max_bytes: int) -> bytes:
        while not self._inbox:
            if self._gone:
                raise ConnectionResetError("the client is gone")
            if self._read_ended:
                return b""
            await self._wait()
        data = bytes(self._inbox[:max_bytes])
        del self._inbox[: len(data)]
        if not self._read_ended and not self._gone:
            self._allowed += len(data)
            self._send(wire.encode_grant(self._stream, 0, len(data)))
        return data

    async def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            while self._credit <= 0 and not self._gone:
                await self._wait()
            if self._gone or self._write_ended:
                raise ConnectionResetError("the client is gone")
            piece = view[: min(self._credit, _PIECE)]
            self._credit -= len(piece)
            self._send(wire.encode(wire.DATA, self._stream, bytes(piece)))
            view = view[len(piece) :]
            await self._drain()

    async def write_eof(self) -> None:
        if not self._write_ended and not self._gone:
            self._write_ended = True
            self._send(wire.encode(wire.END, self._stream, b"\0"))

    async def close(self) -> None:
        """What was written is delivered; the machine ends the connection when its side has ended too."""
        await self.write_eof()
        if not self._gone and not self._read_ended:
            self._send(wire.encode(wire.CLOSE, self._stream, FINISH))
        self._gone = True
        self._changed.set()

    async def abort(self) -> None:
        if not self._gone:
            self._gone = True
            self._send(wire.encode(wire.CLOSE, self._stream, RESET))
            self._changed.set()

    async def _wait(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    # -- the mux's side --------------------------------------------------------------------------------------------

    def on_frame(self, kind: int, payload: bytes) -> None:
        """Raises WireError for what the protocol does not allow."""
        if kind == wire.DATA:
            if self._read_ended or len(payload) > self._allowed:
                raise wire.WireError("more data than was granted")
            self._allowed -= len(payload)
            if not self._gone:
                self._inbox += payload
        elif kind == wire.END:
            wire.decode_channel(payload)
            self._read_ended = True
        elif kind == wire.GRANT:
            channel, amount = wire.decode_grant(payload)
            if channel or self._credit + amount > wire.WINDOW:
                raise wire.WireError("more credit than was used")
            self._credit += amount
        elif kind == wire.CLOSE:
            self._gone = self._gone or payload == RESET
            self._read_ended = True
            self._write_ended = True
        else:
            raise wire.WireError(f"frame kind {kind} on a connection's stream")
        self._changed.set()

    def lost(self) -> None:
        """The machine is gone."""
        self._gone = True
        self._changed.set()


class Connections:
    """All connections of one machine. Without a handler every one of them is reset at once."""

    def __init__(self, send: Send, drain: Drain) -> None:
        self._send = send
        self._drain = drain
        self._live: dict[int, tuple[MuxConnection, asyncio.Task[None]]] = {}
        self.handler: NetworkHandler | None = None

    def frame(self, kind: int, stream: int, payload: bytes) -> None:
        """A frame for a stream that began in the machine. Raises WireError."""
        if kind == wire.OPEN:
            self._open(stream, wire.decode_json(payload))
            return
        known = self._live.get(stream)
        if known is not None:  # one that has just ended is no error
            known[0].on_frame(kind, payload)
            if kind == wire.CLOSE:
                self._live.pop(stream)

    def _open(self, stream: int, message: dict[str, Any]) -> None:
        if stream in self._live:
            raise wire.WireError(f"stream {stream} opened twice")
        if message.get("op") == "refused":
            if self.handler is not None:
                self.handler.refused(_refusal(message))
            return
        connection = MuxConnection(stream, self._send, self._drain)
        if self.handler is None or len(self._live) >= MAX_CONNECTIONS:
            self._send(wire.encode(wire.CLOSE, stream, RESET))
            return
        task = asyncio.create_task(self._serve(self.handler, connection, _destination(message)))
        self._live[stream] = connection, task

    @staticmethod
    async def _serve(handler: NetworkHandler, connection: MuxConnection, destination: Destination) -> None:
        try:
            await handler.connect(connection, destination)
        finally:
            await connection.close()

    async def close(self) -> None:
        """The machine is gone: end every handler. Never raises."""
        tasks = []
        for connection, task in self._live.values():
            connection.lost()
            task.cancel()
            tasks.append(task)
        self._live.clear()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)


def _text(value: Any) -> str | None:
    return value[:253] if isinstance(value, str) else None


def _port(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 65535:
        raise wire.WireError("a port out of range")
    return value


def _destination(message: dict[str, Any]) -> Destination:
    if message.get("op") != "connect":
        raise wire.WireError("the machine opened a stream for something other than a connection")
    if message.get("via") == "proxy":
        return Destination("proxy")
    if message.get("via") != "direct":
        raise wire.WireError("a connection that is neither the proxy's nor direct")
    return Destination(
        "direct", _text(message.get("name")), _text(message.get("address")), _port(message.get("port"))
    )


def _refusal(message: dict[str, Any]) -> Refusal:
    protocol = _text(message.get("protocol")) or "tcp"
    return Refusal(
        _text(message.get("address")) or "", _port(message.get("port")), protocol, _text(message.get("name"))
    )
