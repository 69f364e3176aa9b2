"""Services of a sandbox: started, waited for, listened to.

A service of the template is started once, before the snapshot, and held: it runs, and what it writes waits in its pipes
until the trial that was restored attaches to it. A service of the trial is started by the trial itself.
"""

from __future__ import annotations

import asyncio
import io
import re
import tarfile
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import h11

from aegis.errors import GuestOperationError, SandboxStartError
from aegis.sandbox.base import ExitStatus, Process, Readiness, Sandbox, ServiceSpec
from aegis.sandbox.mux import shown

MAX_LOG_BYTES = 64 * 1024
"""Of what a service writes, the newest is kept."""
MAX_LINE_CHARS = 2000
SHOWN_LINES = 20
POLL_S = 0.05
CHECK_TIMEOUT_S = 20.0
"""Of one look whether a service is up; one that hangs is repeated."""
INIT_TIMEOUT_S = 300.0
"""Of one command of `init`."""
SETTLE_S = 0.2
"""How long a service that is up may go on with what it does at its start before it is saved."""
FIX = "correct `sandbox.services` in the suite"


def held_name(name: str) -> str:
    """The name under which the machine keeps a service of its template."""
    return f"service:{name}"


class Log:
    """The newest lines of a program's output, bounded."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque()
        self._partial = ["", ""]
        self._bytes = 0
        self.dropped = 0
        """Lines that were too many to keep."""

    def add(self, data: bytes, channel: int = 0) -> list[str]:
        """Take output in; returns the lines that it completed."""
        text = self._partial[channel] + data.decode("utf-8", "replace")
        *lines, rest = text.split("\n")
        if len(rest) > MAX_LINE_CHARS:
            lines.append(rest)
            rest = ""
        self._partial[channel] = rest
        done = [shown(line.rstrip("\r"))[:MAX_LINE_CHARS] for line in lines]
        for line in done:
            self._lines.append(line)
            self._bytes += len(line) + 1
        while self._bytes > MAX_LOG_BYTES:
            self._bytes -= len(self._lines.popleft()) + 1
            self.dropped += 1
        return done

    def lines(self) -> list[str]:
        """All that is kept, an unfinished last line included."""
        return [*self._lines, *(shown(rest) for rest in self._partial if rest)]

    def tail(self, count: int = SHOWN_LINES) -> str:
        """The last lines, indented for an error message; "" when there are none."""
        return "".join(f"\n    {line[:300]}" for line in self.lines()[-count:])


def told_of(running: Running) -> str:
    """The rest of a message about a service: its command, unless a preset made it, and its last lines."""
    own = "" if running.spec.kind else f": {' '.join(running.spec.command.split())[:200]}"
    return f"{own}{running.log.tail()}"


class Running:
    """A service that was started: its output is read all the time, so that it never waits for a reader."""

    def __init__(self, spec: ServiceSpec, process: Process) -> None:
        self.spec = spec
        self.process = process
        self.log = Log()
        self.status: ExitStatus | None = None
        """How it ended; None while it runs."""
        self._pattern = re.compile(spec.ready.log) if spec.ready.log is not None else None
        self.log_seen = False
        """Whether the line that shows that it is ready has been seen."""
        self._tasks = [
            asyncio.create_task(self._read(process.stdout(), 0)),
            asyncio.create_task(self._read(process.stderr(), 1)),
            asyncio.create_task(self._wait()),
        ]

    async def _read(self, chunks: AsyncIterator[bytes], channel: int) -> None:
        with suppress(Exception):  # the machine is gone: whoever uses it is told
            async for chunk in chunks:
                for line in self.log.add(chunk, channel):
                    if self._pattern is not None and self._pattern.search(line):
                        self.log_seen = True

    async def _wait(self) -> None:
        with suppress(Exception):
            self.status = await self.process.wait()

    async def settle(self) -> None:
        """Let what it wrote before it ended arrive."""
        await asyncio.wait(self._tasks[:2], timeout=1.0)

    async def close(self) -> None:
        """Stop listening; the program itself goes on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class _Check:
    what: str
    """What is missing while it does not hold."""
    holds: Callable[[], Awaitable[bool]]


