"""Connections of the workload on their way to the host: a socket on one side, a stream on the other.

Streams that begin here have numbers from `wire.FIRST_CONNECTION` on, so that they never meet the host's own. The rules
of credit are those of programs (docs/guest-protocol.md): neither side holds more than a window of the other's bytes.
"""

from __future__ import annotations

import selectors
import socket
import struct
from collections.abc import Callable
from typing import Any, Protocol

from . import wire

MAX_RELAYS = 640
MAX_QUESTIONS = 1024
READ_SIZE = 32768


class Pump(Protocol):
    """What the server lends."""

    def send(self, data: bytes) -> None: ...

    def watch(self, fd: int, mask: int, callback: Callable[[int], None]) -> None: ...

    def has_room(self) -> bool: ...


class _Relay:
    def __init__(self, stream: int, connection: socket.socket) -> None:
        self.stream = stream
        self.connection = connection
        self.credit = wire.CONNECTION_WINDOW
        self.pending = bytearray()
        self.end_pending = False
        self.read_ended = False
        self.write_ended = False
        self.discards = False
        """The host wants nothing more of it."""


class Relays:
    """All connections of a machine."""

    def __init__(self, pump: Pump) -> None:
        self._pump = pump
        self._relays: dict[int, _Relay] = {}
        self._questions: dict[int, Callable[[bytes], None]] = {}
        self._next = wire.FIRST_CONNECTION

    def accept(self, connection: socket.socket, origin: dict[str, Any]) -> None:
        """Take over a connection and tell the host where it wanted to go."""
        if len(self._relays) >= MAX_RELAYS and not self._end_a_lingering_one():
            _reset(connection)
            return
        stream = self._number()
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            pass  # it has ended already: reading tells
        relay = self._relays[stream] = _Relay(stream, connection)
        self._pump.send(wire.encode_json(wire.OPEN, stream, {"op": "connect", **origin}))
        self._refresh(relay)

    def report(self, refusal: dict[str, Any]) -> None:
        """Tell the host of a conversation that this machine refused. Such a stream is over with its first frame."""
        self._pump.send(wire.encode_json(wire.OPEN, self._number(), {"op": "refused", **refusal}))

    def ask(self, question: dict[str, Any], answered: Callable[[bytes], None]) -> int | None:
        """Ask the host, which answers by one of the payloads of `wire`. The number of the question; None when it cannot
        be asked now."""
        if len(self._questions) >= MAX_QUESTIONS or not self._pump.has_room():
            return None
        stream = self._number()
        self._questions[stream] = answered
        self._pump.send(wire.encode_json(wire.OPEN, stream, question))
        return stream

    def reset(self) -> None:
        """Another host, or another trial: what began before is not its business."""
        self._questions.clear()
        for relay in list(self._relays.values()):
            self._fail(relay)

    def refresh(self) -> None:
        """The way to the host is free again, or full."""
        for relay in list(self._relays.values()):
            self._refresh(relay)

    def frame(self, kind: int, stream: int, payload: bytes) -> None:
        """A frame of the host for a stream of ours; one that has just ended is no error. Raises WireError."""
        relay = self._relays.get(stream)
        if relay is None:
            if kind == wire.CLOSE and (answered := self._questions.pop(stream, None)) is not None:
                answered(payload)
            return
        if kind == wire.DATA:
            relay.pending += payload
            self._flush(relay)
        elif kind == wire.END:
            relay.end_pending = True
            self._flush(relay)
        elif kind == wire.GRANT:
            relay.credit += wire.decode_grant(payload)[1]
            self._refresh(relay)
        elif kind == wire.CLOSE and payload == wire.FINISH:
            # Closing with unread data would reset the connection, and take undelivered bytes with it.
            relay.discards = relay.end_pending = True
            self._flush(relay)
        elif kind == wire.CLOSE:
            self._drop(relay, reset=True)

    def _number(self) -> int:
        number = self._next
        self._next = wire.FIRST_CONNECTION + (number + 1) % wire.FIRST_CONNECTION
        return number

    def _end_a_lingering_one(self) -> bool:
        """Make room: a client may keep for ever what the host has ended."""
        for relay in self._relays.values():
            if relay.discards and relay.write_ended:
                self._drop(relay, reset=True)
                return True
        return False

    def _refresh(self, relay: _Relay) -> None:
        mask = 0
        if not relay.read_ended and (
            relay.discards or (relay.credit >= wire.WORTHWHILE and self._pump.has_room())
        ):
            mask |= selectors.EVENT_READ
        if relay.pending:
            mask |= selectors.EVENT_WRITE
        self._pump.watch(relay.connection.fileno(), mask, lambda ready: self._ready(relay, ready))

    def _ready(self, relay: _Relay, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            self._flush(relay)
        if mask & selectors.EVENT_READ and relay.stream in self._relays:
            self._read(relay)

    def _read(self, relay: _Relay) -> None:
        try:
            data = relay.connection.recv(READ_SIZE if relay.discards else min(READ_SIZE, relay.credit))
        except BlockingIOError:
            return
        except OSError:
            self._fail(relay)
            return
        if data and relay.discards:
            pass
        elif data:
            relay.credit -= len(data)
            self._pump.send(wire.encode(wire.DATA, relay.stream, data))
        else:
            relay.read_ended = True
            self._pump.send(wire.encode(wire.END, relay.stream, b"\0"))
        self._end_if_done(relay)
        if relay.stream in self._relays:
            self._refresh(relay)

    def _flush(self, relay: _Relay) -> None:
        taken = 0
        try:
            while relay.pending and not relay.write_ended:
                sent = relay.connection.send(memoryview(relay.pending)[:READ_SIZE])
                del relay.pending[:sent]
                taken += sent
        except BlockingIOError:
            pass
        except OSError:
            self._fail(relay)
            return
        if taken:
            self._pump.send(wire.encode_grant(relay.stream, 0, taken))
        if relay.end_pending and not relay.pending and not relay.write_ended:
            relay.write_ended = True
            try:
                relay.connection.shutdown(socket.SHUT_WR)
            except OSError:
                self._fail(relay)
                return
        self._end_if_done(relay)
        if relay.stream in self._relays:
            self._refresh(relay)

    def _end_if_done(self, relay: _Relay) -> None:
        if relay.read_ended and relay.write_ended:
            self._drop(relay)
            self._pump.send(wire.encode(wire.CLOSE, relay.stream))

    def _fail(self, relay: _Relay) -> None:
        """The workload's side broke: the host is told that nothing more will come or be taken."""
        self._drop(relay, reset=True)
        self._pump.send(wire.encode(wire.CLOSE, relay.stream, wire.RESET))

    def _drop(self, relay: _Relay, *, reset: bool = False) -> None:
        self._relays.pop(relay.stream, None)
        self._pump.watch(relay.connection.fileno(), 0, lambda _: None)
        if reset:
            _reset(relay.connection)
        else:
            relay.connection.close()


def _reset(connection: socket.socket) -> None:
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        pass  # it was broken by the other side
    connection.close()
