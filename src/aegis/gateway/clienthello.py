"""What a client's first bytes say: TLS and for which name, HTTP, or something else. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

MAX_HELLO_BYTES = 64 * 1024
ACCESS_DENIED = b"\x15\x03\x03\x00\x02\x02\x31"
"""A TLS record: fatal alert 49, access_denied (RFC 8446, section 6). Sent before any handshake, so in the clear."""

HANDSHAKE_FAILURE = b"\x15\x03\x03\x00\x02\x02\x28"
"""The same with alert 40: what a server sends that finds no parameters in common with its client."""

_METHOD = re.compile(rb"[A-Z][A-Z-]{0,19} ")
_METHOD_BEGUN = re.compile(rb"[A-Z][A-Z-]{0,19}\Z")


@dataclass(frozen=True, slots=True)
class Hello:
    server_name: str | None
    alpn: tuple[str, ...]


def sniff(data: bytes) -> Literal["tls", "http", "other", "more"]:
    """What the bytes begin; `more` when that can't be said yet."""
    if not data:
        return "more"
    if data[0] == 0x16:
        if len(data) < 3:
            return "more"
        return "tls" if data[1] == 3 else "other"
    if _METHOD.match(data):
        return "http"
    return "more" if _METHOD_BEGUN.match(data) else "other"


def parse_hello(data: bytes) -> Hello | None:
    """The ClientHello at the beginning of a connection (RFC 8446, section 4.1.2); None while it is incomplete.
    Raises `ValueError` when it is not one."""
    message = _handshake(data)
    if message is None:
        return None
    try:
        return _parse(message)
    except IndexError as error:
        raise ValueError("a ClientHello that ends inside a field") from error


def _handshake(data: bytes) -> bytes | None:
    """The first handshake message without its header, put together from as many records as it takes."""
    message = b""
    while True:
        if len(data) < 5:
            return None
        if data[0] != 0x16:
            raise ValueError("a record that is no handshake")
        length = int.from_bytes(data[3:5], "big")
        if not 0 < length <= 16384 + 256:
            raise ValueError("a record of an impossible length")
        if len(data) < 5 + length:
            return None
        message += data[5 : 5 + length]
        data = data[5 + length :]
        if message[0] != 1:
            raise ValueError("a handshake that begins with something else than a ClientHello")
        if len(message) >= 4:
            size = int.from_bytes(message[1:4], "big")
            if size > MAX_HELLO_BYTES:
                raise ValueError("a ClientHello of an impossible length")
            if len(message) >= 4 + size:
                return message[4 : 4 + size]


class _Cursor:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        if self.at + count > len(self.data):
            raise IndexError
        self.at += count
        return self.data[self.at - count : self.at]

    def vector(self, length_bytes: int) -> bytes:
        return self.take(int.from_bytes(self.take(length_bytes), "big"))

    @property
    def left(self) -> bool:
        return self.at < len(self.data)


def _parse(message: bytes) -> Hello:
    cursor = _Cursor(message)
    cursor.take(2 + 32)
    cursor.vector(1)
    cursor.vector(2)
    cursor.vector(1)
    name: str | None = None
    alpn: tuple[str, ...] = ()
    extensions = _Cursor(cursor.vector(2)) if cursor.left else _Cursor(b"")
    while extensions.left:
        kind = int.from_bytes(extensions.take(2), "big")
        body = _Cursor(extensions.vector(2))
        if kind == 0 and body.left:
            name = _server_name(_Cursor(body.vector(2)))
        elif kind == 16 and body.left:
            alpn = _protocols(_Cursor(body.vector(2)))
    return Hello(name, alpn)


def _server_name(names: _Cursor) -> str | None:
    while names.left:
        kind = names.take(1)[0]
        value = names.vector(2)
        if kind == 0:
            return value.decode("latin-1")
    return None


def _protocols(values: _Cursor) -> tuple[str, ...]:
    found = []
    while values.left:
        found.append(values.vector(1).decode("latin-1"))
    return tuple(found)
