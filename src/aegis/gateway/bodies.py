"""Response bodies without their transfer coding, out of whatever pieces arrive. Pure."""

from __future__ import annotations

import enum
import re
from typing import Protocol

import h11

from aegis.gateway.base import RawHeaders
from aegis.gateway.plain import fields

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,20})[ \t]*(?:;[^\r\n]*)?\r\n")
_LINES = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)*")
_TRAILERS = re.compile(_LINES.pattern + rb"\r\n")
_FRAMING = (b"content-length", b"transfer-encoding")
_LINE_BYTES = 16 * 1024


class Decoder(Protocol):
    done: bool
    """Whether the body's end was seen."""
    rest: bytes
    """What was not looked at: the beginning of the next piece or, behind the end, of something else."""
    trailers: RawHeaders

    def decode(self, data: bytes) -> bytes:
        """The first piece of the next bytes of the connection (`rest` and what came after it), b"" when they hold none.
        Raises `ValueError` for what is no proper body. Not called when `done`."""

    def end(self) -> None:
        """The connection has ended. Raises `ValueError` when the body has not."""


class Sized:
    """A body with a Content-Length."""

    def __init__(self, length: int) -> None:
        self._length = self._left = length
        self.done = not length
        self.rest = b""
        self.trailers: RawHeaders = ()

    def decode(self, data: bytes) -> bytes:
        left = self._left
        if len(data) < left:
            self._left = left - len(data)
            return data
        self._left, self.done = 0, True
        if len(data) == left:
            return data
        self.rest = data[left:]
        return data[:left]

    def end(self) -> None:
        raise ValueError(
            f"closed after {self._length - self._left} bytes of a body of {self._length} by its Content-Length"
        )


class UntilClose:
    """A body that ends with the connection."""

    def __init__(self) -> None:
        self.done = False
        self.rest = b""
        self.trailers: RawHeaders = ()

    def decode(self, data: bytes) -> bytes:
        return data

    def end(self) -> None:
        self.done = True


class _At(enum.Enum):
    SIZE = "a chunk's size"
    DATA = "a chunk"
    AFTER = "the end of a chunk"
    TRAILERS = "the trailers"


class Chunked:
    """RFC 9112, section 7.1. A piece is a chunk, or as much of one as is there. What stands between two chunks is never
    left in `rest`: the next piece is there when anything is."""

    def __init__(self, trailer_bytes: int) -> None:
        self._trailer_bytes = trailer_bytes
        self._at = _At.SIZE
        self._left = 0
        self._open = b""
        self.done = False
        self.rest = b""
        self.trailers: RawHeaders = ()

    def decode(self, data: bytes) -> bytes:
        if self._open:
            data, self._open = self._open + data, b""
        at, piece = 0, b""
        while not self.done:
            if self._left:
                if piece or at == len(data):
                    break
                piece = data[at : at + self._left]
                at += len(piece)
                self._left -= len(piece)
                if self._left:
                    break
                self._at = _At.AFTER
            taken = self._mark(data, at)
            if taken is None:
                self._open, at = data[at:], len(data)
                break
            at += taken
        self.rest = data[at:]
        return piece

    def end(self) -> None:
        raise ValueError(f"closed inside {self._at.value} of a chunked body")

    def _mark(self, data: bytes, at: int) -> int | None:
        """Take what stands between chunks; its length, or None when more is needed."""
        if self._at is _At.AFTER:
            return self._after(data, at)
        if self._at is _At.TRAILERS:
            return self._last(data, at)
        match = _SIZE.match(data, at)
        if match is None:
            self._check_open(data, at)
            return None
        self._left = int(match[1], 16)
        self._at = _At.DATA if self._left else _At.TRAILERS
        return match.end() - at

    def _after(self, data: bytes, at: int) -> int | None:
        found = data[at : at + 2]
        if found == b"\r\n":
            self._at = _At.SIZE
            return 2
        if found not in (b"", b"\r"):
            raise ValueError("a chunk is longer than its size says")
        return None

    def _last(self, data: bytes, at: int) -> int | None:
        match = _TRAILERS.match(data, at)
        if match is not None:
            self.trailers = fields(match[0])
            if any(name.lower() in _FRAMING for name, _ in self.trailers):
                raise ValueError("a header behind a chunked body says how long it is")
            self.done = True
            return match.end() - at
        lines = data[at : data.rfind(b"\n") + 1]
        if not _LINES.fullmatch(lines) or len(data) - at > self._trailer_bytes:
            raise ValueError("no proper trailers behind a chunked body")
        return None

    def _check_open(self, data: bytes, at: int) -> None:
        if data.find(b"\n", at) >= 0 or len(data) - at > _LINE_BYTES:
            raise ValueError("no proper chunk size")


class ByH11:
    """The body of a response whose head h11 has read."""

    def __init__(self, connection: h11.Connection) -> None:
        self._connection = connection
        self.done = False
        self.rest = b""
        self.trailers: RawHeaders = ()
        self.first = self._take()
        """What had arrived with the head."""

    @property
    def keep_alive(self) -> bool:
        """Once `done`: whether the connection may carry another request."""
        return self._connection.their_state is h11.DONE

    def decode(self, data: bytes) -> bytes:
        self._connection.receive_data(data)
        return self._take()

    def end(self) -> None:
        self._connection.receive_data(b"")
        self._take()

    def _take(self) -> bytes:
        pieces: list[bytes] = []
        try:
            while isinstance(event := self._connection.next_event(), h11.Data):
                pieces.append(bytes(event.data))
        except h11.RemoteProtocolError as error:
            raise ValueError(str(error)[:200]) from error
        if isinstance(event, h11.EndOfMessage):
            self.done = True
            self.trailers = tuple(event.headers.raw_items())
            self.rest = self._connection.trailing_data[0]
        return b"".join(pieces)
