"""A time limit that counts the agent's own time only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType

from aegis.suite.units import format_duration

MAX_WAIT_S = 3600.0
"""So much waiting of one conversation is not counted; what is more counts as the agent's time, so that a conversation
always ends."""
_LEAST_STEP_S = 0.1
"""While the agent is being made to wait, the limit moves all the time: it is looked at again no sooner than this."""


class OwnTimeLimit:
    """As `asyncio.timeout(limit_s)`, but the growth of `waited_s()` since the beginning, up to `MAX_WAIT_S`, is not
    counted. Raises `TimeoutError`, at most 0.1 s late."""

    def __init__(self, limit_s: float, waited_s: Callable[[], float]) -> None:
        self.limit_s = limit_s
        self._read_waited_s = waited_s
        self._timeout = asyncio.timeout(None)
        self._begun_s = self._waited_before_s = 0.0
        self._handle: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> OwnTimeLimit:
        self._begun_s = asyncio.get_running_loop().time()
        self._waited_before_s = self._read_waited_s()
        await self._timeout.__aenter__()
        self._look()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            self._handle.cancel()
        await self._timeout.__aexit__(kind, error, trace)

    def expired(self) -> bool:
        """Whether it was this limit that ended the block."""
        return self._timeout.expired()

    @property
    def waited_s(self) -> float:
        """Seconds since the beginning that are not counted."""
        return min(max(0.0, self._read_waited_s() - self._waited_before_s), MAX_WAIT_S)

    def describe(self) -> str:
        """The limit as a user reads it: `2m`, `2m (35s of waiting not counted)`."""
        limit, waited_s = format_duration(self.limit_s), round(self.waited_s)
        return f"{limit} ({format_duration(waited_s)} of waiting not counted)" if waited_s else limit

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        left_s = self._begun_s + self.limit_s + self.waited_s - loop.time()
        if left_s > 0:
            self._handle = loop.call_later(max(left_s, _LEAST_STEP_S), self._look)
        else:
            self._timeout.reschedule(loop.time())
