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
from aegis.sandbox.qemu.command import LEAN
from aegis.sandbox.qemu.tsc import tsc_khz

MEMORY_MIB = 3072
PROCESSORS = 1
"""With two, one emulated in a thread each, machines inside were reset without a word in a third of the runs (QEMU
7.2.22), and the checks took no less time."""
SILENCE_S = 180
"""Much longer than a boot, and than what the payload lets pass between two lines."""
KERNEL_WORDS = ("console=ttyS0", "quiet", "reboot=t", "panic=-1", "edd=off", *LEAN)


@dataclass(frozen=True)
class Ended:
    """How a run of the machine ended."""

    code: int | None
    """Exit code of QEMU; None when it was killed."""
    stood_still: bool
    """Whether it was killed because nothing in it ran any more, not even the line that it writes every 10 s."""
    console: str
    parcel: Path
    """What the payload sent: a tar archive, perhaps cut off."""
    duration_s: float


def run_host(boot: HostBoot, drives: list[Path], folder: Path, *, deadline_s: float) -> Ended:
    """Run the machine until it powers off, at most `deadline_s`; no process is left afterwards."""
    console, parcel, complaints = folder / "console.log", folder / "parcel.tar", folder / "qemu.log"
    console.write_bytes(b"")
    parcel.write_bytes(b"")
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
            stood_still = _wait(process, console, begun + deadline_s)
        finally:
            # Also when the tests are interrupted: by its group, which nothing else is in.
            code = process.poll()
            if code is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    said = complaints.read_text(errors="replace") + console.read_text(errors="replace")
    return Ended(code, stood_still, said, parcel, time.monotonic() - begun)


def _wait(process: subprocess.Popen[bytes], console: Path, deadline: float) -> bool:
    """Until it ends, the deadline passes (of the monotonic clock), or nothing was heard for SILENCE_S: then True."""
    heard, size = time.monotonic(), 0
    while process.poll() is None and time.monotonic() < deadline:
        if (now := console.stat().st_size) != size:
            heard, size = time.monotonic(), now
        elif time.monotonic() - heard > SILENCE_S:
            return True
        time.sleep(0.2)
    return False


def _command(boot: HostBoot, drives: list[Path], console: Path, parcel: Path) -> list[str]:
    words = list(KERNEL_WORDS)
    if rate := tsc_khz():
        words.append(f"tsc_early_khz={rate}")  # microvm has no timer to measure it against
    return [
        *(find_tool("setpriv") or "setpriv", "--pdeathsig=KILL", "--"),
        find_tool("qemu-system-x86_64") or "qemu-system-x86_64",
        *("-M", "microvm,acpi=on,rtc=on,x-option-roms=off"),
        *(
            "-accel",
            "tcg,thread=multi,tb-size=512",
            "-cpu",
            "max",
            "-smp",
            str(PROCESSORS),
            "-m",
            f"{MEMORY_MIB}M",
        ),
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
