"""What the host knows of a machine's streams at a moment when the connection is quiet, so that a copy of the machine
can go on with a host side of its own."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aegis.sandbox.guest import wire


@dataclass(frozen=True, slots=True)
class StreamAtRest:
    """One open stream of the host's: a program."""

    stream: int
    credit: int
    """Bytes that the host may still send."""
    input_closed: bool
    allowed: tuple[int, int]
    """Bytes that the machine may still send, by channel."""
    ended: tuple[bool, bool]
    unread: tuple[bytes, bytes]
    """What has arrived and was not taken yet."""
    status: tuple[int | None, int | None, float] | None = None
    """Code, signal, seconds; None while it runs."""

    def to_json(self) -> dict[str, Any]:
        unread = [base64.b64encode(data).decode() for data in self.unread]
        return {
            "stream": self.stream,
            "credit": self.credit,
            "input_closed": self.input_closed,
            "allowed": list(self.allowed),
            "ended": list(self.ended),
            "unread": unread,
            "status": None if self.status is None else list(self.status),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> StreamAtRest:
        """The inverse of `to_json`."""
        out, err = (base64.b64decode(text) for text in data["unread"])
        return cls(
            stream=data["stream"],
            credit=data["credit"],
            input_closed=data["input_closed"],
            allowed=(data["allowed"][0], data["allowed"][1]),
            ended=(data["ended"][0], data["ended"][1]),
            unread=(out, err),
            status=None if data["status"] is None else (*data["status"],),
        )


@dataclass(frozen=True, slots=True)
class LinkAtRest:
    """The whole connection."""

    still: int
    """The stream whose CLOSE lets the machine speak again."""
    next_stream: int
    prepared: Mapping[str, int] = field(default_factory=dict)
    streams: tuple[StreamAtRest, ...] = ()
    unsent: bytes = b""
    """Frames of the host's for its own streams that wait for the machine to go on."""

    def to_json(self) -> dict[str, Any]:
        return {
            "still": self.still,
            "next_stream": self.next_stream,
            "prepared": dict(self.prepared),
            "streams": [stream.to_json() for stream in self.streams],
            "unsent": base64.b64encode(self.unsent).decode(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LinkAtRest:
        """The inverse of `to_json`."""
        return cls(
            still=data["still"],
            next_stream=data["next_stream"],
            prepared=dict(data["prepared"]),
            streams=tuple(StreamAtRest.from_json(stream) for stream in data["streams"]),
            unsent=base64.b64decode(data["unsent"]),
        )


def own_frames(data: bytes) -> bytes:
    """Of these frames, those for the host's own streams: connections of the workload do not survive a copy."""
    frames = wire.Decoder().feed(data)
    return b"".join(wire.encode(kind, stream, payload) for kind, stream, payload in frames if _is_own(stream))


def _is_own(stream: int) -> bool:
    return 0 < stream < wire.FIRST_CONNECTION
