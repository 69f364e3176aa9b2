"""Connections that the workload opened, on the host's side: streams that reach a handler and nothing else.

Everything here is told by the machine, and hostile. What one connection holds is bounded by the window, how many there
are by `MAX_CONNECTIONS`; a frame that the protocol does not allow raises WireError, which ends the machine.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from aegis.sandbox.guest import wire
from aegis.sandbox.network import Connection, Destination, Gate, NetworkHandler, Refusal

MAX_CONNECTIONS = 2048
MAX_REFUSALS = 1024
"""Different ones of which the handler is told."""
HANDLER_GRACE_S = 30.0
"""How long handlers may take to end when they are cancelled; then they are left to themselves."""
MAX_LET_IN = 4096
"""Connections that may still come of those that the gate has let in."""
NAME_BYTES = 253
_PIECE = 32768
_LOOKUPS = {"nxdomain": wire.NO_SUCH_NAME, "servfail": wire.SERVER_FAILURE, "timeout": wire.SILENCE}
_KINDS = frozenset({wire.OPEN, wire.DATA, wire.END, wire.GRANT, wire.CLOSE})

Send = Callable[[bytes], None]
Drain = Callable[[], Awaitable[None]]
SendInTurn = Callable[[bytes], Awaitable[None]]


class MuxConnection:
    """Fulfils `Connection` over a stream of the mux."""

    def __init__(self, stream: int, send: Send, send_in_turn: SendInTurn) -> None:
        self._stream = stream
        self._send = send
        self._send_in_turn = send_in_turn
        self._inbox = bytearray()
        self._allowed = wire.CONNECTION_WINDOW
        self._credit = wire.CONNECTION_WINDOW
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
            while self._credit < min(len(view), wire.WORTHWHILE) and not self._gone:
                await self._wait()
            if self._gone or self._write_ended:
                raise ConnectionResetError("the client is gone")
            piece = view[: min(self._credit, _PIECE)]
            self._credit -= len(piece)
            await self._send_in_turn(wire.encode(wire.DATA, self._stream, bytes(piece)))
            view = view[len(piece) :]

    async def write_eof(self) -> None:
        if not self._write_ended and not self._gone:
            self._write_ended = True
            self._send(wire.encode(wire.END, self._stream, b"\0"))

    async def close(self) -> None:
        """What was written is delivered; the machine ends the connection when its side has ended too."""
        await self.write_eof()
        if not self._gone and not self._read_ended:
            self._send(wire.encode(wire.CLOSE, self._stream, wire.FINISH))
        self.lost()

    async def abort(self) -> None:
        if not self._gone:
            self._send(wire.encode(wire.CLOSE, self._stream, wire.RESET))
            self._inbox.clear()
            self.lost()

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
            if wire.decode_channel(payload):
                raise wire.WireError("END of a channel that a connection does not have")
            self._read_ended = True
        elif kind == wire.GRANT:
            channel, amount = wire.decode_grant(payload)
            if channel or self._credit + amount > wire.CONNECTION_WINDOW:
                raise wire.WireError("more credit than was used")
            self._credit += amount
        elif kind == wire.CLOSE:
            self._gone = self._gone or payload == wire.RESET
            self._read_ended = True
            self._write_ended = True
        self._changed.set()

    def lost(self) -> None:
        """Nothing more will come or be taken: every call that waits ends."""
        self._gone = True
        self._changed.set()


class Connections:
    """All connections of one machine. Without a handler every one of them is reset at once."""

    def __init__(self, send: Send, drain: Drain) -> None:
        self._send = send
        self._drain = drain
        self._live: dict[int, MuxConnection] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._refusals: set[Refusal] = set()
        self._turn = asyncio.Lock()
        self._let_in: OrderedDict[int, Destination] = OrderedDict()
        self.handler: NetworkHandler | None = None
        self.gate: Gate | None = None

    def __len__(self) -> int:
        """How many are being served."""
        return len(self._live)

    def frame(self, kind: int, stream: int, payload: bytes) -> None:
        """A frame for a stream that began in the machine. Raises WireError."""
        if kind not in _KINDS:
            raise wire.WireError(f"frame kind {kind} on a connection's stream")
        if kind == wire.OPEN:
            self._open(stream, wire.decode_json(payload))
            return
        connection = self._live.get(stream)
        if connection is not None:  # one that has just ended is no error
            connection.on_frame(kind, payload)
            if kind == wire.CLOSE:
                self._live.pop(stream)

    def _open(self, stream: int, message: dict[str, Any]) -> None:
        if stream in self._live:
            raise wire.WireError(f"stream {stream} opened twice")
        if message.get("op") == "refused":
            self._refused(_refusal(message))
            return
        if message.get("op") in ("lookup", "opening"):
            self._send(wire.encode(wire.CLOSE, stream, self._answer(stream, message)))
            return
        destination = self._if_let_in(_destination(message), message.get("asked"))
        # Tasks, not streams: a machine that ends its connections has not ended their handlers yet.
        if self.handler is None or len(self._tasks) >= MAX_CONNECTIONS:
            self._send(wire.encode(wire.CLOSE, stream, wire.RESET))
            return
        connection = self._live[stream] = MuxConnection(stream, self._send, self._send_in_turn)
        task = asyncio.create_task(self._serve(self.handler, stream, connection, destination))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _answer(self, stream: int, question: dict[str, Any]) -> bytes:
        """What the machine is told. One that has no gate should not have asked."""
        lookup = question["op"] == "lookup"
        destination = None if lookup else _destination({**question, "op": "connect"})
        if self.gate is None:
            return wire.GO_ON
        try:
            if destination is None:
                answer = self.gate.lookup((_text(question.get("name")) or "").lower())
                return _LOOKUPS.get(answer, wire.GO_ON)
            if not self.gate.opening(destination):
                return wire.REFUSED
        except Exception as error:
            report_trouble(error)
            return wire.GO_ON
        self._let_in[stream] = destination
        if len(self._let_in) > MAX_LET_IN:
            self._let_in.popitem(last=False)
        return wire.GO_ON

    def _if_let_in(self, destination: Destination, question: Any) -> Destination:
        """Marked, if this is the connection that the machine has asked about under this number."""
        if isinstance(question, int) and self._let_in.get(question) == destination:
            del self._let_in[question]
            return replace(destination, let_in=True)
        return destination

    def _refused(self, refusal: Refusal) -> None:
        if self.handler is None or refusal in self._refusals or len(self._refusals) >= MAX_REFUSALS:
            return
        self._refusals.add(refusal)
        try:
            self.handler.refused(refusal)
        except Exception as error:
            report_trouble(error)

    async def _serve(
        self, handler: NetworkHandler, stream: int, connection: MuxConnection, destination: Destination
    ) -> None:
        try:
            await serve(handler, connection, destination)
        finally:
            if self._live.get(stream) is connection:
                self._live.pop(stream)

    async def _send_in_turn(self, frame: bytes) -> None:
        """One connection after the other: together they would fill the way's buffer with a piece of each."""
        async with self._turn:
            await self._drain()
            self._send(frame)

    def end(self) -> None:
        """The machine is gone: end every handler."""
        self.handler = self.gate = None
        for connection in self._live.values():
            connection.lost()
        self._live.clear()
        for task in self._tasks:
            task.cancel()

    async def ended(self) -> None:
        """Wait for the handlers that were ended. Never raises."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=HANDLER_GRACE_S)


async def serve(handler: NetworkHandler, connection: Connection, destination: Destination) -> None:
    """Let a handler serve a connection, which is closed afterwards, or reset when the handler failed."""
    try:
        await handler.connect(connection, destination)
    except asyncio.CancelledError:
        await connection.abort()
        raise
    except Exception as error:
        report_trouble(error)
        await connection.abort()
    else:
        with suppress(OSError):
            await connection.close()


def report_trouble(error: Exception) -> None:
    """A handler's own fault: it may end its connection and nothing else."""
    context = {"message": "the handler of a sandbox's connections failed", "exception": error}
    asyncio.get_running_loop().call_exception_handler(context)


def _text(value: Any) -> str | None:
    return value[:NAME_BYTES] if isinstance(value, str) else None


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
    protocol = message.get("protocol")
    if protocol not in ("tcp", "udp", "icmp"):
        raise wire.WireError("a refusal of an unknown protocol")
    return Refusal(
        _text(message.get("address")) or "", _port(message.get("port")), protocol, _text(message.get("name"))
    )
