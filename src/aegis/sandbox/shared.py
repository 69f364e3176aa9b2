"""One machine for many trials, as a harness without fresh machines would have it. Only the leak audit wants that.

What a trial leaves stays: files, rows, and the programs that the agent has started and that outlived it. What Aegis
ends at the end of a trial in a fresh machine, the whole control group of the agent, is here only the agent itself.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from aegis.errors import SandboxError
from aegis.sandbox.base import (
    MAX_GET_BYTES,
    MIB,
    WORKSPACE,
    Changes,
    Completed,
    Driver,
    DriverInfo,
    ExitStatus,
    Process,
    Progress,
    Sandbox,
    SandboxInfo,
    Template,
    TemplateSpec,
)
from aegis.sandbox.network import NetworkAccess, NetworkPaths


class SharedDriver:
    """Hands out one machine of `inner` again and again, to one trial at a time. `close` destroys it.

    Used for one sequence of trials; the inner driver may serve others meanwhile.
    """

    def __init__(self, inner: Driver) -> None:
        self._inner = inner
        self.info: DriverInfo = inner.info
        self._machine: Sandbox | None = None
        self._trials = 0
        self.replaced = 0
        """How often the machine was gone when the next trial came, so that another one took its place."""

    async def __aenter__(self) -> SharedDriver:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.shield(self.close())

    async def close(self) -> None:
        """Destroy the machine. Never raises; may be called twice."""
        machine, self._machine = self._machine, None
        if machine is not None:
            await machine.stop()

    @property
    def machine(self) -> Sandbox | None:
        """The machine between two trials; None before the first."""
        return self._machine

    async def open(self, template: Template, *, network: NetworkAccess | None = None) -> Sandbox:
        """The machine, before its first trial. Raises like any driver's `start`."""
        if self._machine is None:
            self._machine = await self._inner.start(template, network=network)
            self._trials = 0
        return self._machine

    async def template(self, spec: TemplateSpec, *, progress: Progress | None = None) -> Template:
        return await self._inner.template(spec, progress=progress)

    def expect(self, template: Template, remaining: int) -> None:
        return

    def slots(self, spec: TemplateSpec) -> int:
        return 1

    async def start(self, template: Template, *, network: NetworkAccess | None = None) -> Sandbox:
        """The machine, connected to this trial's network. Raises like any driver's `start`."""
        if self._machine is not None:
            try:
                await self._machine.reconnect(network)
            except SandboxError:
                await self.close()
                self.replaced += 1
        if self._machine is None:
            self._machine = await self._inner.start(template, network=network)
            self._trials = 0
        self._trials += 1
        return SharedSandbox(self._machine, template.spec, first=self._trials == 1)


class SharedSandbox:
    """What one trial sees of the machine: all of it."""

    def __init__(self, machine: Sandbox, spec: TemplateSpec, *, first: bool) -> None:
        self._machine = machine
        self._spec = spec
        self._first = first
        self.info: SandboxInfo = machine.info
        self.network: NetworkPaths | None = machine.network

    async def exec(
        self,
        argv: tuple[str, ...],
        *,
        cwd: str = WORKSPACE,
        env: Mapping[str, str] | None = None,
        terminal: tuple[int, int] | None = None,
    ) -> Process:
        return _Outlived(await self._machine.exec(argv, cwd=cwd, env=env, terminal=terminal))

    async def attach(self, name: str) -> Process:
        """In the first trial the prepared program itself; in later ones the same program, started anew."""
        if not self._first:
            for program in self._spec.prepared:
                if program.name == name:
                    return await self.exec(program.argv, cwd=program.cwd, env=program.env)
        return _Outlived(await self._machine.attach(name))

    async def dial(self, port: int, *, wait_s: float = 0.0) -> Process:
        return await self._machine.dial(port, wait_s=wait_s)

    async def run(
        self,
        argv: tuple[str, ...],
        *,
        stdin: bytes = b"",
        cwd: str = WORKSPACE,
        env: Mapping[str, str] | None = None,
        timeout_s: float = 60.0,
        max_output_bytes: int = 1 * MIB,
    ) -> Completed:
        return await self._machine.run(
            argv, stdin=stdin, cwd=cwd, env=env, timeout_s=timeout_s, max_output_bytes=max_output_bytes
        )

    async def put_tar(self, archive: bytes, *, dest: str = "/") -> None:
        await self._machine.put_tar(archive, dest=dest)

    async def get_file(self, path: str, *, max_bytes: int = MAX_GET_BYTES) -> bytes:
        return await self._machine.get_file(path, max_bytes=max_bytes)

    async def get_tree(
        self, path: str, dest: Path, *, max_bytes: int = MAX_GET_BYTES, max_files: int = 10_000
    ) -> int:
        return await self._machine.get_tree(path, dest, max_bytes=max_bytes, max_files=max_files)

    async def mark(self) -> None:
        await self._machine.mark()

    async def changes(
        self, *, max_items: int = 2000, max_file_bytes: int = 64 * 1024, max_bytes: int = 1 * MIB
    ) -> Changes:
        return await self._machine.changes(
            max_items=max_items, max_file_bytes=max_file_bytes, max_bytes=max_bytes
        )

    async def reconnect(self, network: NetworkAccess | None) -> None:
        await self._machine.reconnect(network)

    async def stop(self) -> None:
        """The trial ends, the machine does not."""


class _Outlived:
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
