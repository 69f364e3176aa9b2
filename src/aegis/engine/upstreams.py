"""The server programs of a suite: the project's stand-ins for what its agent talks to, run on the host.

They are the user's own programs and run with the user's rights; only their lifetime is ours. Each stands below a small
keeper process (`keeper.py`), which ends the program and everything that it started when its scope is left, and also
when this process is gone without a word.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aegis.engine import keeper
from aegis.errors import HostNeedsError, InfrastructureError
from aegis.sandbox.mux import shown
from aegis.suite.model import Upstream

GRACE_S = 3.0
"""How long a program may take to end after SIGTERM before it is killed."""
PORT_ATTEMPTS = 3
SETTLE_S = 1.0
"""How long a program must stay when its port answers but nothing proves that it is the one that answers."""
PROBE_TIMEOUT_S = 1.0
LONGEST_PAUSE_S = 0.1
TAIL_BYTES = 16 * 1024
SHOWN_LINES = 12

NOT_READY = "not ready"

_NOT_RUN = {126: "could not be executed", 127: "was not found"}
"""Exit codes by which a shell says that the command didn't run at all."""

_chosen: set[int] = set()
"""Ports that programs of this process have been told to use, listening or not."""


class Upstreams:
    """The programs of one scope, running inside `async with`.

    Each has `folder` as its working directory and the host's environment, then `env`, then its own, and `PORT`.
    `redact` goes over their output before it gets into a message: it is where a run takes the values of its secrets
    out.

    Entering starts all of them at once and waits until each accepts connections. Raises `HostNeedsError` when a
    command isn't there, `InfrastructureError` when a program ends early or isn't ready within its `ready_timeout`.
    Then, and when entering is cancelled, none is left. Leaving ends all that they started, within `GRACE_S` and the
    little that it takes, also when it is cancelled.
    """

    def __init__(
        self,
        programs: Mapping[str, Upstream],
        folder: Path,
        *,
        env: Mapping[str, str] | None = None,
        redact: Callable[[str], str] = str,
    ) -> None:
        self._upstreams = dict(programs)
        self._folder = folder
        self._env = dict(env or {})
        self._redact = redact
        self._running: dict[str, _Program] = {}

    @property
    def urls(self) -> Mapping[str, str]:
        """Name → `http://127.0.0.1:PORT`."""
        return {name: f"http://127.0.0.1:{program.port}" for name, program in self._running.items()}

    def problem(self) -> str | None:
        """What went wrong with a program since it was ready, or None. A trial in which this is not None says nothing
        about its agent. After leaving: what was wrong until then."""
        for name, program in self._running.items():
            if (end := program.ended()) is not None:
                return f"the upstream {name} ended in the middle ({end}){self._last_words(program)}"
        return None

    async def __aenter__(self) -> Self:
        tasks = [asyncio.create_task(self._start(name, item)) for name, item in self._upstreams.items()]
        try:
            await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            await _to_the_end(self._abandon(tasks))
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await _to_the_end(self._stop())

    async def _abandon(self, tasks: list[asyncio.Task[None]]) -> None:
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._stop()

    async def _stop(self) -> None:
        await asyncio.gather(*(program.stop() for program in self._running.values()))

    async def _start(self, name: str, upstream: Upstream) -> None:
        environment = {**os.environ, **self._env, **upstream.env}
        for attempt in range(1, PORT_ATTEMPTS + 1):
            program = self._running[name] = self._spawn(name, upstream.command, environment)
            end = await program.wait_until_ready(upstream.ready_timeout)
            if end is None:
                return
            await program.stop()
            if attempt == PORT_ATTEMPTS or not await program.lost_its_port():
                raise self._early_end(name, upstream.command, program, end)

    def _spawn(self, name: str, command: str, environment: Mapping[str, str]) -> _Program:
        try:
            return _Program(command, self._folder, environment)
        except OSError as error:
            raise InfrastructureError(
                f"the upstream {name} could not be started in {self._folder}: {error.strerror}"
            ) from None

    def _early_end(self, name: str, command: str, program: _Program, end: str) -> InfrastructureError:
        words = self._last_words(program)
        by_itself = f"try it by itself in {self._folder}: PORT={program.port} {command}"
        if end == NOT_READY:
            return InfrastructureError(
                f"the upstream {name} was not ready in time: {program.why_not_ready}{words}",
                fix=f"it must listen on 127.0.0.1 at the port that PORT names, within its ready_timeout; {by_itself}",
            )
        for code, what in _NOT_RUN.items():
            if end == f"exit code {code}":
                return HostNeedsError(
                    f"the command of the upstream {name} {what}: {command}{words}",
                    fix=f"install it on this host, or mend network.upstreams.{name}",
                )
        hint = "it must stay in the foreground; " if end == "exit code 0" else ""
        return InfrastructureError(
            f"the upstream {name} ended before it was ready ({end}){words}", fix=hint + by_itself
        )

    def _last_words(self, program: _Program) -> str:
        text = self._redact(program.tail())
        lines = [shown(line.rstrip()[:300]) for line in text.splitlines() if line.strip()][-SHOWN_LINES:]
        return "; its last output:" + "".join(f"\n  {line}" for line in lines) if lines else ""


