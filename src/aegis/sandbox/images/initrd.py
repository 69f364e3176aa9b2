"""The initial memory file system: busybox, the drivers in load order, and `guest/init.sh`."""

from __future__ import annotations

from pathlib import Path

from .cpio import CpioWriter
from .modules import ModuleTree

FORMAT = 1
"""Raised when this file changes what it makes."""

APPLETS = ("sh", "insmod", "mount", "poweroff", "sleep", "switch_root")
FOLDERS = ("bin", "dev", "modules", "proc", "root", "sys")

MODULES = (
    "virtio",
    "virtio_ring",
    "virtio_mmio",
    "virtio_blk",
    "virtio_console",
    "virtio_rng",
    "squashfs",
    "overlay",
)
VSOCK_MODULES = ("vsock", "vmw_vsock_virtio_transport")
"""Loaded only on a machine that has the device."""


def build_initrd(modules: ModuleTree, busybox: Path, init: bytes) -> bytes:
    """The archive, uncompressed: unpacking is on the way of every boot.

    Raises `ImageError` when the kernel lacks a module.
    """
    always = modules.load_order(MODULES)
    vsock = [name for name in modules.load_order([*MODULES, *VSOCK_MODULES]) if name not in always]
    cpio = CpioWriter()
    for name in FOLDERS:
        cpio.folder(name)
    cpio.character_device("dev/console", 5, 1)
    cpio.file("bin/busybox", busybox.read_bytes(), 0o755)
    for applet in APPLETS:
        cpio.symlink(f"bin/{applet}", "busybox")
    for name in (*always, *vsock):
        cpio.file(f"modules/{name}.ko", modules.read(name))
    cpio.file("modules/order", _lines(always))
    cpio.file("modules/order-vsock", _lines(vsock))
    cpio.file("init", init, 0o755)
    return cpio.finish()


def _lines(names: list[str]) -> bytes:
    return "".join(f"{name}.ko\n" for name in names).encode()
