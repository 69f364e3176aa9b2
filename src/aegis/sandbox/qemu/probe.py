"""Which acceleration really works here. `/dev/kvm` that opens proves nothing: only a kernel that boots does."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from aegis.errors import SandboxError
from aegis.sandbox.qemu import memory
from aegis.sandbox.qemu.command import MachineFiles, MachineShape
from aegis.sandbox.qemu.launch import launch

PROBE_TIMEOUT_S = 3.0
PROBE_MEMORY = 128 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """`accel` is what machines will use; `kvm` says in words what was found of KVM (or HVF)."""

    accel: str
    kvm: str


def _deadline_s() -> float:
    """Seconds; `AEGIS_PROBE_TIMEOUT_S` lengthens it where KVM itself is emulated."""
    try:
        return float(os.environ.get("AEGIS_PROBE_TIMEOUT_S", PROBE_TIMEOUT_S))
    except ValueError:
        return PROBE_TIMEOUT_S


def boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"


async def probe(kernel: Path, cache_dir: Path, *, fresh: bool = False) -> ProbeResult:
    """Boot a kernel with the host's hardware virtualisation; the answer is kept per boot of the host.

    The kernel gets no root file system, so a working host answers with its panic within a fraction of a second.
    """
    candidate = "hvf" if platform.system() == "Darwin" else "kvm"
    reason = _cannot_open(candidate)
    if reason is not None:
        return ProbeResult("tcg", reason)
    memo = cache_dir / "probe.json"
    key = f"{boot_id()}/{candidate}/{kernel.name}/{os.geteuid()}"
    if not fresh:
        with suppress(OSError, ValueError, KeyError, TypeError):
            kept = json.loads(memo.read_text())
            if kept["key"] == key:
                return ProbeResult(**kept["result"])
    result = await _boot(candidate, kernel)
    with suppress(OSError):
        memo.parent.mkdir(parents=True, exist_ok=True)
        temporary = memo.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps({"key": key, "result": asdict(result)}))
        temporary.replace(memo)
    return result


def _cannot_open(candidate: str) -> str | None:
    if candidate != "kvm":
        return None
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return "/dev/kvm is not there"
    except PermissionError:
        return "/dev/kvm may not be opened by this user (add the user to the group kvm)"
    except OSError as error:
        return f"/dev/kvm cannot be opened: {error.strerror}"
    return None


def _empty_files(count: int) -> list[int]:
    """Descriptors of files without content, each its own and for reading only: QEMU looks one up by its access mode,
    and closes what it was given as a drive."""
    fd = memory.create("none", 4096)
    try:
        return [os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC) for _ in range(count)]
    finally:
        os.close(fd)


async def _boot(candidate: str, kernel: Path) -> ProbeResult:
    name = "/dev/kvm" if candidate == "kvm" else "HVF"
    deadline_s = _deadline_s()
    files = [memory.create("memory", PROBE_MEMORY), memory.load(kernel, "kernel"), *_empty_files(3)]
    ram, kernel_fd, *empty = files
    begun = time.monotonic()
    try:
        shape = MachineShape(candidate, PROBE_MEMORY, 1, None)
        vmm, link = await launch(
            shape, MachineFiles(kernel_fd, *empty), ram=ram, share_ram=True, incoming=None
        )
        try:
            async with asyncio.timeout(deadline_s):
                await vmm.process.wait()
        except TimeoutError:
            pass
        finally:
            link.close()
            console = vmm.console_tail()
            await vmm.kill()
    except SandboxError as error:
        return ProbeResult("tcg", f"{name} opens, but QEMU cannot use it: {error}")
    finally:
        for fd in files:
            os.close(fd)
    if "Kernel panic" in console:
        return ProbeResult(candidate, f"{name} works: a kernel booted in {time.monotonic() - begun:.1f} s")
    return ProbeResult("tcg", f"{name} opens, but a kernel did not boot with it within {deadline_s:.0f} s")