class _Program:
    """One program below its keeper."""

    def __init__(self, command: str, folder: Path, environment: Mapping[str, str]) -> None:
        """Raises `OSError` when not even the keeper starts."""
        self.why_not_ready = ""
        self._end: str | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._tail = bytearray()
        self._cut = False
        self._loop = asyncio.get_running_loop()
        self.port = _free_port()
        self._control, theirs = socket.socketpair()
        self._control.setblocking(False)
        self._output, output = os.pipe()
        words = [sys.executable, "-I", "-S", keeper.__file__, str(theirs.fileno()), str(GRACE_S), command]
        try:
            # Not asyncio's: a cancellation in its middle would kill the keeper, which could then not do its work.
            self._process = subprocess.Popen(
                words,
                cwd=folder,
                env={**environment, "PORT": str(self.port)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        except BaseException:
            self._control.close()
            os.close(self._output)
            _chosen.discard(self.port)
            raise
        finally:
            theirs.close()
            os.close(output)
        os.set_blocking(self._output, False)
        self._loop.add_reader(self._output, self._read_output)

    def ended(self) -> str | None:
        """How the program ended by itself: `exit code 1`, `SIGSEGV`; None while it runs, or when we ended it."""
        if self._end is None and self._stopping is None:
            try:
                said = self._control.recv(64)
            except BlockingIOError:
                return None
            except OSError:
                said = b""
            self._end = _named(int(said)) if said else "its keeper was killed"
        return self._end

    async def wait_until_ready(self, timeout_s: float) -> str | None:
        """None when its port accepts connections, else how the program ended, or `NOT_READY`."""
        begun = self._loop.time()
        answered_at: float | None = None
        pause = 0.005
        while True:
            accepts = await _accepts("127.0.0.1", self.port)
            now = self._loop.time()
            if (end := self.ended()) is not None:
                return end
            if accepts:
                answered_at = now if answered_at is None else answered_at
                # What is started through a daemon (`docker run`) listens in a process that isn't below us.
                if now - answered_at >= SETTLE_S or self.port in dict(self._listens()):
                    return None
            elif now - begun >= timeout_s:
                self.why_not_ready = await self._explain()
                return NOT_READY
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE_S)

    async def lost_its_port(self) -> bool:
        """Whether the program, now ended, failed because its port was taken in the meantime."""
        words = self.tail().lower()
        told = any(text in words for text in ("address already in use", "eaddrinuse", "address in use"))
        return told or await _accepts("127.0.0.1", self.port)

    async def stop(self) -> None:
        """End the program and all that it started. Goes on when its caller is cancelled."""
        self.ended()
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop())
        await asyncio.shield(self._stopping)

    async def _stop(self) -> None:
        with suppress(OSError):
            self._control.shutdown(socket.SHUT_WR)
        try:
            async with asyncio.timeout(GRACE_S + keeper.GIVE_UP_S + 5.0):
                with suppress(OSError):
                    while await self._loop.sock_recv(self._control, 64):
                        pass
        except TimeoutError:
            self._process.kill()
        # The socket's other end is closed by the keeper's exit only, so this doesn't wait.
        self._process.wait()
        self._control.close()
        self._read_output()
        self._close_output()
        _chosen.discard(self.port)

    def tail(self) -> str:
        """The end of what the program has written."""
        text = self._tail.decode("utf-8", "replace")
        # The first line may be the second half of one, in which half a secret could not be seen.
        return text.partition("\n")[2] if self._cut else text

    def _read_output(self) -> None:
        if self._output < 0:
            return
        try:
            data = os.read(self._output, 65536)
        except BlockingIOError:
            return
        if not data:
            self._close_output()
            return
        self._tail += data
        if len(self._tail) > TAIL_BYTES:
            self._cut = True
            del self._tail[:-TAIL_BYTES]

    def _close_output(self) -> None:
        if self._output >= 0:
            self._loop.remove_reader(self._output)
            os.close(self._output)
            self._output = -1

    async def _explain(self) -> str:
        elsewhere = sorted({f"{address}:{port}" for port, address in self._listens()})
        if await _accepts("::1", self.port):
            return f"it listens on [::1]:{self.port} and not on 127.0.0.1"
        if elsewhere:
            return f"it listens on {', '.join(elsewhere)} and not on 127.0.0.1:{self.port}"
        return f"nothing listens on 127.0.0.1:{self.port}"

    def _listens(self) -> Iterator[tuple[int, str]]:
        """Ports and addresses on which the program, or something that it started, listens."""
        sockets = _listening_sockets()
        for pid in keeper.descendants(self._process.pid):
            with suppress(OSError):
                for entry in os.scandir(f"/proc/{pid}/fd"):
                    with suppress(OSError):
                        if (found := sockets.get(os.readlink(entry.path))) is not None:
                            yield found


