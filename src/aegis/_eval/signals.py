"""Ctrl-C during a run: once, and it ends in good order; twice, and it ends now."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from types import TracebackType

from aegis.engine.local import LocalEngine


class StopSignals:
    """Handles SIGINT and SIGTERM while it is entered, in the main thread; elsewhere it does nothing.

    SIGINT once: no new trial starts and running ones finish. SIGINT again, or SIGTERM: running trials are
    cancelled. While there is no engine yet, any of them cancels the current task.
    """

    def __init__(self, say: Callable[[str], None], *, enabled: bool) -> None:
        self._say = say
        self._enabled = enabled and threading.current_thread() is threading.main_thread()
        self._engine: LocalEngine | None = None
        self._task: asyncio.Task[object] | None = None
        self.requested = False
        """Whether a signal came."""

    def __enter__(self) -> StopSignals:
        self._task = asyncio.current_task()
        if self._enabled:
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGINT, self._interrupt)
            loop.add_signal_handler(signal.SIGTERM, self._terminate)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._enabled:
            loop = asyncio.get_running_loop()
            loop.remove_signal_handler(signal.SIGINT)
            loop.remove_signal_handler(signal.SIGTERM)

    def attach(self, engine: LocalEngine | None) -> None:
        """From now on signals stop this engine; None: they cancel the task."""
        self._engine = engine

    def _interrupt(self) -> None:
        if self._engine is not None and not self._engine.stopping:
            self._say("stopping: running trials finish, no new one starts; Ctrl-C again stops them at once")
        self._stop(at_once=False)

    def _terminate(self) -> None:
        self._stop(at_once=True)

    def _stop(self, *, at_once: bool) -> None:
        self.requested = True
        if self._engine is not None:
            self._engine.request_stop(at_once=at_once)
        elif self._task is not None:
            self._task.cancel()
