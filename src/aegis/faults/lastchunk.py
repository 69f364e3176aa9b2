"""Chunked bodies that end where no chunk ends."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aegis.gateway.base import Framing, ResponsePlan
from aegis.gateway.failures import Cut
from aegis.gateway.heads import without


class LastChunk:
    """Ends a chunked response inside a chunk. Whoever makes the plan's body calls `owes` or `follows` right before it
    yields its last piece.

    A client that speaks HTTP/1.0 knows no chunks: for it the connection ends after that piece.
    """

    def __init__(self, plan: ResponsePlan) -> None:
        self._plan = plan
        self._owed = 0
        self._junk = b""
        self._cut: Cut | None = None
        self._inner = plan.wire
        plan.headers = without(plan.headers, b"content-length")
        plan.framing, plan.trailers = Framing.CHUNKED, tuple
        plan.wire = self._wire

    def owes(self, missing_bytes: int, cut: Cut) -> None:
        """The next piece stands in a chunk that promises so many more bytes; then the connection ends by `cut`."""
        self._owed, self._cut = missing_bytes, cut

    def follows(self, junk: bytes, cut: Cut) -> None:
        """After the next piece's chunk comes `junk` where a chunk's size is due; then the connection ends by `cut`."""
        self._junk, self._cut = junk, cut

    async def _wire(self, framed: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for data in framed if self._inner is None else self._inner(framed):
            if self._cut is None:
                yield data
            else:
                yield self._bent(data)
                raise self._cut

    def _bent(self, data: bytes) -> bytes:
        if self._plan.framing is not Framing.CHUNKED:
            return data
        if self._junk:
            return data + self._junk
        piece = data.partition(b"\r\n")[2][:-2]
        return b"%x\r\n%s" % (len(piece) + self._owed, piece)
