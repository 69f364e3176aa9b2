"""A sandbox driver without a machine: an in-memory file system and programs that are Python functions.

It keeps the contract of `aegis.sandbox.base` (typed errors, single use, destroyed on leaving) and is scripted from
outside: which starts fail, how long they take, which machine goes away when, what its programs print.
"""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from aegis.errors import GuestOperationError, HostileArchiveError, SandboxLostError
from aegis.sandbox.base import (
    MAX_GET_BYTES,
    MIB,
    WORKSPACE,
    Change,
    Changes,
    Completed,
    DriverInfo,
    ExitStatus,
    Gathered,
    GatheredFile,
    Progress,
    SandboxInfo,
    Template,
    TemplateSpec,
)
from aegis.sandbox.guest import globs
from aegis.sandbox.network import NetworkAccess, NetworkPaths

PATHS = NetworkPaths("http://127.0.0.1:3128", "/etc/site-ca.pem", "/etc/ssl/all.pem")
"""Of every fake sandbox that is connected to something."""


@dataclass(frozen=True)
class Output:
    """What a scripted program does: prints, and ends."""

    stdout: bytes = b""
    stderr: bytes = b""
    code: int = 0
    signal: int | None = None
    after_s: float = 0.0
    """How long it runs. `float("inf")`: until it is killed."""

    @property
    def status(self) -> ExitStatus:
        return ExitStatus(None if self.signal else self.code, self.signal, self.after_s)


Program = Callable[["FakeSandbox", tuple[str, ...], bytes], Output]
"""(sandbox, argv, standard input) → what it does. It may read and change `sandbox.files`, or lose the machine."""


def silent(sandbox: FakeSandbox, argv: tuple[str, ...], stdin: bytes) -> Output:
    return Output()


@dataclass
class FakeDriver:
    """`start_errors` are raised by the first starts, one each (None: that start succeeds)."""

    program: Program = silent
    start_errors: list[Exception | None] = field(default_factory=list)
    every_start_error: Exception | None = None
    template_error: Exception | None = None
    clock_error: Exception | None = None
    gather_error: Exception | None = None
    start_delay_s: float = 0.0
    capacity: int = 4
    info: DriverInfo = field(
        default_factory=lambda: DriverInfo(
            "process", None, False, False, "fake 1", "No isolation: a test double."
        )
    )
    sandboxes: list[FakeSandbox] = field(default_factory=list)
    """Every sandbox ever started, in order."""
    starts: int = 0
    expected: list[int] = field(default_factory=list)
    """What `expect` was told, in order."""
    most_alive: int = 0
    templates: list[TemplateSpec] = field(default_factory=list)
    entered: bool = False

    async def __aenter__(self) -> FakeDriver:
        self.entered = True
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.entered = False
        for sandbox in self.sandboxes:
            await sandbox.stop()

    async def template(self, spec: TemplateSpec, *, progress: Progress | None = None) -> Template:
        if self.template_error is not None:
            raise self.template_error
        self.templates.append(spec)
        if progress is not None:
            progress("preparing the template")
        return Template("0" * 64, spec, cached=False, build_s=0.0)

    def expect(self, template: Template, remaining: int) -> None:
        self.expected.append(remaining)

    async def start(self, template: Template, *, network: NetworkAccess | None = None) -> FakeSandbox:
        self.starts += 1
        error = self.start_errors.pop(0) if self.start_errors else self.every_start_error
        await asyncio.sleep(self.start_delay_s)
        if error is not None:
            raise error
        sandbox = FakeSandbox(self, template.spec, f"m{self.starts}", network)
        self.sandboxes.append(sandbox)
        self.most_alive = max(self.most_alive, self.alive)
        return sandbox

    def slots(self, spec: TemplateSpec) -> int:
        return self.capacity

    @property
    def alive(self) -> int:
        return sum(not sandbox.stopped for sandbox in self.sandboxes)


