"""The contract between Aegis and whatever makes sandboxes.

A `Driver` turns a `TemplateSpec` into a `Template` (everything that trials have in common, done once) and a template
into `Sandbox`es (one for each trial, never reused). All methods are coroutines of asyncio and may be cancelled at any
await; a cancelled or failed `start` leaves no process, socket or file behind.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol

from aegis.sandbox.network import NetworkAccess, NetworkPaths

MIB = 1024 * 1024
WORKSPACE = "/workspace"
"""Where the suite's files lie in the guest, and the working directory of the agent, set-up steps and checks."""

MAX_GET_BYTES = 64 * MIB
"""Default bound of one file copied out of a sandbox."""


@dataclass(frozen=True, slots=True)
class PreparedProcess:
    """A program started inside the template, before the snapshot, that waits on its standard input.

    Trials reach it with `Sandbox.attach(name)`: it is running already, so its start-up costs a trial nothing.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = WORKSPACE
    says_ready: bool = False
    """Whether it writes a line to standard output once it waits for input; the template is saved after that line.
    The line is still the first that `attach` gives."""
    ready_timeout_s: float = 60.0
    """How long the template waits for that line. What is late is no error: it goes on getting ready in each trial."""


@dataclass(frozen=True, slots=True)
class ImageLayer:
    """What is added to an image before templates are made of it, once for all of them."""

    name: str
    """For people: what it is for."""
    packages: tuple[str, ...] = ()
    """Of the image's own Debian release."""
    run: tuple[str, ...] = ()
    """Shell commands run as root in the image, after the packages."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """When a service counts as up: everything that is set must hold."""

    tcp: int | None = None
    """A loopback port that accepts connections."""
    http: str | None = None
    """`http://127.0.0.1:PORT/PATH`, answered with 2xx or 3xx."""
    command: str | None = None
    """A shell command that exits 0."""
    log: str | None = None
    """A regular expression found in a line of its output."""


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """A program beside the agent: a database, a mail server, the team's own."""

    name: str
    command: str
    """A shell command (`sh -c`) that stays in the foreground."""
    ready: Readiness
    ready_timeout_s: float = 60.0
    port: int | None = None
    """Must be free when it is started. `PORT` in its environment."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Of the service itself."""
    exports: Mapping[str, str] = field(default_factory=dict)
    """What everything else in the sandbox is told, such as `PGHOST`; `{port}` in it stands for the port."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Path below its folder → text that is written there before it is started."""
    prepare: str = ""
    """A shell command that fills its folder with what every start needs. A layer of the image has done it already;
    where there is no image it is run once, and its result copied for each trial."""
    init: tuple[str, ...] = ()
    """Shell commands run in `WORKSPACE` when it is ready, before the snapshot where it is in the template. Each must
    exit 0."""
    in_template: bool = True
    """Whether it is started before the snapshot; else anew in each trial."""
    kind: str = ""
    """The preset that it was made of, such as `postgres`; "" for a program of the suite's own."""

    @property
    def folder(self) -> str:
        """Its working directory, where it keeps what it has."""
        return f"/srv/{self.name}"

    @property
    def told(self) -> dict[str, str]:
        """`exports` as they stand in the environment of everything else, `NAME_PORT` included."""
        if self.port is None:
            return dict(self.exports)
        name = self.name.upper().replace("-", "_")
        told = {key: value.replace("{port}", str(self.port)) for key, value in self.exports.items()}
        return {f"{name}_PORT": str(self.port), **told}

    @property
    def own_env(self) -> dict[str, str]:
        """Its own environment besides the sandbox's."""
        return {**({} if self.port is None else {"PORT": str(self.port)}), **self.env}

    def at_port(self, port: int) -> ServiceSpec:
        """The same service at another port, its readiness included."""
        ready = self.ready
        if ready.tcp == self.port:
            ready = replace(ready, tcp=port)
        if ready.http is not None:
            ready = replace(ready, http=ready.http.replace(f":{self.port}/", f":{port}/", 1))
        return replace(self, port=port, ready=ready)


