"""Starting the confined VMM process, and knowing when and why it ends."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, cast

from qemu.qmp import ExecuteError, QMPClient, QMPError

from aegis.errors import HostNeedsError, SandboxLostError, SandboxStartError
from aegis.sandbox.mux import shown
from aegis.sandbox.qemu.command import MachineFiles, MachineShape, arguments, binary

NOBODY = 65534
CONSOLE_TAIL_BYTES = 4096
MAX_CONSOLE_BYTES = 1024 * 1024
CONSOLE_CHECK_S = 1.0
KILL_TIMEOUT_S = 10.0
GATE = ("/bin/sh", "-c", 'echo armed >&0 && read -r go && exec "$@" </dev/null', "sh")
"""Stands before QEMU until the launcher has armed its end: killed a moment earlier, it would leave QEMU behind. Nothing
is left either when this process ends first, since then nobody says go."""


def qemu_path() -> str:
    """The QEMU program. Raises HostNeedsError when it is not on the PATH."""
    path = shutil.which(binary())
    if path is None:
        raise HostNeedsError(
            f"{binary()} is not on the PATH, so no sandbox can be started",
            fix="apt-get install qemu-system-x86   (or: --isolation=none while writing a suite)",
        )
    return path


@cache
def qemu_version(path: str) -> str:
    """`7.2.22` out of the program's own words."""
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    words = done.stdout.split()
    return words[words.index("version") + 1] if "version" in words else "unknown"


@cache
def confinement(accel: str = "tcg") -> tuple[str, ...]:
    """Words before the QEMU command: another user, no new privileges, namespaces without network, dies with us.

    Falls back to what the host allows; `docs/sandbox.md` says what each step takes away.
    """
    setpriv, unshare = shutil.which("setpriv"), shutil.which("unshare")
    if setpriv is None:
        return ()
    words = [setpriv, "--no-new-privs", "--pdeathsig=KILL"]
    if os.geteuid() == 0:
        group = _kvm_group() if accel == "kvm" else None
        groups = "--clear-groups" if group is None else f"--groups={group}"
        words[1:1] = [f"--reuid={NOBODY}", f"--regid={NOBODY}", groups]
    if unshare is not None:
        spaces = [unshare, "-U", "-n", "-i", "-u", "-p", "--fork", "--kill-child"]
        if subprocess.run([*words, *spaces, "true"], capture_output=True, check=False).returncode == 0:
            return (*words, *spaces)
    return tuple(words)


def _kvm_group() -> int | None:
    """The group (not root's) through which a user other than root may use /dev/kvm, on most hosts named `kvm`."""
    try:
        device = os.stat("/dev/kvm")
    except OSError:
        return None
    return device.st_gid if device.st_mode & 0o060 == 0o060 and device.st_gid != 0 else None


def _log_file(name: str) -> int:
    """A memory file for output that is only read when something went wrong."""
    return os.memfd_create(name, os.MFD_CLOEXEC)


class Vmm:
    """One VMM process: its QMP connection, its serial stream, its end."""

    def __init__(self, process: asyncio.subprocess.Process, qmp: QMPClient, console: int) -> None:
        self.process = process
        self.qmp = qmp
        self._console = console
        self.shutdown_reason: str | None = None
        self._events = asyncio.create_task(self._watch_events())
        self._bounding = asyncio.create_task(self._bound_console())

    async def _watch_events(self) -> None:
        with suppress(Exception):
            async for event in self.qmp.events:
                if event["event"] == "SHUTDOWN":
                    data = cast("dict[str, str]", event["data"])
                    self.shutdown_reason = data.get("reason", "unknown")

    async def _bound_console(self) -> None:
        """Keeps only the end of what the machine writes there: it is the host's memory."""
        while True:
            await asyncio.sleep(CONSOLE_CHECK_S)
            if self.console_size() > MAX_CONSOLE_BYTES:
                tail = os.pread(self._console, CONSOLE_TAIL_BYTES, self.console_size() - CONSOLE_TAIL_BYTES)
                os.ftruncate(self._console, 0)
                os.pwrite(self._console, tail, 0)

    @property
    def pid(self) -> int:
        return self.process.pid

    def console_size(self) -> int:
        """Bytes kept of the console's output."""
        return os.fstat(self._console).st_size

    def console_tail(self) -> str:
        """The end of what the machine wrote on its serial console, for error messages."""
        size = os.fstat(self._console).st_size
        data = os.pread(self._console, CONSOLE_TAIL_BYTES, max(0, size - CONSOLE_TAIL_BYTES))
        return data.decode("utf-8", "replace")

    def end_error(self) -> SandboxLostError:
        """Why the machine is gone, as far as QEMU and the console tell."""
        console = self.console_tail()
        if "Kernel panic" in console:
            line = next(line for line in console.splitlines() if "Kernel panic" in line)
            return SandboxLostError(f"the machine's kernel panicked: {shown(line.strip())[:200]}")
        if self.shutdown_reason in ("guest-reset", "guest-shutdown"):
            what = "rebooted" if self.shutdown_reason == "guest-reset" else "powered off"
            return SandboxLostError(f"the machine was {what} from inside", by_guest=True)
        code = self.process.returncode
        return SandboxLostError(f"QEMU ended in the middle of the trial (exit code {code})")

    async def execute(self, command: str, arguments: dict[str, Any] | None = None) -> Any:
        """A QMP command. Raises SandboxStartError when QEMU refuses it or is gone."""
        try:
            return await self.qmp.execute(command, arguments)
        except ExecuteError as error:
            raise SandboxStartError(f"QEMU refused {command}: {error}") from None
        except (QMPError, OSError, EOFError) as error:
            raise SandboxStartError(f"QEMU is gone ({command}: {type(error).__name__})") from None

    async def kill(self) -> None:
        """End it. Never raises."""
        if self.process.returncode is None:
            # The launcher ends with QEMU, and waits for it; killed first, it would leave QEMU dying unobserved.
            for pid in _descendants(self.process.pid) or [self.process.pid]:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
        with suppress(Exception):
            try:
                async with asyncio.timeout(KILL_TIMEOUT_S):
                    await self.process.wait()
            except TimeoutError:
                self.process.kill()
                await self.process.wait()
        self._events.cancel()
        self._bounding.cancel()
        with suppress(Exception, asyncio.CancelledError):
            await self.qmp.disconnect()
        if self._console >= 0:
            os.close(self._console)
            self._console = -1


