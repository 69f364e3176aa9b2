"""Time limits for what a session waits for in HTTP, with one timer for all of them.

`asyncio.timeout` makes and cancels a timer for each wait. Nearly every wait here ends long before its limit, so the one
timer is only ever moved forward when it fires, or when a limit comes that is due before it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from types import TracebackType
from typing import Protocol


class _Entry(Protocol):
    at: float

    def expire(self) -> None: ...


class Deadlines:
    """The limits that run at this moment, in one event loop. Times are seconds of the loop's clock."""

    def __init__(self) -> None:
        self._entries: set[_Entry] = set()
        self._due = math.inf
        self._timer: asyncio.TimerHandle | None = None

    def within(self, seconds: float) -> Guard:
        """For `with`: cancels the task's wait inside it after so many seconds and raises `TimeoutError` there."""
        return Guard(self, asyncio.get_running_loop().time() + seconds)

    def until(self, at: float) -> Guard:
        """Like `within`, up to a moment."""
        return Guard(self, at)

    def alarm(self, seconds: float, call: Callable[[], None]) -> Alarm:
        """Calls once after so many seconds, unless it is removed before."""
        made = Alarm(asyncio.get_running_loop().time() + seconds, call)
        self.add(made)
        return made

    def add(self, entry: _Entry) -> None:
        self._entries.add(entry)
        if entry.at < self._due:
            self._arm(entry.at)

    def remove(self, entry: _Entry) -> None:
        self._entries.discard(entry)

    def close(self) -> None:
        """Nothing expires any more."""
        self._entries.clear()
        if self._timer is not None:
            self._timer.cancel()
        self._due, self._timer = math.inf, None

    def _arm(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due = at
        self._timer = asyncio.get_running_loop().call_at(at, self._check)

    def _check(self) -> None:
        now = asyncio.get_running_loop().time()
        self._due, self._timer = math.inf, None
        for entry in [item for item in self._entries if item.at <= now]:
            self._entries.discard(entry)
            entry.expire()
        nearest = min((item.at for item in self._entries), default=math.inf)
        if nearest < self._due:
            self._arm(nearest)


class Alarm:
    __slots__ = ("_call", "at")

    def __init__(self, at: float, call: Callable[[], None]) -> None:
        self.at = at
        self._call = call

    def expire(self) -> None:
        self._call()


class Guard:
    """A limit of the task that enters it; `expire` ends the wait at once."""

    __slots__ = ("_cancelling", "_deadlines", "_task", "at", "expired")

    def __init__(self, deadlines: Deadlines, at: float = math.inf) -> None:
        self._deadlines = deadlines
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self.at = at
        self.expired = False

    def __enter__(self) -> Guard:
        task = self._task = asyncio.current_task()
        assert task is not None
        self._cancelling = task.cancelling()
        self._deadlines.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._deadlines.remove(self)
        if self.expired:
            assert self._task is not None
            # As `asyncio.timeout` tells its own cancellation from one that came from outside.
            if self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
                raise TimeoutError from error

    def expire(self) -> None:
        if not self.expired and self._task is not None:
            self.expired = True
            self._task.cancel()
