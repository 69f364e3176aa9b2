"""Frames between the host and a machine: pure bytes in, frames out.

A frame is `u32 length | u8 kind | u32 stream | payload` in network byte order; `length` counts the payload only and is
at most 65,536. docs/guest-protocol.md holds the whole protocol. This module runs on both ends and is kept free of I/O.
"""

from __future__ import annotations

import json
import struct
from typing import Any

Frame = tuple[int, int, bytes]
"""kind, stream, payload"""

VERSION = 5
MAX_PAYLOAD = 65536
WINDOW = 262144
"""Bytes that each side may send on one channel of a stream before it is granted more."""

CONNECTION_WINDOW = 65536
"""The same for a connection of the workload, of which there may be many."""
WORTHWHILE = 16384
"""A sender that has less credit than this, and more to send, waits for more: else every grant of a few bytes becomes a
frame of a few bytes, which becomes such a grant again (the silly window syndrome of RFC 9293, 3.8.6.2)."""
FIRST_CONNECTION = 0x80000000
"""Streams that begin in the machine have numbers from here on; the host's own are below."""

FINAL_DRAIN = 65536
"""Bytes beyond the window that may follow a CLOSE on each channel: what a pipe held when its program was ended."""

HEADER = struct.Struct(">IBI")
CREDIT = struct.Struct(">BI")

HELLO = 0  # machine → host, stream 0: {"protocol": 5}
INIT = 1  # host → machine, stream 0: identity of the fresh machine
READY = 2  # machine → host, stream 0: {"nonce": …}
DOWN = 3  # machine → host, stream 0: {"reason": …}: the machine is about to end
OPEN = 4  # {"op": …}
OPENED = 5  # {} or {"error": {"code", "message"}}
DATA = 6  # channel 0: standard input, standard output, a connection's bytes
DATA_ERR = 7  # channel 1: standard error
END = 8  # u8 channel: no more bytes on it
GRANT = 9  # u8 channel, u32 bytes: the window grows
EXIT = 10  # {"code"|"signal": n, "duration": s}
SIGNAL = 11  # {"number": n}
RESIZE = 12  # {"rows": n, "columns": n}
CLOSE = 13  # host: end the program and all that it started; machine: that is done, and the stream forgotten

RESET, FINISH = b"\x01", b"\x02"
"""Payloads of a connection's CLOSE: reset it at once; or deliver what was sent, end it, and drop what still arrives."""

GO_ON, REFUSED, SERVER_FAILURE, NO_SUCH_NAME, SILENCE = b"\x00", b"\x01", b"\x02", b"\x03", b"\xff"
"""Payloads of the CLOSE that answers a question of the machine's: what it asked about comes about; a connection is
refused; a lookup is answered by one of two failures (their numbers are those of DNS), or not at all."""

KINDS = frozenset(range(14))


class WireError(Exception):
    """The other side sent bytes that are no frame."""


class Decoder:
    """Cuts a byte stream into frames. Holds at most one unfinished frame."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """Take bytes; return the list of whole frames `(kind, stream, payload)`. Raises WireError."""
        self._buffer += data
        frames: list[Frame] = []
        start = 0
        while len(self._buffer) - start >= HEADER.size:
            length, kind, stream = HEADER.unpack_from(self._buffer, start)
            if length > MAX_PAYLOAD:
                raise WireError(f"frame of {length} bytes; at most {MAX_PAYLOAD} are allowed")
            if kind not in KINDS:
                raise WireError(f"unknown frame kind {kind}")
            end = start + HEADER.size + length
            if len(self._buffer) < end:
                break
            frames.append((kind, stream, bytes(self._buffer[start + HEADER.size : end])))
            start = end
        del self._buffer[:start]
        return frames


def encode(kind: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame as bytes."""
    if len(payload) > MAX_PAYLOAD:
        raise WireError(f"payload of {len(payload)} bytes; at most {MAX_PAYLOAD} are allowed")
    return HEADER.pack(len(payload), kind, stream) + payload


def encode_json(kind: int, stream: int, value: dict[str, Any]) -> bytes:
    return encode(kind, stream, json.dumps(value, separators=(",", ":")).encode())


def decode_json(payload: bytes) -> dict[str, Any]:
    """A JSON object out of a payload. Raises WireError for anything else, however deep or odd."""
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise WireError(f"payload is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise WireError("payload is not a JSON object")
    return value


def decode_grant(payload: bytes) -> tuple[int, int]:
    """(channel, bytes) out of a GRANT payload."""
    if len(payload) != CREDIT.size:
        raise WireError(f"GRANT of {len(payload)} bytes")
    channel, amount = CREDIT.unpack(payload)
    if channel > 1:
        raise WireError(f"GRANT for channel {channel}")
    return channel, amount


def encode_grant(stream: int, channel: int, amount: int) -> bytes:
    return encode(GRANT, stream, CREDIT.pack(channel, amount))


def decode_channel(payload: bytes) -> int:
    """The channel out of an END payload."""
    if len(payload) != 1 or payload[0] > 1:
        raise WireError("END without a channel")
    return payload[0]
