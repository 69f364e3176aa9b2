"""A host whose KVM works, on any host: QEMU's software emulation includes AMD's virtualisation with nested paging."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from nested_boot import HostBoot

from aegis.sandbox.images.tools import find_tool
from aegis.sandbox.qemu.tsc import tsc_khz

MEMORY_MIB = 3072
KERNEL_WORDS = (
    *("console=ttyS0", "quiet", "reboot=t", "panic=-1"),
    *("mitigations=off", "nowatchdog", "tsc=reliable", "no5lvl", "apparmor=0", "audit=0", "edd=off"),
)


@dataclass(frozen=True)
class Ended:
    """How a run of the machine ended."""

    code: int | None
    """Exit code of QEMU; None when it was ended at the deadline."""
    console: str
    parcel: Path
    """What the payload sent: a tar archive, perhaps cut off."""
    duration_s: float


def run_host(boot: HostBoot, drives: list[Path], folder: Path, *, deadline_s: float) -> Ended:
    """Run the machine until it powers off, at most `deadline_s`; no process is left afterwards."""
    console, parcel, complaints = folder / "console.log", folder / "parcel.tar", folder / "qemu.log"
    begun = time.monotonic()
    with complaints.open("wb") as errors:
        process = subprocess.Popen(
            _command(boot, drives, console, parcel),
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            start_new_session=True,
        )
        try:
            code: int | None = process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            # Also when the tests are interrupted: by its group, which nothing else is in.
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    said = complaints.read_text(errors="replace")
    if console.exists():
        said += console.read_text(errors="replace")
    return Ended(code, said, parcel, time.monotonic() - begun)


def _command(boot: HostBoot, drives: list[Path], console: Path, parcel: Path) -> list[str]:
    words = list(KERNEL_WORDS)
    if rate := tsc_khz():
        words.append(f"tsc_early_khz={rate}")  # microvm has no timer to measure it against
    return [
        *(find_tool("setpriv") or "setpriv", "--pdeathsig=KILL", "--"),
        find_tool("qemu-system-x86_64") or "qemu-system-x86_64",
        *("-M", "microvm,acpi=on,rtc=on,x-option-roms=off"),
        *("-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max", "-smp", "2", "-m", f"{MEMORY_MIB}M"),
        *("-nodefaults", "-no-user-config", "-nographic", "-no-reboot"),
        *("-kernel", str(boot.kernel), "-initrd", str(boot.initrd), "-append", " ".join(words)),
        *(word for number, drive in enumerate(drives) for word in _drive(number, drive)),
        *("-device", "virtio-rng-device", "-device", "virtio-serial-device"),
        *("-chardev", f"file,id=out,path={parcel}", "-device", "virtserialport,chardev=out,name=out"),
        *("-serial", f"file:{console}"),
    ]


def _drive(number: int, path: Path) -> list[str]:
    backend = f"id=d{number},file={path},format=raw,if=none,readonly=on"
    return ["-drive", backend, "-device", f"virtio-blk-device,drive=d{number}"]
