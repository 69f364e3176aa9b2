"""The warm pool: machines restored ahead of the trials that will take them.

A pooled machine has served nobody. It has answered once, so that the code it needs is translated and its pages are
mapped; it gets its identity when a trial takes it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from aegis.errors import SandboxError
from aegis.sandbox.qemu.machine import Machine


class Pool:
    """Keeps at most `limit` machines ready while more trials are expected."""

    def __init__(self, make: Callable[[], Awaitable[Machine]], limit: int) -> None:
        self._make = make
        self._limit = limit
        self._ready: deque[Machine] = deque()
        self._making: set[asyncio.Task[None]] = set()
        self._leaving: set[asyncio.Task[None]] = set()
        self._remaining = 0
        self._closed = False

    def expect(self, remaining: int) -> None:
        """How many more machines will be asked for."""
        self._remaining = remaining
        self._fill()
        if remaining == 0:
            self._drop_ready()

    def _drop_ready(self) -> None:
        while self._ready:
            self._discard(self._ready.popleft())

    def _discard(self, machine: Machine) -> None:
        task = asyncio.create_task(machine.kill())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    def _fill(self) -> None:
        if self._closed:
            return
        wanted = min(self._limit, self._remaining) - len(self._ready) - len(self._making)
        for _ in range(wanted):
            task = asyncio.create_task(self._add())
            self._making.add(task)
            task.add_done_callback(self._making.discard)

    async def _add(self) -> None:
        try:
            machine = await self._make()
        except SandboxError:
            return  # the trial that finds the pool empty will meet the same error, and report it
        if self._closed or len(self._ready) >= min(self._limit, self._remaining):
            self._discard(machine)  # what was expected when it was begun is no longer
        else:
            self._ready.append(machine)

    @property
    def ready(self) -> int:
        return len(self._ready)

    def take(self) -> Machine | None:
        """A machine that is ready, if there is one. Refills in the background."""
        self._remaining = max(0, self._remaining - 1)
        machine = None
        while self._ready and machine is None:
            candidate = self._ready.popleft()
            if candidate.mux.gone.is_set():
                self._discard(candidate)
            else:
                machine = candidate
        self._fill()
        return machine

    async def close(self) -> None:
        """Destroy what nobody took. Never raises."""
        self._closed = True
        for task in list(self._making):
            task.cancel()
        await asyncio.gather(*self._making, return_exceptions=True)
        self._drop_ready()
        await asyncio.gather(*self._leaving, return_exceptions=True)
