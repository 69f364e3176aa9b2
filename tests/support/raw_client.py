"""A client that sends exactly these bytes and returns exactly what came back."""

from __future__ import annotations

import contextlib
import socket
from urllib.parse import urlsplit


def connect(port: int, timeout_s: float = 20) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout_s)


def port_of(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port


def read_all(sock: socket.socket) -> bytes:
    """Everything up to the end; a reset ends it too."""
    out = b""
    with contextlib.suppress(ConnectionError):
        while data := sock.recv(65536):
            out += data
    return out


def read_until(sock: socket.socket, mark: bytes) -> bytes:
    out = b""
    while mark not in out:
        data = sock.recv(65536)
        if not data:
            return out
        out += data
    return out


def ask(port: int, data: bytes, *, end: bool = False) -> bytes:
    """Send, and read until the other side closes. `end` closes this side after sending."""
    with connect(port) as sock:
        with contextlib.suppress(ConnectionError):
            sock.sendall(data)
        if end:
            sock.shutdown(socket.SHUT_WR)
        return read_all(sock)
