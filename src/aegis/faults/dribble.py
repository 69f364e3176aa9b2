"""A body cut into the pieces in which a slow sender sends it, the same however it arrived."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator

from aegis.gateway.failures import Cut

_EVENT_END = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2}")
"""A blank line (HTML standard, section 9.2.5)."""
_MAX_EVENT_BYTES = 1024 * 1024


async def in_pieces(body: AsyncIterator[bytes], sizes: Iterator[int]) -> AsyncIterator[bytes]:
    """Pieces of these sizes; the last one may be shorter, and what comes after all sizes is one more. Of a body that
    is cut, what came before is a piece."""
    held = bytearray()
    size = next(sizes, None)
    try:
        async for data in body:
            held += data
            while size is not None and len(held) >= size:
                yield bytes(held[:size])
                del held[:size]
                size = next(sizes, None)
    except Cut:
        if held:
            yield bytes(held)
        raise
    if held:
        yield bytes(held)


async def by_event(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """One server-sent event (or comment) after the other, its blank line included."""
    held, searched = bytearray(), 0
    try:
        async for data in body:
            held += data
            while found := _EVENT_END.search(held, max(0, searched - 3)):
                yield bytes(held[: found.end()])
                del held[: found.end()]
                searched = 0
            searched = len(held)
            if searched > _MAX_EVENT_BYTES:
                yield bytes(held)
                held, searched = bytearray(), 0
    except Cut:
        if held:
            yield bytes(held)
        raise
    if held:
        yield bytes(held)


def even(total_bytes: int, pieces: int) -> Iterator[int]:
    """Sizes of so many pieces (of at least one byte) that make up the total, as even as bytes allow."""
    count = min(pieces, total_bytes)
    for number in range(count):
        yield total_bytes * (number + 1) // count - total_bytes * number // count
