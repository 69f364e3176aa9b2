"""What runs in a sandbox when the agent has ended or given its last answer, before what it left behind is ended."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, cast

from aegis.errors import GuestOperationError, SandboxError
from aegis.sandbox.base import WORKSPACE, Process, Processes, Sandbox

LOOK_S = 60.0
"""How long listing processes may take on a machine that the agent starves."""


class LastLook:
    """A sandbox as an agent driver is given it: the first time that it ends the agent's program, the processes are
    listed before. Everything else is the sandbox's own."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self.seen: Processes | GuestOperationError | None = None
        """The error when the machine could not list them. None when no program was ended."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sandbox, name)

    async def exec(
        self,
        argv: tuple[str, ...],
        *,
        cwd: str = WORKSPACE,
        env: Mapping[str, str] | None = None,
        terminal: tuple[int, int] | None = None,
    ) -> Process:
        return self._watched(await self._sandbox.exec(argv, cwd=cwd, env=env, terminal=terminal))

    async def attach(self, name: str) -> Process:
        return self._watched(await self._sandbox.attach(name))

    def _watched(self, process: Process) -> Process:
        return cast("Process", _Watched(process, self))

    async def take(self) -> None:
        """List them, once."""
        if self.seen is not None:
            return
        try:
            async with asyncio.timeout(LOOK_S):
                self.seen = await self._sandbox.processes()
        except GuestOperationError as error:
            self.seen = error
        except TimeoutError:
            self.seen = GuestOperationError(f"not within {LOOK_S:g} s", code="failed")


class _Watched:
    def __init__(self, process: Process, last: LastLook) -> None:
        self._process = process
        self._last = last

    def __getattr__(self, name: str) -> Any:
        return getattr(self._process, name)

    async def kill(self) -> None:
        # A machine that is lost is found by ending the program, too.
        with suppress(SandboxError):
            await self._last.take()
        await self._process.kill()
