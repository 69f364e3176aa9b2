"""The QEMU command line of one machine.

A machine has a kernel, two read-only drives (guest program, image), one serial port for the stream, a random number
device, and nothing else: no network card. Every file reaches QEMU as an open descriptor, so that the confined process
needs no path of the host.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass

BINARIES = {"x86_64": "qemu-system-x86_64", "aarch64": "qemu-system-aarch64", "arm64": "qemu-system-aarch64"}
LEAN = (
    # What a machine of one trial does not need, and what costs most when every instruction is translated.
    "mitigations=off",
    "no5lvl",
    "init_on_alloc=0",
    "apparmor=0",
    "audit=0",
    "nowatchdog",
    "tsc=reliable",
    "rcupdate.rcu_expedited=1",  # joining a control group waits for a grace period
    "transparent_hugepage=never",  # a clone would copy 2 MiB for each first write
    "cryptomgr.notests",
)
TB_SIZE_MIB = 128
"""Bound of TCG's translation cache, which would otherwise grow to a fixed share of the host's memory."""


def binary() -> str:
    """Name of the QEMU program for this host's processor."""
    return BINARIES.get(platform.machine(), "qemu-system-x86_64")


@dataclass(frozen=True, slots=True)
class MachineFiles:
    """Open descriptors that a machine is made of. `kernel` and `initrd` are readable through /proc/self/fd."""

    kernel: int
    initrd: int
    guest_root: int
    image: int


@dataclass(frozen=True, slots=True)
class MachineShape:
    """What must be equal between a template and its clones."""

    accel: str
    memory_bytes: int
    cpus: int
    tsc_khz: int | None


def arguments(
    shape: MachineShape,
    files: MachineFiles,
    *,
    ram: int,
    share_ram: bool,
    link: int,
    qmp: int,
    console: int,
    incoming: bool,
) -> list[str]:
    """Arguments behind the program's name. The integers are descriptors that the process inherits."""
    accel = f"tcg,tb-size={TB_SIZE_MIB}" if shape.accel == "tcg" else shape.accel
    memory_mib = shape.memory_bytes // (1024 * 1024)
    size = shape.memory_bytes
    return [
        "-M",
        "microvm,acpi=on,rtc=on,x-option-roms=off,memory-backend=m0",
        "-accel",
        accel,
        "-cpu",
        "host" if shape.accel == "kvm" else "max",
        "-m",
        f"{memory_mib}M",
        "-smp",
        str(shape.cpus),
        "-nodefaults",
        "-no-user-config",
        "-nographic",
        "-no-reboot",
        "-sandbox",
        "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        "-object",
        f"memory-backend-file,id=m0,size={size},mem-path=/proc/self/fd/{ram},share={'on' if share_ram else 'off'}",
        # A restored machine has its kernel in memory; QEMU would hold a second copy of these files for nothing.
        *([] if incoming else _kernel(shape, files)),
        *_drive("d0", files.guest_root, 10),
        *_drive("d1", files.image, 11),
        "-device",
        "virtio-rng-device",
        "-device",
        "virtio-serial-device",
        "-chardev",
        f"socket,id=c0,fd={link}",
        "-device",
        "virtserialport,chardev=c0,name=ctl",
        "-chardev",
        f"socket,id=q0,fd={qmp}",
        "-mon",
        "chardev=q0,mode=control",
        "-add-fd",
        f"fd={console},set=12",
        "-chardev",
        "file,id=s0,path=/dev/fdset/12,append=on",
        "-serial",
        "chardev:s0",
        *(["-incoming", "defer"] if incoming else []),
    ]


def _kernel(shape: MachineShape, files: MachineFiles) -> list[str]:
    return [
        "-kernel",
        f"/proc/self/fd/{files.kernel}",
        "-initrd",
        f"/proc/self/fd/{files.initrd}",
        "-append",
        kernel_command_line(shape),
    ]


def _drive(name: str, fd: int, fdset: int) -> list[str]:
    return [
        "-add-fd",
        f"fd={fd},set={fdset}",
        "-drive",
        f"id={name},file=/dev/fdset/{fdset},format=raw,if=none,readonly=on",
        "-device",
        f"virtio-blk-device,drive={name}",
    ]


def kernel_command_line(shape: MachineShape) -> str:
    """Without `tsc_early_khz` about half of the boots under TCG hang: microvm has no timer to calibrate against."""
    words = ["console=ttyS0", "quiet", "reboot=t", "panic=-1", *LEAN]
    if shape.tsc_khz:
        words.append(f"tsc_early_khz={shape.tsc_khz}")
    return " ".join(words)
