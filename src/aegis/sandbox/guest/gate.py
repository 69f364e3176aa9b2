"""Holds connections at their first packet until the host has said whether they come about.

Only for trials in which connections may be refused as if nothing listened: whoever is refused must see that in
`connect()`, and a listener of this process would already have answered. So the listeners of such a trial don't see
first packets (`knock.py`); the gate sees them, asks, and sends them again or answers them by a reset. A client that
sends its first packet once more while it waits is not asked about once more.
"""

from __future__ import annotations

import selectors
import socket
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

from . import filters, knock, wire
from .knock import Knock, Place

ETH_P_IP = 0x0800
MAX_PACKET = 65536
MAX_KNOWN = 2048
MAX_AT_ONCE = 64

Ask = Callable[[dict[str, Any], Callable[[bytes], None]], int | None]
"""Asks the host and calls back with its answer. The question's number; None when it cannot be asked now."""


class Loop(Protocol):
    """What the server lends."""

    def watch(self, fd: int, mask: int, callback: Callable[[int], None]) -> None: ...


class _Known:
    """A connection that was asked about."""

    def __init__(self, sequence: int) -> None:
        self.sequence = sequence
        self.question = 0
        self.answer: bytes | None = None


class Gate:
    """Shut from `shut` to `open`; open at first."""

    def __init__(self, loop: Loop, ask: Ask) -> None:
        self._loop = loop
        self._ask = ask
        self._doors: dict[Place, tuple[socket.socket, Callable[[], dict[str, Any]]]] = {}
        self._known: OrderedDict[tuple[Place, Place], _Known] = OrderedDict()
        self._packets: socket.socket | None = None
        self._own: socket.socket | None = None

    def shut(self) -> None:
        """From now on the host is asked. Raises OSError."""
        if self._packets is not None:
            return
        self._own = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_RAW)
        self._own.setblocking(False)
        self._own.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, filters.OURS)
        packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, 0)
        packets.setblocking(False)
        filters.attach(packets, knock.KNOCKS)
        packets.bind(("lo", ETH_P_IP))
        self._packets = packets
        self._loop.watch(packets.fileno(), selectors.EVENT_READ, lambda _: self._look(packets))
        for listener, _ in self._doors.values():
            self.close(listener)

    def open(self) -> None:
        """From now on every connection comes about."""
        self._known.clear()
        if self._packets is None or self._own is None:
            return
        self._loop.watch(self._packets.fileno(), 0, lambda _: None)
        self._packets.close()
        self._own.close()
        self._packets = self._own = None
        for listener, _ in self._doors.values():
            filters.detach(listener)

    def close(self, listener: socket.socket) -> None:
        """Keep first packets from a listener while the gate is shut. Raises OSError."""
        if self._packets is not None:
            filters.attach(listener, knock.CLOSED_DOOR)

    def stand_before(
        self, place: Place, listener: socket.socket, origin: Callable[[], dict[str, Any]]
    ) -> None:
        """Let in to a listener that was `close`d: `origin` is what the host is to know of its connections."""
        self._doors[place] = listener, origin

    def forget(self, listener: socket.socket) -> None:
        """It is about to be closed."""
        self._doors = {place: door for place, door in self._doors.items() if door[0] is not listener}

    def told(self, connection: socket.socket, client: Place) -> dict[str, Any]:
        """What the host is to know besides of an accepted connection: which question has let it in."""
        if self._packets is None:
            return {}
        known = self._known.get((client, connection.getsockname()))
        return {} if known is None or known.answer is None else {"asked": known.question}

    def _look(self, packets: socket.socket) -> None:
        for _ in range(MAX_AT_ONCE):
            try:
                packet = packets.recv(MAX_PACKET)
            except OSError:
                return
            found = knock.read(packet)
            if found is not None and found.target in self._doors:
                self._consider(found)

    def _consider(self, found: Knock) -> None:
        ends = found.source, found.target
        known = self._known.get(ends)
        if known is None or known.sequence != found.sequence:
            self._begin(found)
        elif known.answer is not None:  # what was done then has been lost: too many wait to be accepted
            self._act(found, known.answer)

    def _begin(self, found: Knock) -> None:
        known = _Known(found.sequence)

        def answered(answer: bytes) -> None:
            known.answer = answer
            self._act(found, answer)

        _, origin = self._doors[found.target]
        question = self._ask({"op": "opening", **origin()}, answered)
        if question is None:
            return  # it will knock again
        known.question = question
        self._known[found.source, found.target] = known
        self._known.move_to_end((found.source, found.target))
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)

    def _act(self, found: Knock, answer: bytes) -> None:
        if self._own is None:
            return
        refused = answer == wire.REFUSED
        packet, receiver = (
            (knock.refusal(found), found.source) if refused else (knock.again(found), found.target)
        )
        try:
            self._own.sendto(packet, (receiver[0], 0))
        except OSError:
            pass  # it will knock again
