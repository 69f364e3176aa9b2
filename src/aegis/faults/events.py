"""Server-sent events on their way through a fault: passed on as they come, one at a time."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator

from aegis.gateway import codings
from aegis.gateway.base import Framing, ResponsePlan
from aegis.gateway.failures import Cut
from aegis.gateway.heads import text, without
from aegis.trace.sse import ServerEvent, parse_events

MAX_BLOCK_BYTES = 8 * 1024 * 1024
"""What is longer without a blank line is passed on in parts, which are no events."""

# A CR that may be half of a CRLF ends a line only when something else follows it.
_BLOCK_END = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)")
_LINE_END = re.compile(rb"\r\n|\r|\n")


def is_stream(plan: ResponsePlan) -> bool:
    """Whether the response is an event stream."""
    kind = text(plan.headers, b"content-type") or ""
    return plan.framing is not Framing.NONE and kind.strip().lower().startswith("text/event-stream")


def open_stream(plan: ResponsePlan) -> bool:
    """Make the plan's body one that may change: its content coding is removed and its length no longer announced.
    False when the coding cannot be undone: the plan is as it was then."""
    coding = codings.coding_of(text(plan.headers, b"content-encoding"))
    if coding is None:
        return False
    if coding != "identity":
        plan.body = _decoded(plan.body, coding)
    plan.headers = without(plan.headers, b"content-encoding", b"content-length")
    if plan.framing is Framing.LENGTH:
        plan.framing = Framing.CHUNKED
    return True


async def _decoded(body: AsyncIterator[bytes], coding: str) -> AsyncIterator[bytes]:
    decoder = codings.Decoder(coding)
    async for piece in body:
        try:
            for out in decoder.feed(piece):
                yield out
        except ValueError as error:
            raise Cut(f"upstream-coding: {error}") from error


async def blocks(body: AsyncIterator[bytes]) -> AsyncGenerator[tuple[bytes, ServerEvent | None], None]:
    """The stream's bytes up to each blank line, as soon as they are there, with the event that they are. What is no
    event has None: comments, and what is left at the end."""
    held, looked = bytearray(), 0
    try:
        async for piece in body:
            held += piece
            while found := _BLOCK_END.search(held, looked):
                block = bytes(held[: found.end()])
                del held[: found.end()]
                looked = 0
                yield block, _event(block)
            if len(held) > MAX_BLOCK_BYTES:
                yield bytes(held), None
                held.clear()
            looked = max(0, len(held) - 3)
    except Cut:
        if held:
            yield bytes(held), None
        raise
    if held:
        yield bytes(held), None


def _event(block: bytes) -> ServerEvent | None:
    return next((event for event in parse_events(block) if event.complete), None)


def with_data(block: bytes, data: bytes) -> bytes:
    """The event with other data; its other fields are kept."""
    lines = [line for line in _LINE_END.split(block) if line and line.partition(b":")[0] != b"data"]
    lines += [b"data: " + line for line in _LINE_END.split(data)]
    return b"\n".join(lines) + b"\n\n"