@dataclass(frozen=True, slots=True)
class TemplateSpec:
    """What all trials of a suite start from. Equal specs give the same `Template.key`."""

    image: str
    """Image reference as in the suite: `debian`, a path to an image file, `oci:NAME`, `oci-layout:PATH`."""
    memory_bytes: int = 512 * MIB
    cpus: int = 1
    files_tar: bytes = b""
    """Uncompressed tar archive of absolute-less paths (`workspace/agent.py`), unpacked at `/` before `setup`."""
    setup: tuple[str, ...] = ()
    """Shell commands run in order in `WORKSPACE`, each must exit 0, else `SandboxStartError` with the output's end."""
    setup_timeout_s: float = 600.0
    env: Mapping[str, str] = field(default_factory=dict)
    prepared: tuple[PreparedProcess, ...] = ()
    layers: tuple[ImageLayer, ...] = ()
    """Put on the image, in order. The `process` driver has no image: it leaves them out."""
    services: tuple[ServiceSpec, ...] = ()
    """Those with `in_template` are started in order after `setup`, each when the one before is ready."""
    made_for: Mapping[str, str] = field(default_factory=dict)
    """Who needs it, for people (`suite`, `project`): equal templates are one, whoever needs them."""


@dataclass(frozen=True, slots=True)
class Template:
    key: str
    """Content hash (hex) of the spec, the image, and whatever else of the driver shapes the machine."""
    spec: TemplateSpec
    cached: bool
    """True when nothing had to be booted or built for it."""
    build_s: float
    """Seconds spent making or loading it."""


@dataclass(frozen=True, slots=True)
class DriverInfo:
    """What isolation is in force; goes into the run's header and the run document as it is."""

    driver: str
    """`qemu`, `firecracker` or `process`."""
    accel: str | None
    """`kvm`, `hvf`, `tcg`, or None for `process`."""
    security_boundary: bool
    """Whether a hostile agent is kept in by a boundary that its maker supports: hardware virtualisation only."""
    isolated_state: bool
    """Whether each trial starts from a state that no other trial can have written: False for `process`."""
    version: str
    """Version of the VMM, for people: `QEMU 7.2.22`."""
    note: str | None = None
    """One sentence a user must see, or None."""


@dataclass(frozen=True, slots=True)
class SandboxInfo:
    id: str
    driver: str
    start_ms: float
    """Milliseconds that the trial waited: from the call of `start` to a machine that answers, pool hits included."""
    restored: bool
    """True when restored from a template, False when booted cold."""
    memory_mib: int
    """Memory the guest was given, in MiB (0: not limited)."""
    pooled: bool = False


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """How a process in a sandbox ended: `code` (0–255) or `signal` (1–64), exactly one is not None."""

    code: int | None
    signal: int | None
    duration_s: float
    """As the guest measured it; informative only."""

    @property
    def ok(self) -> bool:
        return self.code == 0

    def describe(self) -> str:
        return f"exit code {self.code}" if self.signal is None else f"killed by signal {self.signal}"


class Process(Protocol):
    """A program running in a sandbox. Its output is credit-limited: unread output makes it wait, never fills memory."""

    async def write(self, data: bytes) -> None:
        """Send to standard input; waits while the program doesn't read. Data for a program that has closed its
        input or ended is dropped silently."""

    async def close_stdin(self) -> None:
        """End of file on standard input. May be called twice."""

    def stdout(self) -> AsyncIterator[bytes]:
        """Chunks as they arrive, until the program and all holders of the pipe closed it. One reader only."""

    def stderr(self) -> AsyncIterator[bytes]:
        """As `stdout`; empty for a process with a terminal."""

    async def signal(self, number: int) -> None:
        """Send a signal to the program's process group; one that has ended is left alone."""

    async def kill(self) -> None:
        """End the program and every process that it started, also those that left its group or session."""

    async def resize(self, rows: int, columns: int) -> None:
        """Set the size of its terminal; nothing happens without one."""

    async def wait(self) -> ExitStatus:
        """Wait for its end. Raises `SandboxLostError` when the machine went away first. May be called repeatedly."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing in the file system, as `Sandbox.look` found it."""

    path: str
    """Absolute guest path."""
    kind: Literal["file", "folder", "link", "other"]
    mode: int
    """Permission bits."""
    size_bytes: int | None = None
    """Of a file."""
    digest: str | None = None
    """Of a file's content (BLAKE2b, hex)."""
    content: bytes | None = None
    """Of a small file, or where a link leads; None when it was not kept."""


@dataclass(frozen=True, slots=True)
class ProcessInfo:
    """A process of the workload."""

    pid: int
    parent: int
    command: tuple[str, ...]
    """Its arguments, or its name in brackets; cut when they are long."""


