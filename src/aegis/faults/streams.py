"""The client's side of a connection that is carried unread, as faults bend it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NoReturn

from aegis.faults.pace import now_s, sleep_until
from aegis.gateway.base import ByteStream, ResponsePlan, is_slow
from aegis.gateway.failures import Failure, injected

_WRITE_S = 120.0
"""Without the client taking what is sent to it."""
_LINE_BYTES = 16 * 1024 * 1024


def after_upgrade(plan: ResponsePlan, wrap: Callable[[ByteStream], ByteStream]) -> None:
    """Bend what follows a 101 as a carried connection. Faults nearer to upstream stay nearer to it."""
    inner = plan.tunnel
    plan.tunnel = lambda client: inner(wrap(client))


class Carried:
    """Fulfils `ByteStream` and passes everything on; subclasses bend what they are about."""

    slow = True

    def __init__(self, inner: ByteStream) -> None:
        self._inner = inner
        self._limit_s = None if is_slow(inner) else _WRITE_S
        self._closed = False

    async def read(self, max_bytes: int) -> bytes:
        return await self._inner.read(max_bytes)

    async def write(self, data: bytes) -> None:
        await self._send(data)

    async def _send(self, data: bytes) -> None:
        """Raises `TimeoutError` when the client does not take it."""
        async with asyncio.timeout(self._limit_s):
            await self._inner.write(data)

    async def write_eof(self) -> None:
        await self._inner.write_eof()

    async def close(self) -> None:
        self._closed = True
        await self._inner.close()

    async def abort(self) -> None:
        # Whoever ends what belongs to a connection that was closed properly must not turn the end into a reset.
        if not self._closed:
            await self._inner.abort()

    async def _end(self, text: str, *, reset: bool = False) -> NoReturn:
        """End the connection here, as an injected fault."""
        await (self.abort() if reset else self.close())
        raise injected(text)


class Ended(Carried):
    """A connection that ends before the client gets a byte: where the first one would be written, or (`not-called`)
    already when the client has sent its first ones."""

    def __init__(self, inner: ByteStream, text: str, upstream: str, *, reset: bool) -> None:
        super().__init__(inner)
        self._text = text
        self._called = upstream == "called"
        self._reset = reset

    async def read(self, max_bytes: int) -> bytes:
        data = await self._inner.read(max_bytes)
        if data and not self._called:
            await self._end(self._text, reset=self._reset)
        return data

    async def write(self, data: bytes) -> None:
        await self._end(self._text, reset=self._reset)

    async def write_eof(self) -> None:
        await self._end(self._text, reset=self._reset)


class DelayLine(Carried):
    """What is written arrives `delay_s` later, in its order, and as fast as it came: up to `max_bytes` may be on the
    way at once, then writing waits."""

    def __init__(self, inner: ByteStream, delay_s: float, max_bytes: int = _LINE_BYTES) -> None:
        super().__init__(inner)
        self._delay_s = delay_s
        self._max_bytes = max_bytes
        self._line: deque[tuple[float, bytes]] = deque()
        self._size_bytes = 0
        self._moved = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._error: Exception | None = None

    async def write(self, data: bytes) -> None:
        while self._size_bytes >= self._max_bytes:
            await self._wait()
        self._check()
        self._line.append((now_s() + self._delay_s, data))
        self._size_bytes += len(data)
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._deliver())

    async def write_eof(self) -> None:
        await sleep_until(now_s() + self._delay_s)
        await self._drain()
        await self._inner.write_eof()

    async def close(self) -> None:
        await self._drain()
        await super().close()

    async def abort(self) -> None:
        if self._task is not None:
            self._task.cancel()
        await super().abort()

    async def _drain(self) -> None:
        while self._line:
            await self._wait()
        self._check()

    async def _wait(self) -> None:
        self._moved.clear()
        await self._moved.wait()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    async def _deliver(self) -> None:
        try:
            while self._line:
                due_s, data = self._line[0]
                await sleep_until(due_s)
                await self._send(data)
                self._line.popleft()
                self._size_bytes -= len(data)
                self._moved.set()
        except (OSError, Failure) as error:
            self._error = error
            self._line.clear()
            self._size_bytes = 0
            self._moved.set()
