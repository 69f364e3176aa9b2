"""From what passes to an `Exchange`: bounded, decoded, redacted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aegis.gateway import codings, heads
from aegis.gateway.base import Notes, RawHeaders
from aegis.gateway.config import Bounds
from aegis.gateway.secrets import Vault
from aegis.trace import Body, Exchange

MAX_CHUNKS = 1000
_SLOW_BYTES = 1024 * 1024
"""Bodies above this are decoded and stored in a worker thread."""

Sink = Callable[[Exchange], None]
Blobs = Callable[[bytes], str]


class Budget:
    """Bytes that all recordings in progress may hold together (`at_once`), and all that ever were (`ever`)."""

    def __init__(self, at_once: int, ever: int) -> None:
        self._at_once = at_once
        self._ever = ever

    def take(self, wanted: int) -> int:
        granted = max(0, min(wanted, self._at_once, self._ever))
        self._at_once -= granted
        self._ever -= granted
        return granted

    def give_back(self, count: int) -> None:
        """They are stored now, or dropped."""
        self._at_once += count


class Tape:
    """The beginning of a body, and its whole length."""

    def __init__(self, limit: int, budget: Budget) -> None:
        self._limit = limit
        self._budget = budget
        self.kept = bytearray()
        self.size = 0
        self.used = False

    def write(self, data: bytes) -> None:
        self.used = True
        self.size += len(data)
        room = min(len(data), self._limit - len(self.kept))
        if room > 0:
            room = self._budget.take(room)
            self.kept += data[:room] if room < len(data) else data

    def count(self, data: bytes) -> None:
        self.used = True
        self.size += len(data)

    def count_unread(self, size_bytes: int) -> None:
        self.used = True
        self.size += size_bytes

    def clear(self) -> None:
        self._budget.give_back(len(self.kept))
        self.kept = bytearray()


def make_body(tape: Tape, headers: RawHeaders, vault: Vault, blobs: Blobs, bounds: Bounds) -> Body | None:
    """What is stored of a body: text when it is text and short, else a blob; None when there was none."""
    if not tape.used:
        return None
    kept = bytes(tape.kept)
    truncated = len(kept) < tape.size
    decoded = codings.decode(kept, heads.text(headers, b"content-encoding"), bounds.recorded_body_bytes)
    content = vault.redact(kept if decoded is None else decoded, cut=truncated)
    truncated = truncated or (decoded is not None and len(decoded) >= bounds.recorded_body_bytes)
    text = _as_text(content, truncated) if len(content) <= bounds.inline_body_bytes else None
    if text is not None or not content:
        return Body(tape.size, text=text if content else "", truncated=truncated)
    return Body(tape.size, blob=blobs(content), truncated=truncated)


def _as_text(content: bytes, truncated: bool) -> str | None:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        # A cut may have split a character.
        if truncated and error.start >= len(content) - 3:
            return content[: error.start].decode("utf-8")
        return None


class ExchangeRecorder:
    """Collects one exchange. `finish` hands it to the sink, once; later calls do nothing."""

    def __init__(
        self,
        number: int,
        *,
        kind: str,
        connection: int,
        now: Callable[[], float],
        vault: Vault,
        sink: Sink,
        blobs: Blobs,
        bounds: Bounds,
        budget: Budget,
    ) -> None:
        self.number = number
        self.kind = kind
        self.connection = connection
        self.scheme = ""
        self.host = ""
        self.port = 0
        self.method = ""
        self.target = ""
        self.headers: RawHeaders = ()
        self.status: int | None = None
        self.reason = ""
        self.response_headers: RawHeaders = ()
        self.upstream = ""
        self.routed = False
        self.replayed = False
        self._faults: tuple[str, ...] = ()
        self._rewrites: tuple[str, ...] = ()
        self._withheld: bytes | None = None
        self.request = Tape(bounds.recorded_body_bytes, budget)
        self.response = Tape(bounds.recorded_body_bytes, budget)
        self._now = now
        self._vault = vault
        self._sink = sink
        self._blobs = blobs
        self._bounds = bounds
        self._started_s = now()
        self._first_byte_s: float | None = None
        self._chunks: list[tuple[float, int]] = []
        self.finished = False

    def first_byte(self) -> None:
        if self._first_byte_s is None:
            self._first_byte_s = self._now()

    def response_piece(self, data: bytes) -> None:
        self.response.write(data)
        if len(self._chunks) < MAX_CHUNKS:
            self._chunks.append((round(self._now(), 6), len(data)))

    def count_request(self, data: bytes) -> bytes:
        """For tunnels: the bytes are counted and not kept."""
        self.request.count(data)
        return data

    def count_response(self, data: bytes) -> bytes:
        self.first_byte()
        self.response.count(data)
        return data

    def hit(self, notes: Notes) -> None:
        """What interfered with it."""
        self._faults = tuple(notes.faults)
        self._rewrites = tuple(notes.rewrites)
        self._withheld = notes.withheld

    async def finish(self, error: str | None = None) -> None:
        if self.finished:
            return
        self.finished = True
        ended_s = self._now()
        if len(self.request.kept) + len(self.response.kept) < _SLOW_BYTES:
            self._emit(self._bodies(), ended_s, error)
            return
        work = asyncio.ensure_future(asyncio.to_thread(self._bodies))
        try:
            bodies = await asyncio.shield(work)
        except asyncio.CancelledError:
            self._emit(await work, ended_s, error)
            raise
        self._emit(bodies, ended_s, error)

    def finish_at_once(self, error: str) -> None:
        """For an exchange without bodies."""
        if not self.finished:
            self.finished = True
            self._emit((None, None), self._now(), error)

    def _bodies(self) -> tuple[Body | None, Body | None]:
        return self._body(self.request, self.headers), self._body(self.response, self.response_headers)

    def _body(self, tape: Tape, headers: RawHeaders) -> Body | None:
        return make_body(tape, headers, self._vault, self._blobs, self._bounds)

    def _emit(self, bodies: tuple[Body | None, Body | None], ended_s: float, error: str | None) -> None:
        self.request.clear()
        self.response.clear()
        redact = self._vault.redact_text
        withheld = None
        if self._withheld is not None:
            text = redact(self._withheld.decode("utf-8", "replace"))
            withheld = Body(len(self._withheld), text=text)
        self._sink(
            Exchange(
                id=self.number,
                kind=self.kind,  # type: ignore[arg-type]
                scheme=self.scheme,
                host=redact(self.host),
                port=self.port,
                method=self.method,
                path=redact(self.target),
                request_headers=self._vault.redact_headers(self.headers),
                request_body=bodies[0],
                status=self.status,
                reason=self.reason,
                response_headers=self._vault.redact_headers(self.response_headers),
                response_body=bodies[1],
                started_s=self._started_s,
                first_byte_s=self._first_byte_s,
                ended_s=ended_s,
                connection=self.connection,
                upstream=self.upstream,
                routed=self.routed,
                replayed=self.replayed,
                error=None if error is None else redact(error),
                credential=self._vault.credential(self.headers),
                chunks=tuple(self._chunks),
                faults=self._faults,
                rewrites=self._rewrites,
                withheld=withheld,
            )
        )
