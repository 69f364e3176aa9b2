"""Time that faults take: sleeping to a moment, and a byte rate."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

_SLICE_S = 0.02
_MAX_SLICE_BYTES = 16 * 1024


def now_s() -> float:
    """The event loop's clock."""
    return asyncio.get_running_loop().time()


async def sleep_until(at_s: float) -> None:
    """To a moment of the event loop's clock; at once when it has passed."""
    if (left_s := at_s - now_s()) > 0:
        await asyncio.sleep(left_s)


class Bucket:
    """A token bucket: bytes pass at `rate` a second, and after a pause up to `burst_bytes` of them at once.

    As the time at which the bytes so far were due, which is the same: sleeping too long is made up for.
    """

    def __init__(self, rate: int, burst_bytes: int = 0) -> None:
        self._rate = rate
        self._due_s = now_s() - burst_bytes / rate
        self._credit_s = max(burst_bytes / rate, _SLICE_S)
        self.slice_bytes = max(1, min(int(rate * _SLICE_S), _MAX_SLICE_BYTES))
        """How many to take at once, so that they come evenly."""

    async def take(self, count: int) -> None:
        """Wait until so many bytes may have passed."""
        self._due_s = max(self._due_s, now_s() - self._credit_s) + count / self._rate
        await sleep_until(self._due_s)


def slices(data: bytes, size_bytes: int) -> Iterator[bytes]:
    for at in range(0, len(data), size_bytes):
        yield data[at : at + size_bytes]
