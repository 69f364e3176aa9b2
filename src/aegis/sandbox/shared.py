"""One machine for many trials, as a harness without fresh machines would have it. Only the leak audit wants that.

What a trial leaves stays: files, rows, and the programs that the agent has started and that outlived it. What Aegis
ends at the end of a trial in a fresh machine, all that came of the agent, is here only the agent itself. Services are
started once and go on.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any, cast

from aegis.errors import SandboxError
from aegis.sandbox.base import (
    WORKSPACE,
    Driver,
    DriverInfo,
    ExitStatus,
    Process,
    Progress,
    Sandbox,
    Template,
    TemplateSpec,
)
from aegis.sandbox.network import NetworkAccess
from aegis.sandbox.services import held_name


class SharedDriver:
    """Hands out one machine of `inner` again and again, to one trial at a time. `close` destroys it.

    Used for one sequence of trials; the inner driver may serve others meanwhile.
    """

    def __init__(self, inner: Driver) -> None:
        self._inner = inner
        self.info: DriverInfo = inner.info
        self._shared: _Shared | None = None
        self.replaced = 0
        """How often the machine was gone when the next trial came, so that another one took its place."""

    async def __aenter__(self) -> SharedDriver:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.shield(self.close())

    async def close(self) -> None:
        """Destroy the machine. Never raises; may be called twice."""
        shared, self._shared = self._shared, None
        if shared is not None:
            await shared.machine.stop()

    @property
    def machine(self) -> Sandbox | None:
        """The machine between two trials; None before the first."""
        return None if self._shared is None else self._shared.machine

    async def open(self, template: Template, *, network: NetworkAccess | None = None) -> Sandbox:
        """The machine, before its first trial. Raises like any driver's `start`."""
        if self._shared is None:
            self._shared = _Shared(await self._inner.start(template, network=network), template.spec)
        return self._shared.machine

    async def template(self, spec: TemplateSpec, *, progress: Progress | None = None) -> Template:
        return await self._inner.template(spec, progress=progress)

    def expect(self, template: Template, remaining: int) -> None:
        return

    def slots(self, spec: TemplateSpec) -> int:
        return 1

    async def start(self, template: Template, *, network: NetworkAccess | None = None) -> Sandbox:
        """The machine, connected to this trial's network. Raises like any driver's `start`."""
        if self._shared is not None:
            try:
                await self._shared.machine.reconnect(network)
            except SandboxError:
                await self.close()
                self.replaced += 1
        await self.open(template, network=network)
        assert self._shared is not None
        self._shared.trials += 1
        return cast("Sandbox", SharedSandbox(self._shared))


class _Shared:
    """The machine and what all its trials know of it."""

    def __init__(self, machine: Sandbox, spec: TemplateSpec) -> None:
        self.machine = machine
        self.spec = spec
        self.trials = 0
        self.services: dict[str, Process] = {}
        """What runs of them, by the name under which a template would hold it."""


class SharedSandbox:
    """What one trial sees of the machine: all of it."""

    def __init__(self, shared: _Shared) -> None:
        self._shared = shared
        self._machine = shared.machine
        self._first = shared.trials == 1
        own = shared.machine.services
        # Those that the first trial has started are there for the later ones as if the template had them.
        self.services = own if self._first else tuple(replace(spec, in_template=True) for spec in own)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._machine, name)

    async def exec(
        self,
        argv: tuple[str, ...],
        *,
        cwd: str = WORKSPACE,
        env: Mapping[str, str] | None = None,
        terminal: tuple[int, int] | None = None,
    ) -> Process:
        process = await self._machine.exec(argv, cwd=cwd, env=env, terminal=terminal)
        for spec in self.services:
            if not spec.in_template and cwd == spec.folder and argv == ("/bin/sh", "-c", spec.command):
                self._shared.services[held_name(spec.name)] = process
        return Outlived(process)

    async def attach(self, name: str) -> Process:
        """A service: the one that runs. A prepared program: itself in the first trial, later the same program, started
        anew."""
        if (service := self._shared.services.get(name)) is not None:
            return Outlived(service)
        if not self._first:
            for program in self._shared.spec.prepared:
                if program.name == name:
                    return await self.exec(program.argv, cwd=program.cwd, env=program.env)
        process = await self._machine.attach(name)
        if name in {held_name(spec.name) for spec in self.services}:
            self._shared.services[name] = process
        return Outlived(process)

    async def stop(self) -> None:
        """The trial ends, the machine does not."""


class Outlived:
    """A program of which `kill` ends only itself: what it has started goes on, as it would anywhere else."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._end = asyncio.ensure_future(process.wait())
        self._end.add_done_callback(_seen)

    async def write(self, data: bytes) -> None:
        await self._process.write(data)

    async def close_stdin(self) -> None:
        await self._process.close_stdin()

    def stdout(self) -> AsyncIterator[bytes]:
        return self._process.stdout()

    def stderr(self) -> AsyncIterator[bytes]:
        return self._process.stderr()

    async def signal(self, number: int) -> None:
        await self._process.signal(number)

    async def kill(self) -> None:
        if not self._end.done():
            await self._process.signal(signal.SIGKILL)
        await asyncio.shield(self._end)

    async def resize(self, rows: int, columns: int) -> None:
        await self._process.resize(rows, columns)

    async def wait(self) -> ExitStatus:
        return await asyncio.shield(self._end)


def _seen(end: asyncio.Future[ExitStatus]) -> None:
    """A failure may have nobody who waits for it, when a machine goes away."""
    if not end.cancelled():
        end.exception()


__all__ = ["SharedDriver", "SharedSandbox"]
