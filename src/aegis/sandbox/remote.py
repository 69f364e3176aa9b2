"""A sandbox whose guest program answers over a stream: what all drivers share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from pathlib import Path

from aegis.errors import GuestOperationError, HostileArchiveError, SandboxError, SandboxLostError
from aegis.sandbox import archive, changes, gathering, looks
from aegis.sandbox.base import (
    MAX_GET_BYTES,
    MIB,
    WORKSPACE,
    Changes,
    Completed,
    Entry,
    ExitStatus,
    Gathered,
    Process,
    Processes,
    SandboxInfo,
    ServiceSpec,
)
from aegis.sandbox.mux import DEFAULT_ENV, Mux, MuxProcess
from aegis.sandbox.network import NetworkAccess, NetworkPaths
from aegis.sandbox.operations import check_operation, collect
from aegis.sandbox.zones import zone_data

TAR_OVERHEAD = 4 * MIB
KILL_GRACE_S = 30.0
"""How long a machine may take to end a program's processes before it counts as lost."""


class RemoteSandbox:
    """Fulfils `aegis.sandbox.base.Sandbox` over a `Mux`. Drivers give it the machine to destroy."""

    def __init__(
        self, mux: Mux, info: SandboxInfo, env: Mapping[str, str], services: tuple[ServiceSpec, ...] = ()
    ) -> None:
        self._mux = mux
        self.info = info
        self.services = services
        told = {name: value for service in services for name, value in service.told.items()}
        self.env = {**DEFAULT_ENV, **told, **env}
        self.network: NetworkPaths | None = None
        self._stopping: asyncio.Future[None] | None = None
        self.newest: MuxProcess | None = None
        """The program that was started or attached to last."""

    async def exec(
        self,
        argv: tuple[str, ...],
        *,
        cwd: str = WORKSPACE,
        env: Mapping[str, str] | None = None,
        terminal: tuple[int, int] | None = None,
    ) -> MuxProcess:
        extra = {"TERM": "xterm-256color"} if terminal else {}
        self.newest = await self._mux.exec(argv, cwd, {**self.env, **extra, **(env or {})}, terminal)
        return self.newest

    async def attach(self, name: str) -> MuxProcess:
        self.newest = await self._mux.attach(name)
        return self.newest

    async def dial(self, port: int, *, wait_s: float = 0.0) -> MuxProcess:
        return await self._mux.open({"op": "dial", "port": port, "wait": wait_s})

    async def run(
        self,
        argv: tuple[str, ...],
        *,
        stdin: bytes = b"",
        cwd: str = WORKSPACE,
        env: Mapping[str, str] | None = None,
        timeout_s: float = 60.0,
        max_output_bytes: int = MIB,
    ) -> Completed:
        process = await self._mux.exec(argv, cwd, {**self.env, **(env or {})}, no_input=not stdin)
        out, err = _Bounded(max_output_bytes), _Bounded(max_output_bytes)

        async def feed() -> None:
            if stdin:
                await process.write(stdin)
                await process.close_stdin()

        readers = asyncio.gather(feed(), out.fill(process.stdout()), err.fill(process.stderr()))
        timed_out = False
        try:
            try:
                async with asyncio.timeout(timeout_s):
                    status = await process.wait()
            except TimeoutError:
                timed_out = True
            await self._end(process)
            status = await process.wait()
            await readers
        except BaseException:
            readers.cancel()
            await asyncio.gather(readers, return_exceptions=True)
            with suppress(SandboxError):
                await asyncio.shield(self._end(process))
            raise
        return Completed(status, bytes(out.data), bytes(err.data), out.over or err.over, timed_out)

    async def _end(self, process: Process) -> None:
        try:
            async with asyncio.timeout(KILL_GRACE_S):
                await process.kill()
        except TimeoutError:
            raise SandboxLostError(f"the sandbox did not end a program within {KILL_GRACE_S:.0f} s") from None

    async def _operation(
        self, request: dict[str, object], stdin: bytes, max_bytes: int, overflow: SandboxError | None = None
    ) -> bytes:
        process = await self._mux.open(request)
        try:
            out, err, status = await collect(process, stdin, max_bytes, overflow)
        finally:
            await asyncio.shield(self._end(process))
        check_operation(status, err)
        return out

    async def put_tar(self, archive: bytes, *, dest: str = "/") -> None:
        await self._operation({"op": "put", "path": dest}, archive, 0)

    async def get_file(self, path: str, *, max_bytes: int = MAX_GET_BYTES) -> bytes:
        return await self._operation({"op": "get", "path": path, "max": max_bytes}, b"", max_bytes)

    async def get_tree(
        self, path: str, dest: Path, *, max_bytes: int = MAX_GET_BYTES, max_files: int = 10_000
    ) -> int:
        limit = max_bytes + TAR_OVERHEAD + 1536 * max_files
        overflow = HostileArchiveError(f"{path}: files of more than {max_bytes} bytes in all")
        request: dict[str, object] = {"op": "tree", "path": path, "max": max_bytes, "files": max_files}
        try:
            data = await self._operation(request, b"", limit, overflow)
        except GuestOperationError as error:
            if error.code == "too-large":
                raise HostileArchiveError(str(error)) from None
            raise
        return await asyncio.to_thread(archive.unpack, data, dest, max_bytes=max_bytes, max_files=max_files)

    async def look(
        self,
        patterns: tuple[str, ...],
        *,
        max_entries: int = 20_000,
        max_bytes: int = 1024 * MIB,
        max_file_bytes: int = 64 * 1024,
        max_kept_bytes: int = 4 * MIB,
    ) -> tuple[Entry, ...]:
        request: dict[str, object] = {"op": "look", "patterns": list(patterns), "entries": max_entries}
        request |= {"bytes": max_bytes, "keep": max_file_bytes, "keep_all": max_kept_bytes}
        limit = 2 * max_kept_bytes + max_entries * looks.ENTRY_BYTES
        data = await self._operation(request, b"", limit, looks.too_much(limit))
        return await asyncio.to_thread(looks.entries, data)

    async def processes(self, *, max_items: int = 2000) -> Processes:
        request: dict[str, object] = {"op": "processes", "max": max_items}
        limit = looks.PROCESSES_BYTES
        return looks.processes(await self._operation(request, b"", limit, looks.too_much(limit)))

    async def gather(
        self, patterns: tuple[str, ...], *, max_bytes: int = MAX_GET_BYTES, max_files: int = 1000
    ) -> Gathered:
        limit = gathering.archive_bytes(max_bytes, max_files)
        request: dict[str, object] = {"op": "gather", "patterns": list(patterns)}
        process = await self._mux.open({**request, "max": max_bytes, "files": max_files})
        overflow = HostileArchiveError(f"files of more than {max_bytes} bytes in all")
        try:
            out, err, status = await collect(process, b"", limit, overflow)
        finally:
            await asyncio.shield(self._end(process))
        check_operation(status, err)
        return await asyncio.to_thread(
            gathering.read, out, err, patterns, max_bytes=max_bytes, max_files=max_files
        )

    async def set_clock(self, at: float | None, zone: str | None) -> None:
        await self._mux.set_clock(at, zone, None if zone is None else zone_data(zone))
        if zone is not None:
            self.env = {**self.env, "TZ": zone}

    async def mark(self) -> None:
        process = await self._mux.open({"op": "mark"})
        self._mux.forget(process.stream)

    async def changes(
        self, *, max_items: int = 2000, max_file_bytes: int = 64 * 1024, max_bytes: int = MIB
    ) -> Changes:
        bounds = {"max_items": max_items, "max_file_bytes": max_file_bytes, "max_bytes": max_bytes}
        answer = await self._operation({"op": "changes", **bounds}, b"", changes.answer_bytes(max_bytes))
        return await asyncio.to_thread(changes.read, answer, **bounds)

    async def reconnect(self, network: NetworkAccess | None) -> None:
        """Drivers override."""
        raise SandboxError("this sandbox cannot be used again")

    async def stop(self) -> None:
        if self._stopping is None:
            self._stopping = asyncio.ensure_future(self._stop())
        await asyncio.shield(self._stopping)  # goes on when the caller is cancelled

    async def _stop(self) -> None:
        with suppress(Exception):
            await self._mux.close()
        await self._destroy()

    async def _destroy(self) -> None:
        """End the machine itself; drivers override."""


class _Bounded:
    """The beginning of an output; the rest is read and dropped."""

    def __init__(self, limit: int) -> None:
        self.data = bytearray()
        self.over = False
        self._limit = limit

    async def fill(self, chunks: AsyncIterator[bytes]) -> None:
        async for chunk in chunks:
            room = self._limit - len(self.data)
            self.data += chunk[:room]
            self.over = self.over or len(chunk) > room


__all__ = ["ExitStatus", "RemoteSandbox"]