def _descendants(pid: int) -> list[int]:
    """Processes that a launcher started, the last one first; empty for a QEMU that was started directly."""
    found: list[int] = []
    with suppress(OSError, ValueError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for child in map(int, children):
            found = [*_descendants(child), child, *found]
    return found[:1]


async def launch(
    shape: MachineShape, files: MachineFiles, *, ram: int, share_ram: bool, incoming: int | None
) -> tuple[Vmm, socket.socket]:
    """Start QEMU; returns it with the host's end of the serial stream. `ram` and `incoming` are memory files.

    Raises HostNeedsError or SandboxStartError; then no process is left.
    """
    link_ours, link_theirs = socket.socketpair()
    qmp_ours, qmp_theirs = socket.socketpair()
    console, errors = _log_file("console"), _log_file("errors")
    # QEMU looks a descriptor up by its access mode, and writes the console.
    console_out = os.open(f"/proc/self/fd/{console}", os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    fds = [files.kernel, files.initrd, files.guest_root, files.image, ram, console_out]
    fds += [link_theirs.fileno(), qmp_theirs.fileno(), *([incoming] if incoming is not None else [])]
    confined = confinement(shape.accel)
    command = [
        *confined,
        *(GATE if confined else ()),
        qemu_path(),
        *arguments(
            shape,
            files,
            ram=ram,
            share_ram=share_ram,
            link=link_theirs.fileno(),
            qmp=qmp_theirs.fileno(),
            console=console_out,
            incoming=incoming is not None,
        ),
    ]
    try:
        process = await _spawn(command, fds, errors, gated=bool(confined))
    except BaseException:
        link_ours.close()
        qmp_ours.close()
        os.close(console)
        os.close(errors)
        raise
    finally:
        os.close(console_out)
        link_theirs.close()
        qmp_theirs.close()
    qmp = QMPClient("machine")
    qmp.logger.disabled = True
    qmp_ours.setblocking(False)
    try:
        await qmp.connect(qmp_ours)
    except BaseException as error:
        link_ours.close()
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        stderr = os.pread(errors, CONSOLE_TAIL_BYTES, 0).decode("utf-8", "replace")
        os.close(console)
        if isinstance(error, (QMPError, OSError, EOFError)):
            raise SandboxStartError(f"QEMU did not start: {stderr.strip() or error}") from None
        raise
    finally:
        os.close(errors)
    return Vmm(process, qmp, console), link_ours


async def _spawn(
    command: Sequence[str], fds: Sequence[int], errors: int, *, gated: bool
) -> asyncio.subprocess.Process:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            pass_fds=tuple(fds),
            stdin=theirs.fileno() if gated else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
        theirs.close()
        if gated:
            await _open_gate(ours, process)
    except OSError as error:
        raise SandboxStartError(f"cannot start QEMU: {error}") from None
    finally:
        theirs.close()
        ours.close()
    return process


async def _open_gate(gate: socket.socket, process: asyncio.subprocess.Process) -> None:
    """Let the launched process go on to QEMU once its launcher is armed. Nothing is left of it when this fails."""
    loop = asyncio.get_running_loop()
    try:
        if await loop.sock_recv(gate, 16):  # b"" when it ended: what it wrote is told by who waits for QEMU
            await loop.sock_sendall(gate, b"go\n")
    except BaseException as error:
        gate.close()
        with suppress(ProcessLookupError):
            process.kill()
        await asyncio.shield(process.wait())
        if not isinstance(error, OSError):
            raise
