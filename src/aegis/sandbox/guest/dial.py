"""A connection from the host to a program that listens inside: a child of the cradle carries its bytes between standard
input and output and a socket.

It runs on the guest's own Python, so that an image needs nothing for it.
"""

from __future__ import annotations

import os
import select
import socket
import time

from .work import Refused

ADDRESSES = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
"""Where a program may listen that says `localhost`."""
READ_SIZE = 32768
FIRST_RETRY_S = 0.01
LONGEST_RETRY_S = 0.2
LEAST_PATIENCE_S = 1.0
"""For a listener that is there but slow to take the connection in."""


def connect(port: int, wait_s: float) -> socket.socket:
    """Try until something listens, for `wait_s`. Raises Refused (`not-found`)."""
    end, delay_s = time.monotonic() + wait_s, FIRST_RETRY_S
    while True:
        for family, address in ADDRESSES:
            connection = _try(family, address, port, max(LEAST_PATIENCE_S, end - time.monotonic()))
            if connection is not None:
                return connection
        left_s = end - time.monotonic()
        if left_s <= 0:
            raise Refused("not-found", f"nothing listens on port {port}")
        time.sleep(min(delay_s, left_s))
        delay_s = min(2 * delay_s, LONGEST_RETRY_S)


def _try(family: int, address: str, port: int, patience_s: float) -> socket.socket | None:
    # Not `create_connection`: looking the address up would import modules, by now from the workload's root.
    try:
        connection = socket.socket(family, socket.SOCK_STREAM)
    except OSError:
        return None  # no such family here
    try:
        connection.settimeout(patience_s)
        connection.connect((address, port))
    except OSError:
        connection.close()
        return None
    return connection


def carry(connection: socket.socket) -> int:
    """Until the other side has ended; the exit code: 0, or 1 when it broke the connection off."""
    try:
        _Carrier(connection).run()
    except OSError:
        return 1
    return 0


class _Carrier:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connection.fileno()
        self._inward = bytearray()
        self._outward = bytearray()
        self._input_ended = self._output_ended = False

    def run(self) -> None:
        os.set_blocking(1, False)
        while not self._output_ended or self._outward:
            ready = self._wait()
            if ready.get(0):
                self._read_input()
            events = ready.get(self._socket, 0)
            if events & select.POLLOUT:
                self._send()
            if events & ~select.POLLOUT:
                self._receive()
            if ready.get(1):
                del self._outward[: os.write(1, memoryview(self._outward)[:READ_SIZE])]

    def _wait(self) -> dict[int, int]:
        poll = select.poll()
        if not self._inward and not self._input_ended:
            poll.register(0, select.POLLIN)
        towards = select.POLLOUT if self._inward else 0
        if not self._outward and not self._output_ended:
            towards |= select.POLLIN
        if towards:
            poll.register(self._socket, towards)
        if self._outward:
            poll.register(1, select.POLLOUT)
        return dict(poll.poll())

    def _read_input(self) -> None:
        self._inward += os.read(0, READ_SIZE)
        if not self._inward:
            self._input_ended = True
            self._connection.shutdown(socket.SHUT_WR)

    def _send(self) -> None:
        try:
            del self._inward[: self._connection.send(self._inward, socket.MSG_NOSIGNAL)]
        except BlockingIOError:
            pass
        except (BrokenPipeError, ConnectionResetError):
            # It takes no more; what it said before that is still there to be read.
            self._inward.clear()
            self._input_ended = True

    def _receive(self) -> None:
        try:
            data = self._connection.recv(READ_SIZE)
        except BlockingIOError:
            return
        self._outward += data
        self._output_ended = not data