@dataclass(frozen=True, slots=True)
class Processes:
    """The answer of `Sandbox.processes`. Everything in it is the machine's word: hostile."""

    items: tuple[ProcessInfo, ...]
    more: int = 0
    """How many more there are than were asked for."""


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between what a file system held at `Sandbox.mark` and what it holds now.

    What became something of another kind (a file, a folder) is two: `deleted`, then `added`. Folders are told when they
    were added or deleted, or their permissions changed; what is in them is told by itself.
    """

    path: str
    """Absolute guest path."""
    how: Literal["added", "changed", "deleted"]
    kind: Literal["file", "folder", "link", "other"]
    before_bytes: int | None
    """Size then; None for what was added, and for all but files."""
    after_bytes: int | None
    """Size now; None for what was deleted, and for all but files."""
    before: bytes | None = None
    """Content then, or where a link led; None when it was not kept (too large, or not asked for)."""
    after: bytes | None = None
    """Content now, as `before`."""
    before_mode: int | None = None
    """Permission bits then; None for what was added. A file may be `changed` in nothing but these."""
    after_mode: int | None = None
    """Permission bits now; None for what was deleted."""


@dataclass(frozen=True, slots=True)
class Changes:
    """The answer of `Sandbox.changes`. Everything in it is the machine's word: hostile."""

    items: tuple[Change, ...]
    """In the order of their paths."""
    more: int = 0
    """How many more there are than were asked for."""


@dataclass(frozen=True, slots=True)
class GatheredFile:
    """One regular file copied out. Everything in it is the machine's word: hostile."""

    path: str
    """Absolute guest path, normalised: no `..`, no empty part, no control characters."""
    data: bytes


@dataclass(frozen=True, slots=True)
class Gathered:
    """The answer of `Sandbox.gather`."""

    files: tuple[GatheredFile, ...]
    """Each path once, in the order of their paths."""
    left_out: tuple[tuple[str, str], ...] = ()
    """Path or pattern, and why it is not among the files; the first ones."""
    more: int = 0
    """How many more were left out."""


@dataclass(frozen=True, slots=True)
class Completed:
    """Result of `Sandbox.run`."""

    status: ExitStatus
    stdout: bytes
    stderr: bytes
    truncated: bool
    """True when an output went over its bound; what is kept is the beginning, the rest was read and dropped."""
    timed_out: bool
    """True when the deadline passed; the program and its children were killed."""


