"""One driver and one event loop for many tests, each of which gets a sandbox of its own."""

from __future__ import annotations

import asyncio
import io
import tarfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

from aegis.sandbox.base import Completed, Driver, Process, Sandbox, Template, TemplateSpec

T = TypeVar("T")

DEADLINE_S = 120.0
"""What only a hang can miss, also on a very slow host."""


class Bench:
    """Runs coroutines on one loop with one driver: a template is made once for all tests that name it."""

    def __init__(self, runner: asyncio.Runner, driver: Driver) -> None:
        self._runner = runner
        self.driver = driver

    def run(self, body: Callable[[], Awaitable[T]], *, deadline_s: float = DEADLINE_S) -> T:
        """Run a coroutine function to its end. Raises TimeoutError when it hangs."""

        async def bounded() -> T:
            async with asyncio.timeout(deadline_s):
                return await body()

        return self._runner.run(bounded())

    def trial(
        self,
        use: Callable[[Sandbox], Awaitable[T]],
        spec: TemplateSpec,
        *,
        deadline_s: float = DEADLINE_S,
    ) -> T:
        """Run `use` on a fresh sandbox of this template, and destroy it."""

        async def body() -> T:
            async with self.sandbox(spec) as sandbox:
                return await use(sandbox)

        return self.run(body, deadline_s=deadline_s)

    @asynccontextmanager
    async def sandbox(self, spec: TemplateSpec) -> AsyncIterator[Sandbox]:
        sandbox = await self.driver.start(await self.template(spec))
        try:
            yield sandbox
        finally:
            await sandbox.stop()

    async def template(self, spec: TemplateSpec) -> Template:
        return await self.driver.template(spec)


@contextmanager
def open_bench(make: Callable[[], Driver]) -> Iterator[Bench]:
    with asyncio.Runner() as runner:
        driver = make()
        runner.run(driver.__aenter__())
        try:
            yield Bench(runner, driver)
        finally:
            runner.run(driver.__aexit__(None, None, None))


def tar_of(files: Mapping[str, bytes | str], *, modes: Mapping[str, int] | None = None) -> bytes:
    """A tar archive of regular files, as a suite's files are sent."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), (modes or {}).get(name, 0o644)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


async def sh(
    sandbox: Sandbox, script: str, *, timeout_s: float = DEADLINE_S, stdin: bytes = b""
) -> Completed:
    return await sandbox.run(("/bin/sh", "-c", script), timeout_s=timeout_s, stdin=stdin)


async def text_of(sandbox: Sandbox, script: str) -> str:
    """What a script prints; it must succeed."""
    done = await sh(sandbox, script)
    assert done.status.ok, (done.status, done.stderr)
    return done.stdout.decode()


async def read_all(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


async def finish(process: Process) -> tuple[bytes, bytes]:
    """All that a process still writes, both channels read at once, as they must be."""
    out, err = await asyncio.gather(read_all(process.stdout()), read_all(process.stderr()))
    await process.wait()
    return out, err


async def read_until(chunks: AsyncIterator[bytes], mark: bytes) -> bytes:
    """Read until `mark` has arrived; returns all that was read."""
    data = b""
    async for chunk in chunks:
        data += chunk
        if mark in data:
            return data
    raise AssertionError(f"the output ended without {mark!r}: {data[-500:]!r}")


async def until(condition: Callable[[], Awaitable[bool]], what: str, *, deadline_s: float = 60.0) -> None:
    """Poll until the condition holds. Raises AssertionError naming `what`."""
    end = time.monotonic() + deadline_s
    while not await condition():
        assert time.monotonic() < end, f"still waiting after {deadline_s:.0f} s: {what}"
        await asyncio.sleep(0.05)


async def gone(sandbox: Sandbox, pid: int) -> None:
    """Wait until a process in the sandbox is no more (a zombie counts as ended)."""

    async def ended() -> bool:
        script = f"read -r line < /proc/{pid}/stat 2>/dev/null || exit 0; case $line in *') Z '*) exit 0;; esac; exit 1"
        return (await sh(sandbox, script)).status.ok

    await until(ended, f"the end of process {pid}")


async def alive(sandbox: Sandbox, pid: int) -> bool:
    return (await sh(sandbox, f"kill -0 {pid} 2>/dev/null")).status.ok