class FakeSandbox:
    """Files by absolute path; only `stop` and `lose` end it."""

    def __init__(
        self, driver: FakeDriver, spec: TemplateSpec, name: str, network: NetworkAccess | None = None
    ) -> None:
        self.driver = driver
        self.access = network
        """What it was connected to: a test's program calls its handler as the machine would."""
        self.network = None if network is None else PATHS
        self.services = spec.services
        self.info = SandboxInfo(
            name, driver.info.driver, 1.5, restored=False, memory_mib=spec.memory_bytes // MIB
        )
        self.files: dict[str, bytes] = {}
        self.commands: list[tuple[str, ...]] = []
        """Every program started, in order."""
        self.environments: list[dict[str, str]] = []
        """What each of them was given."""
        self.clocks: list[tuple[int, float | None, str | None]] = []
        """Every clock that was set, behind how many programs."""
        self.clock_error = driver.clock_error
        self.gather_error = driver.gather_error
        self.stopped = False
        self._marked: dict[str, bytes] | None = None
        self._lost: SandboxLostError | None = None
        self._gone = asyncio.Event()
        if spec.files_tar:
            self._unpack(spec.files_tar, "/")

    def lose(self, *, by_guest: bool) -> None:
        """The machine goes away now."""
        self._lost = SandboxLostError("the machine went away", by_guest=by_guest)
        self._gone.set()

    async def exec(
        self,
        argv: tuple[str, ...],
        *,
        cwd: str = WORKSPACE,
        env: Mapping[str, str] | None = None,
        terminal: tuple[int, int] | None = None,
    ) -> FakeProcess:
        self._check()
        self.commands.append(argv)
        self.environments.append(dict(env or {}))
        return FakeProcess(self, argv)

    async def attach(self, name: str) -> FakeProcess:
        self._check()
        raise GuestOperationError(f"no prepared process {name}", code="not-found")

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
        process = await self.exec(argv, cwd=cwd, env=env)
        await process.write(stdin)
        await process.close_stdin()
        timed_out = False
        try:
            async with asyncio.timeout(timeout_s):
                status = await process.wait()
        except TimeoutError:
            timed_out = True
            await process.kill()
            status = await process.wait()
        output = process.output
        return Completed(
            status,
            output.stdout[:max_output_bytes],
            output.stderr[:max_output_bytes],
            truncated=max(len(output.stdout), len(output.stderr)) > max_output_bytes,
            timed_out=timed_out,
        )

    async def put_tar(self, archive: bytes, *, dest: str = "/") -> None:
        self._check()
        self._unpack(archive, dest)

    async def get_file(self, path: str, *, max_bytes: int = MAX_GET_BYTES) -> bytes:
        self._check()
        data = self.files.get(_absolute(path))
        if data is None:
            raise GuestOperationError(f"{path}: not found", code="not-found")
        if len(data) > max_bytes:
            raise GuestOperationError(f"{path}: too large", code="too-large")
        return data

    async def get_tree(
        self, path: str, dest: Path, *, max_bytes: int = MAX_GET_BYTES, max_files: int = 10_000
    ) -> int:
        self._check()
        prefix = _absolute(path)
        found = {
            name: data for name, data in self.files.items() if name == prefix or name.startswith(prefix + "/")
        }
        if len(found) > max_files or sum(map(len, found.values())) > max_bytes:
            raise HostileArchiveError(f"{path}: too much to copy out")
        for name, data in found.items():
            target = dest / (name[len(prefix) :].lstrip("/") or Path(name).name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        return len(found)

    async def gather(
        self, patterns: tuple[str, ...], *, max_bytes: int = MAX_GET_BYTES, max_files: int = 1000
    ) -> Gathered:
        self._check()
        if self.gather_error is not None:
            raise self.gather_error
        found = sorted(path for path in self.files if any(globs.covers(each, path) for each in patterns))
        missing = [each for each in patterns if not any(globs.covers(each, path) for path in found)]
        kept = tuple(GatheredFile(path, self.files[path]) for path in found[:max_files])
        return Gathered(kept, tuple((each, "nothing is there") for each in missing))

    async def set_clock(self, at: float | None, zone: str | None) -> None:
        self._check()
        if self.clock_error is not None:
            raise self.clock_error
        self.clocks.append((len(self.commands), at, zone))

    async def dial(self, port: int, *, wait_s: float = 0.0) -> FakeProcess:
        self._check()
        raise GuestOperationError(f"nothing listens on {port}", code="not-found")

    async def mark(self) -> None:
        self._check()
        self._marked = dict(self.files)

    async def changes(
        self, *, max_items: int = 2000, max_file_bytes: int = 64 * 1024, max_bytes: int = 1 * MIB
    ) -> Changes:
        self._check()
        if self._marked is None:
            raise GuestOperationError("nothing was marked", code="not-found")
        items = [
            _change(path, self._marked.get(path), self.files.get(path))
            for path in sorted(self._marked.keys() | self.files.keys())
            if self._marked.get(path) != self.files.get(path)
        ]
        return Changes(tuple(items[:max_items]), max(len(items) - max_items, 0))

    async def stop(self) -> None:
        self.stopped = True
        if self._lost is None:
            self.lose(by_guest=False)

    def _unpack(self, archive: bytes, dest: str) -> None:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            for member in tar:
                content = tar.extractfile(member)
                if content is not None:
                    self.files[_absolute(f"{dest.rstrip('/')}/{member.name}")] = content.read()

    def _check(self) -> None:
        if self._lost is not None:
            raise self._lost

    async def wait_gone(self) -> None:
        await self._gone.wait()


def _change(path: str, before: bytes | None, after: bytes | None) -> Change:
    how: Literal["added", "changed", "deleted"] = "changed"
    if before is None or after is None:
        how = "added" if before is None else "deleted"
    sizes = [None if data is None else len(data) for data in (before, after)]
    return Change(path, how, "file", sizes[0], sizes[1], before, after)


class FakeProcess:
    """Runs its program when its input is closed or it is waited for."""

    def __init__(self, sandbox: FakeSandbox, argv: tuple[str, ...]) -> None:
        self._sandbox = sandbox
        self._argv = argv
        self._stdin = bytearray()
        self._output: Output | None = None
        self._input_closed = asyncio.Event()
        self._killed = asyncio.Event()

    @property
    def output(self) -> Output:
        if self._output is None:
            self._output = self._sandbox.driver.program(self._sandbox, self._argv, bytes(self._stdin))
        return self._output

    async def write(self, data: bytes) -> None:
        self._sandbox._check()
        self._stdin += data

    async def close_stdin(self) -> None:
        self._sandbox._check()
        self._input_closed.set()

    async def stdout(self) -> AsyncIterator[bytes]:
        await self._ended()
        if not self._killed.is_set():
            yield self.output.stdout

    async def stderr(self) -> AsyncIterator[bytes]:
        await self._ended()
        if not self._killed.is_set():
            yield self.output.stderr

    async def signal(self, number: int) -> None:
        self._sandbox._check()

    async def kill(self) -> None:
        self._sandbox._check()
        self._killed.set()

    async def resize(self, rows: int, columns: int) -> None:
        self._sandbox._check()

    async def wait(self) -> ExitStatus:
        await self._ended()
        return ExitStatus(None, 9, 0.0) if self._killed.is_set() else self.output.status

    async def _ended(self) -> None:
        """Until the program ended or was killed; raises when the machine goes away first."""
        life = asyncio.create_task(self._live())
        ends = {
            life,
            asyncio.create_task(self._killed.wait()),
            asyncio.create_task(self._sandbox.wait_gone()),
        }
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if not (life.done() or self._killed.is_set()):
                self._sandbox._check()
            if life.done():
                life.result()
        finally:
            for task in ends:
                task.cancel()
            await asyncio.gather(*ends, return_exceptions=True)

    async def _live(self) -> None:
        await self._input_closed.wait()
        duration_s = self.output.after_s
        self._sandbox._check()
        if duration_s == float("inf"):
            await asyncio.Event().wait()
        await asyncio.sleep(duration_s)


def _absolute(path: str) -> str:
    return path if path.startswith("/") else f"{WORKSPACE}/{path}"


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that another task does; the test's own timeout bounds it."""
    while not condition():  # noqa: ASYNC110 - conditions are about a fake's plain attributes, which tell nobody
        await asyncio.sleep(0.005)