def folders_tar(services: tuple[ServiceSpec, ...]) -> bytes:
    """The services' folders and the files in them, to be unpacked at `/`."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for spec in services:
            folder = tarfile.TarInfo(spec.folder[1:])
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(folder)
            for name, text in spec.files.items():
                content = text.encode()
                member = tarfile.TarInfo(f"{spec.folder[1:]}/{name}")
                member.size, member.mode = len(content), 0o644
                archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


async def start(sandbox: Sandbox, spec: ServiceSpec, env: Mapping[str, str]) -> Running:
    """Start one service and wait until it is ready. Its folder is there already.

    `env`: what it is told besides the sandbox's own environment. Raises `SandboxStartError` that names the service and
    shows its last lines: its port is taken, it ended, it was not ready in time, or it could not be started.
    """
    if spec.port is not None and await _listens(sandbox, spec.port):
        raise SandboxStartError(
            f"service {spec.name!r} cannot have port {spec.port}: something listens there already",
            fix="give each service a port of its own (`port` in sandbox.services)",
        )
    try:
        process = await sandbox.exec(
            ("/bin/sh", "-c", spec.command), cwd=spec.folder, env={**env, **spec.own_env}
        )
    except GuestOperationError as error:
        raise SandboxStartError(f"service {spec.name!r} cannot be started: {error}", fix=FIX) from None
    await process.close_stdin()
    running = Running(spec, process)
    try:
        await _until_ready(sandbox, running, env)
        for command in spec.init:
            await _run_init(sandbox, running, command, {**env, **spec.told})
    except BaseException:
        await running.close()
        raise
    return running


async def _run_init(sandbox: Sandbox, running: Running, command: str, env: Mapping[str, str]) -> None:
    done = await sandbox.run(("/bin/sh", "-c", command), env=env, timeout_s=INIT_TIMEOUT_S)
    if done.timed_out or not done.status.ok:
        how = f"took longer than {INIT_TIMEOUT_S:g} s" if done.timed_out else done.status.describe()
        said = (done.stdout + done.stderr).decode("utf-8", "replace").rstrip().splitlines()[-SHOWN_LINES:]
        text = "".join(f"\n    {shown(line)[:300]}" for line in said)
        raise SandboxStartError(
            f"service {running.spec.name!r}: `init` failed ({how}): {command}{text or running.log.tail()}",
            fix=FIX,
        )


async def _until_ready(sandbox: Sandbox, running: Running, env: Mapping[str, str]) -> None:
    spec = running.spec
    begun = time.monotonic()
    for check in _checks(sandbox, running, env):
        while True:
            if running.status is not None:
                await running.settle()
                raise SandboxStartError(
                    f"service {spec.name!r} ended with {running.status.describe()} before it was ready"
                    f"{told_of(running)}",
                    fix=FIX,
                )
            if await _holds(check, min(CHECK_TIMEOUT_S, spec.ready_timeout_s)):
                break
            if time.monotonic() - begun >= spec.ready_timeout_s:
                raise SandboxStartError(
                    f"service {spec.name!r} was not ready within {spec.ready_timeout_s:g} s: {check.what}"
                    f"{running.log.tail()}",
                    fix=f"{FIX}, or give it more time (ready_timeout)",
                )
            await asyncio.sleep(POLL_S)


async def _holds(check: _Check, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            return await check.holds()
    except TimeoutError:
        return False


def _checks(sandbox: Sandbox, running: Running, env: Mapping[str, str]) -> list[_Check]:
    spec, ready = running.spec, running.spec.ready
    if ready == Readiness() and spec.port is not None:
        ready = Readiness(tcp=spec.port)
    checks: list[_Check] = []
    if (pattern := ready.log) is not None:

        async def seen() -> bool:
            return running.log_seen

        checks.append(_Check(f"no line of its output matches {pattern!r}", seen))
    if (port := ready.tcp) is not None:
        checks.append(_Check(f"nothing listens on port {port}", lambda: _listens(sandbox, port)))
    if (url := ready.http) is not None:
        checks.append(_Check(f"{url} was not answered with 2xx or 3xx", lambda: _answers(sandbox, url)))
    if (command := ready.command) is not None:

        async def succeeds() -> bool:
            done = await sandbox.run(
                ("/bin/sh", "-c", command),
                cwd=spec.folder,
                env={**env, **spec.told, **spec.own_env},
                timeout_s=CHECK_TIMEOUT_S,
            )
            return done.status.ok and not done.timed_out

        checks.append(_Check(f"the command {command!r} fails", succeeds))
    return checks


async def _listens(sandbox: Sandbox, port: int) -> bool:
    try:
        connection = await sandbox.dial(port)
    except GuestOperationError:
        return False
    await connection.kill()
    return True


async def _answers(sandbox: Sandbox, url: str) -> bool:
    """Whether a GET of the URL is answered with 2xx or 3xx."""
    parts = urlsplit(url)
    try:
        connection = await sandbox.dial(parts.port or 80)
    except GuestOperationError:
        return False
    try:
        client = h11.Connection(h11.CLIENT)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = [("Host", parts.netloc), ("Connection", "close"), ("Accept", "*/*")]
        request = client.send(h11.Request(method="GET", target=path, headers=headers))
        await connection.write((request or b"") + (client.send(h11.EndOfMessage()) or b""))
        async for data in connection.stdout():
            client.receive_data(data)
            event = client.next_event()
            while isinstance(event, h11.InformationalResponse):
                event = client.next_event()
            if isinstance(event, h11.Response):
                return 200 <= event.status_code < 400
        return False
    except h11.ProtocolError:
        return False
    finally:
        await connection.kill()
