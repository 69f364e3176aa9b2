"""Server-sent events, parsed as the HTML standard says (section 9.2.6, "Interpreting an event stream").

Sans-IO: bytes in, events out. Lines end with CR, LF or CRLF, also when a piece ends between the two; one byte
order mark at the beginning is dropped; a line that begins with a colon is a comment; several data lines of an
event are joined with line feeds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_EVENT_BYTES = 16 * 1024 * 1024

_LINE_END = re.compile(rb"\r\n|\r|\n")
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class ServerEvent:
    data: str
    event: str = "message"
    id: str = ""
    """The last event id seen so far."""
    end: int = 0
    """How many bytes of the stream had passed when the event was complete."""
    complete: bool = True
    """False for what `close` found unfinished: the standard discards it."""


class EventParser:
    """Feed it the stream in pieces of any size. Holds at most one unfinished event of `max_event_bytes`; of a
    longer one the rest is dropped, and `overflowed` is set."""

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self.overflowed = False
        self.retry_ms: int | None = None
        """The reconnection time that the stream asked for last."""
        self._max = max_event_bytes
        self._line: list[bytes] = []
        self._line_bytes = 0
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._event = b""
        self._id = b""
        self._first_line = True
        self._after_cr = False
        self._seen = 0

    def feed(self, piece: bytes) -> list[ServerEvent]:
        """The events that this piece completes."""
        start = 0
        if self._after_cr and piece:
            self._after_cr = False
            start = 1 if piece[:1] == b"\n" else 0
        events: list[ServerEvent] = []
        for found in _LINE_END.finditer(piece, start):
            self._keep(piece[start : found.start()])
            start = found.end()
            if event := self._end_line(self._seen + start):
                events.append(event)
        if piece[start:]:
            self._keep(piece[start:])
        elif piece.endswith(b"\r"):
            self._after_cr = True
        self._seen += len(piece)
        return events

    def close(self) -> ServerEvent | None:
        """The stream is over: the event that lacked its blank line, if there is one."""
        if self._line:
            self._end_line(self._seen)
        event = self._dispatch(self._seen)
        return event and ServerEvent(event.data, event.event, event.id, event.end, complete=False)

    def _keep(self, part: bytes) -> None:
        room = self._max - self._line_bytes - self._data_bytes
        if len(part) > room:
            self.overflowed = True
            part = part[: max(0, room)]
        if part:
            self._line.append(part)
            self._line_bytes += len(part)

    def _end_line(self, end: int) -> ServerEvent | None:
        line = b"".join(self._line)
        self._line, self._line_bytes = [], 0
        if self._first_line:
            self._first_line = False
            line = line.removeprefix(_BOM)
        if not line:
            return self._dispatch(end)
        field, _, value = line.partition(b":")
        self._take(field, value.removeprefix(b" "))
        return None

    def _take(self, field: bytes, value: bytes) -> None:
        if field == b"data":
            self._data.append(value)
            self._data_bytes += len(value) + 1
        elif field == b"event":
            self._event = value
        elif field == b"id" and b"\0" not in value:
            self._id = value
        elif field == b"retry" and value.isdigit() and len(value) < 10:
            self.retry_ms = int(value)

    def _dispatch(self, end: int) -> ServerEvent | None:
        data, event = self._data, self._event
        self._data, self._data_bytes, self._event = [], 0, b""
        if not data:
            return None
        return ServerEvent(_text(b"\n".join(data)), _text(event) or "message", _text(self._id), end)


def parse_events(stream: bytes) -> list[ServerEvent]:
    """All events of a whole stream; the last one may be unfinished (`complete` is False)."""
    parser = EventParser()
    events = parser.feed(stream)
    last = parser.close()
    return [*events, last] if last else events


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
