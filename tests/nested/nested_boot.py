"""Kernel and initial memory file system of the KVM host, kept in the cache.

The kernel is the one that machines boot too, but with its KVM modules, which machines do without.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from aegis.errors import ImageError
from aegis.sandbox.images.apt import Apt, Package
from aegis.sandbox.images.cache import Progress, exclusive, make_folder, publish, staging
from aegis.sandbox.images.cpio import CpioWriter
from aegis.sandbox.images.debs import make_merged_root, unpack
from aegis.sandbox.images.modules import ModuleTree
from aegis.sandbox.images.pins import KERNEL_PACKAGE, current_pins
from aegis.sandbox.images.tools import Log

INIT_SCRIPT = Path(__file__).parent / "inside" / "init.sh"
MODULES = (
    *("virtio", "virtio_ring", "virtio_mmio", "virtio_blk", "virtio_console", "virtio_rng"),
    *("squashfs", "overlay"),
    *("irqbypass", "kvm", "kvm_amd"),
)
APPLETS = ("sh", "insmod", "mkdir", "mount", "poweroff", "sleep", "switch_root")
FOLDERS = ("bin", "dev", "modules", "proc", "sys", "layers", "root")
BUSYBOX = "busybox-static"


@dataclass(frozen=True)
class HostBoot:
    kernel: Path
    initrd: Path


def host_boot(cache: Path, say: Progress) -> HostBoot:
    """Made the first time (a download of some 30 MB), and whenever an input of it here changes."""
    inputs = [1, MODULES, APPLETS, FOLDERS, INIT_SCRIPT.read_text()]
    folder = cache / "nested" / f"boot-{hashlib.sha256(json.dumps(inputs).encode()).hexdigest()}"
    with exclusive(cache / "locks/nested-boot", what="the KVM host's kernel", progress=say):
        if not folder.exists():
            _make(folder, cache, say)
    return HostBoot(folder / "kernel", folder / "initrd")


def _make(target: Path, cache: Path, say: Progress) -> None:
    log = Log.start(cache, "nested-boot")
    with exclusive(cache / "locks/apt", what="packages", progress=say):
        files = _packages(cache, log, say)
        with staging(cache, "nested-boot") as work:
            result = make_folder(work / "result")
            _assemble(files, work, result)
            publish(result, target)
        for path in files.values():
            path.unlink(missing_ok=True)


def _packages(cache: Path, log: Log, say: Progress) -> dict[str, Path]:
    """Kernel and busybox: as pinned, or the newest where the mirrors no longer have those."""
    apt = Apt(cache, log)
    try:
        return apt.fetch([pin for pin in current_pins(cache, say).packages if _wanted(pin)], say)
    except ImageError:
        apt.update(say)
        return apt.fetch(apt.pin([apt.dependency(KERNEL_PACKAGE, "linux-image-"), BUSYBOX]), say)


def _wanted(pin: Package) -> bool:
    return pin.name.startswith("linux-image-") or pin.name == BUSYBOX


def _assemble(files: dict[str, Path], work: Path, result: Path) -> None:
    tree = work / "tree"
    make_merged_root(tree)
    for package in files.values():
        unpack(package, tree, lambda path: path.startswith(("boot/vmlinuz-", "usr/lib/modules/", "usr/bin/")))
    kernel = next((tree / "boot").glob("vmlinuz-*"))
    modules = ModuleTree.scan(tree / "usr/lib/modules" / kernel.name.removeprefix("vmlinuz-"))
    kernel.rename(result / "kernel")
    (result / "initrd").write_bytes(_initrd(modules, (tree / "usr/bin/busybox").read_bytes()))


def _initrd(modules: ModuleTree, busybox: bytes) -> bytes:
    order = modules.load_order(MODULES)
    cpio = CpioWriter()
    for name in FOLDERS:
        cpio.folder(name)
    cpio.character_device("dev/console", 5, 1)
    cpio.file("bin/busybox", busybox, 0o755)
    for applet in APPLETS:
        cpio.symlink(f"bin/{applet}", "busybox")
    for name in order:
        cpio.file(f"modules/{name}.ko", modules.read(name))
    cpio.file("modules/order", "".join(f"{name}.ko\n" for name in order).encode())
    cpio.file("init", INIT_SCRIPT.read_bytes(), 0o755)
    return cpio.finish()