class Sandbox(Protocol):
    """The fresh machine of one trial.

    Paths are guest paths: absolute, or relative to `WORKSPACE`. Every method raises `SandboxLostError` once the
    machine is gone and `GuestProtocolError` when the guest breaks the protocol.
    """

    info: SandboxInfo
    network: NetworkPaths | None
    """How clients inside reach the outside; None for a sandbox that was started without a network."""
    services: tuple[ServiceSpec, ...]
    """Those of the template, at the ports that they have here."""

    async def exec(
        self,
        argv: tuple[str, ...],
        *,
        cwd: str = WORKSPACE,
        env: Mapping[str, str] | None = None,
        terminal: tuple[int, int] | None = None,
    ) -> Process:
        """Start a program.

        `env` is added to the image's and template's environment. `terminal` (rows, columns) gives it a
        pseudo-terminal whose output all comes on stdout. Raises `GuestOperationError` (`not-found`,
        `not-executable`, `permission`, `bad-request`) when it can't be started.
        """

    async def attach(self, name: str) -> Process:
        """The process that the template prepared under this name. Once per sandbox.
        Raises `GuestOperationError(not-found)`."""

    async def dial(self, port: int, *, wait_s: float = 0.0) -> Process:
        """Connect to a program that listens on this port of the sandbox's own loopback, whatever the image holds.

        What is written to the process goes there, its standard output is what comes back, and it exits when the other
        side has ended: with code 0, or another when the connection broke. Closing its input ends the sending only.
        Raises `GuestOperationError` (`not-found`) when nothing has listened there for `wait_s`.
        """

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
        """Start a program, feed it, wait for it, and kill what is left of it. `max_output_bytes` bounds each of
        stdout and stderr."""

    async def put_tar(self, archive: bytes, *, dest: str = "/") -> None:
        """Unpack an uncompressed tar archive below `dest`, parents made as needed, existing files replaced.
        Raises `GuestOperationError` (`no-space`, `permission`, `bad-request`)."""

    async def get_file(self, path: str, *, max_bytes: int = MAX_GET_BYTES) -> bytes:
        """The bytes of one regular file (symbolic links are followed inside the sandbox).
        Raises `GuestOperationError` (`not-found`, `is-directory`, `too-large`, `permission`)."""

    async def get_tree(
        self, path: str, dest: Path, *, max_bytes: int = MAX_GET_BYTES, max_files: int = 10_000
    ) -> int:
        """Copy a file or folder out, below the new host folder `dest`, and return the number of files.

        Only regular files and folders are made; everything is treated as hostile: an absolute or `..` path, a link,
        a device, or a limit exceeded raises `HostileArchiveError`, and `dest` does not exist afterwards.
        """

    async def look(
        self,
        patterns: tuple[str, ...],
        *,
        max_entries: int = 20_000,
        max_bytes: int = 1024 * MIB,
        max_file_bytes: int = 64 * 1024,
        max_kept_bytes: int = 4 * MIB,
    ) -> tuple[Entry, ...]:
        """What lies at these paths and below those that are folders, in the order of paths. `*`, `?`, `[…]` and `**`
        stand for names as in a shell; what is not there is left out, links are not followed.

        Reads at most `max_bytes`; contents of at most `max_file_bytes` come along, `max_kept_bytes` in all. Raises
        `GuestOperationError` (`too-large`, `permission`)."""

    async def processes(self, *, max_items: int = 2000) -> Processes:
        """What runs in the sandbox: programs that Aegis started there and all that they started, but none of its own
        helpers. Needs no program of the image."""

    async def gather(
        self, patterns: tuple[str, ...], *, max_bytes: int = MAX_GET_BYTES, max_files: int = 1000
    ) -> Gathered:
        """Copy out the regular files that absolute paths name, with `*` and `?` for characters of a name and `**` for
        any folders; a folder stands for all that is in it. Links are followed where a path names them, never where a
        pattern finds them.

        What is too much for `max_bytes` or `max_files` is left out and told, as is a pattern that finds nothing.
        Raises `HostileArchiveError` for an answer that was not asked for.
        """

    async def set_clock(self, at: float | None, zone: str | None) -> None:
        """Let the machine's clock show `at` (seconds since 1970 in UTC; None: leave it) from now on, and its time zone
        be `zone` (None: leave it), also as `TZ` of all that is started from now on.

        Raises `GuestOperationError` (`bad-request`) where the clock is the host's own, or the kernel refuses the time.
        """

    async def mark(self) -> None:
        """Remember what the file system holds, for `changes`. Replaces an earlier mark."""

    async def changes(
        self, *, max_items: int = 2000, max_file_bytes: int = 64 * 1024, max_bytes: int = 1 * MIB
    ) -> Changes:
        """What differs from the last `mark`, which stays. Contents of at most `max_file_bytes` come along, `max_bytes`
        in all; texts come before what is binary.

        A file that was written anew with the same bytes is none, where the bytes at the mark are known (those of files
        of at most 64 KiB, within bounds). What a program writes through shared memory (`mmap`) is not seen before the
        file's time or size changes too.

        `/proc`, `/sys`, `/dev` and what the machine's own program writes are left out. Raises `GuestOperationError`
        (`not-found`) when nothing was marked."""

    async def reconnect(self, network: NetworkAccess | None) -> None:
        """Serve the machine's connections with another handler from now on; everything else in it stays. Only for
        measuring what a machine that is used again carries from trial to trial (`sandbox/shared.py`)."""

    async def stop(self) -> None:
        """Destroy the machine and everything in it. Never raises; may be called twice."""


Progress = Callable[[str], None]
"""Called with a short present-tense line about slow work: `building image debian`."""


class Driver(Protocol):
    """Makes templates and sandboxes. Used as an asynchronous context manager; leaving it destroys every sandbox and
    pooled machine that it made."""

    info: DriverInfo

    async def __aenter__(self) -> Driver: ...

    async def __aexit__(self, *exc: object) -> None: ...

    async def template(self, spec: TemplateSpec, *, progress: Progress | None = None) -> Template:
        """Make or load the template. Concurrent calls for equal specs make one.
        Raises `ImageError`, `SandboxStartError`, `HostNeedsError`."""

    def expect(self, template: Template, remaining: int) -> None:
        """Tell the driver how many more `start` calls of this template to expect, so that it may restore machines
        ahead (the warm pool). 0 empties the pool. Never required."""

    async def start(self, template: Template, *, network: NetworkAccess | None = None) -> Sandbox:
        """A fresh machine that no one has used: entropy, clock, host name and machine id are its own, and it has
        acknowledged them. Its connections go to `network`'s handler and nowhere else; without one they are refused.
        Raises `SandboxStartError` or `HostNeedsError`."""

    def slots(self, spec: TemplateSpec) -> int:
        """How many sandboxes of this size the host's processors and free memory carry at once (≥ 1)."""
