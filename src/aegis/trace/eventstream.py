"""The binary event stream of AWS (`application/vnd.amazon.eventstream`), in which Bedrock streams answers.

A message is: total length, length of the headers, checksum of both (4 bytes each, big-endian), the headers, the
payload, a checksum of everything before it (CRC-32). Bedrock's payload is JSON `{"bytes": BASE64}` around the
provider's own event.
"""

from __future__ import annotations

import base64
import binascii
import struct
from typing import Any

from aegis.trace import lenient

_PRELUDE = struct.Struct(">III")
_MAX_MESSAGE_BYTES = 24 * 1024 * 1024
_CONTENT_TYPE = "application/vnd.amazon.eventstream"


def is_event_stream(content_type: str) -> bool:
    return content_type.startswith(_CONTENT_TYPE)


def parse_payloads(stream: bytes) -> tuple[list[tuple[Any, int]], bool]:
    """(the providers' events with the number of bytes up to each one's end, whether the stream is whole).

    Stops at the first message that is cut or whose checksum is wrong.
    """
    found: list[tuple[Any, int]] = []
    position = 0
    while position < len(stream):
        if len(stream) - position < _PRELUDE.size:
            return found, False
        total, headers, check = _PRELUDE.unpack_from(stream, position)
        end = position + total
        right = _PRELUDE.size + headers + 4 <= total <= _MAX_MESSAGE_BYTES and end <= len(stream)
        if not right or binascii.crc32(stream[position : position + 8]) != check:
            return found, False
        if binascii.crc32(stream[position : end - 4]) != int.from_bytes(stream[end - 4 : end], "big"):
            return found, False
        event = _event(stream[position + _PRELUDE.size + headers : end - 4])
        if event is not None:
            found.append((event, end))
        position = end
    return found, True


def _event(payload: bytes) -> Any:
    outer = lenient.mapping(lenient.parse(payload.decode("utf-8", "replace")))
    inner = outer.get("bytes")
    if not isinstance(inner, str):
        # What is no chunk is an exception, whose payload is {"message": …}.
        return (
            {"type": "error", "error": {"message": lenient.string(outer.get("message"))}} if outer else None
        )
    try:
        return lenient.parse(base64.b64decode(inner, validate=True).decode("utf-8", "replace"))
    except ValueError:
        return None