async def _to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Run it to its end even when we are cancelled, and be cancelled then."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    task.result()


async def _accepts(address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setblocking(False)
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                await asyncio.get_running_loop().sock_connect(probe, (address, port))
                return True
    except (OSError, TimeoutError):
        return False


def _free_port() -> int:
    """A port of 127.0.0.1 that nothing uses now. Until the program binds it someone else may take it."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port not in _chosen:
            _chosen.add(port)
            return port


def _listening_sockets() -> dict[str, tuple[int, str]]:
    """`socket:[INODE]` → port and address, of everything on this host that listens for TCP (proc(5))."""
    found = {}
    for name, wildcard in (("tcp", "0.0.0.0"), ("tcp6", "[::]")):
        with suppress(OSError):
            for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
                fields = line.split()
                address, _, port = fields[1].partition(":")
                if fields[3] == "0A":
                    everywhere = not address.strip("0")
                    where = wildcard if everywhere else _address(address)
                    found[f"socket:[{fields[9]}]"] = (int(port, 16), where)
    return found


def _address(text: str) -> str:
    """The kernel writes each four bytes as one number in the host's byte order."""
    numbers = (int(text[at : at + 8], 16) for at in range(0, len(text), 8))
    raw = b"".join(number.to_bytes(4, sys.byteorder) for number in numbers)
    if len(raw) == 4:
        return socket.inet_ntop(socket.AF_INET, raw)
    return f"[{socket.inet_ntop(socket.AF_INET6, raw)}]"


def _named(status: int) -> str:
    if status >= 0:
        return f"exit code {status}"
    with suppress(ValueError):
        return signal.Signals(-status).name
    return f"signal {-status}"
