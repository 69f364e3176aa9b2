"""Looking at what a response says while it passes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from aegis.faults.events import is_stream
from aegis.gateway import codings
from aegis.gateway.base import Framing, ResponsePlan, is_ready
from aegis.gateway.heads import text
from aegis.trace.sse import EventParser

Told = Callable[[bytes], None]


def tell(plan: ResponsePlan, limit_bytes: int, told: Told) -> ResponsePlan:
    """The same response. Before the client has all of its body, `told` is given it with the content coding removed; of
    an event stream, each event's data before the client has the event. Bodies and streams that are longer than
    `limit_bytes` or cannot be decoded are not told, nor bodies that break off."""
    coding = codings.coding_of(text(plan.headers, b"content-encoding"))
    if plan.framing is Framing.NONE or coding is None:
        return plan
    length = text(plan.headers, b"content-length") if plan.framing is Framing.LENGTH else None
    announced = int(length) if length is not None and length.isdecimal() else None
    listen = _Events(told) if is_stream(plan) else _Document(told)
    plan.body = _Tee(plan.body, _Ear(coding, limit_bytes, listen), announced)
    return plan


class _Document:
    """Tells everything at the end."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self._kept = bytearray()

    def hear(self, data: bytes) -> None:
        self._kept += data

    def end(self) -> None:
        self._told(bytes(self._kept))


class _Events:
    """Tells each event's data at once: clients close a stream when they have what they were waiting for."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self._parser = EventParser()

    def hear(self, data: bytes) -> None:
        for event in self._parser.feed(data):
            self._told(event.data.encode())

    def end(self) -> None:
        return None


class _Ear:
    """Hears a coded body up to a bound."""

    def __init__(self, coding: str, limit_bytes: int, listener: _Document | _Events) -> None:
        self._decoder = codings.Decoder(coding)
        self._left = limit_bytes
        self._listener: _Document | _Events | None = listener

    def hear(self, piece: bytes) -> None:
        listener = self._listener
        if listener is None:
            return
        try:
            for data in self._decoder.feed(piece):
                self._left -= len(data)
                if self._left < 0:
                    self._listener = None
                    return
                listener.hear(data)
        except ValueError:
            self._listener = None

    def end(self) -> None:
        if self._listener is not None:
            self._listener.end()
        self._listener = None


class _Tee:
    def __init__(self, body: AsyncIterator[bytes], ear: _Ear, announced: int | None) -> None:
        self._body = body
        self._ear = ear
        self._left = announced

    @property
    def ready(self) -> bool:
        return is_ready(self._body)

    def __aiter__(self) -> _Tee:
        return self

    async def __anext__(self) -> bytes:
        try:
            piece = await anext(self._body)
        except StopAsyncIteration:
            self._ear.end()
            raise
        self._ear.hear(piece)
        if self._left is not None:
            # With the last byte the client has it all, and may ask again on another connection.
            self._left -= len(piece)
            if self._left <= 0:
                self._ear.end()
        return piece
