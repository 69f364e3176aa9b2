"""What every machine boots from: kernel, initial memory file system, and the guest's own root.

Three layers, each content-addressed: the lock pins package versions; `CACHE/boot/base-KEY` holds what was made of the
packages; `CACHE/boot/KEY` adds the guest program and init script. When everything is there, nothing but these small
inputs is read.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

from aegis.errors import HostNeedsError, ImageError

from . import guest_root, initrd
from .apt import Apt
from .cache import Progress, cache_folder, exclusive, make_folder, publish, quiet, staging, touch
from .debs import unpack
from .disk import disk_errors
from .modules import ModuleTree
from .pins import Pins, current_pins, load_pins, refresh_pins
from .squashfs import FORMAT as SQUASHFS_FORMAT
from .squashfs import write_squashfs
from .tools import Log, require_tools

FORMAT = 1
"""Raised when this file changes what it makes."""

GUEST_SOURCE = Path(__file__).resolve().parent.parent / "guest"
INIT_SCRIPT = GUEST_SOURCE / "init.sh"
NEEDED_BYTES = 512 << 20
"""Free space that making the boot files takes at its peak."""


@dataclass(frozen=True, slots=True)
class BootFiles:
    kernel: Path
    """bzImage."""
    initrd: Path
    """Uncompressed newc cpio."""
    guest_root: Path
    """Read-only squashfs, the machine's first drive."""
    kernel_version: str
    """As `uname -r` says it in the guest."""
    digest: str
    """SHA-256 (hex) over all inputs."""


def boot_files(progress: Progress | None = None, cache_dir: Path | None = None) -> BootFiles:
    """The boot files, made first when an input changed (some seconds, and a download the first time).

    Concurrent calls, of other processes too, make them once.
    Raises `HostNeedsError` on a host that can't make them, `ImageError` when making them fails.
    """
    say = progress or quiet
    cache = cache_folder(cache_dir)
    if ready := _load(cache):
        return ready
    check_architecture()
    require_tools("apt-get", "dpkg-deb", "mksquashfs", "setpriv", purpose="making the boot files")
    with exclusive(cache / "locks/boot", what="the boot files", progress=say):
        if ready := _load(cache):
            return ready
        with disk_errors(cache, "making the boot files", NEEDED_BYTES):
            return _make(cache, say)


def find_boot_files(cache_dir: Path | None = None) -> BootFiles | None:
    """The boot files when they are made already, else None; nothing is built or downloaded."""
    return _load(cache_folder(cache_dir))


def _load(cache: Path) -> BootFiles | None:
    pins = load_pins(cache)
    if pins is None:
        return None
    digest = _digest(pins)
    folder = cache / "boot" / digest
    try:
        manifest = json.loads((folder / "boot.json").read_bytes())
        version = str(manifest["kernel_version"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    touch(folder)
    return BootFiles(folder / "kernel", folder / "initrd", folder / "guest.squashfs", version, digest)


def _digest(pins: Pins) -> str:
    digest = hashlib.sha256(_base_key(pins).encode())
    digest.update(f"{FORMAT} {initrd.FORMAT} {SQUASHFS_FORMAT}".encode())
    for path in (INIT_SCRIPT, *guest_root.guest_files(GUEST_SOURCE)):
        content = path.read_bytes()
        digest.update(f"\0{path.relative_to(GUEST_SOURCE)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _base_key(pins: Pins) -> str:
    inputs = [[pin.name, pin.version, pin.sha256] for pin in pins.packages]
    return hashlib.sha256(json.dumps([FORMAT, guest_root.FORMAT, inputs]).encode()).hexdigest()


def _make(cache: Path, say: Progress) -> BootFiles:
    log = Log.start(cache, "boot")
    pins = current_pins(cache, say)
    try:
        base = _base(cache, pins, log, say)
    except ImageError:
        # The mirrors keep only the newest version: a pin whose file was never fetched can be gone.
        fresh = refresh_pins(cache, log, say)
        if fresh == pins:
            raise
        pins = fresh
        base = _base(cache, pins, log, say)
    say("packing the guest program")
    with staging(cache, "boot") as work:
        _assemble(base, work, pins, log)
        digest = _digest(pins)
        result = work / "result"
        publish(result, cache / "boot" / digest)
    ready = _load(cache)
    if ready is None:
        raise ImageError("the guest program's files changed while they were being packed", fix="run it again")
    return ready


def _assemble(base: Path, work: Path, pins: Pins, log: Log) -> None:
    result = make_folder(work / "result")
    overlay = work / "overlay"
    kernel_version = (base / "kernel-version").read_text()
    # Compiled inside a copy of links: the interpreter must stand in the tree, the base must not change.
    shutil.copytree(base / "root", overlay, symlinks=True, copy_function=os.link)
    guest_root.add_guest(overlay, GUEST_SOURCE, pins.python, log)
    write_squashfs(
        result / "guest.squashfs",
        lambda stream: guest_root.write_tar(stream, [overlay]),
        log=log,
        step="write the guest's root",
    )
    modules = ModuleTree.scan(base / "modules")
    busybox = base / "root/usr/bin/busybox"
    (result / "initrd").write_bytes(initrd.build_initrd(modules, busybox, INIT_SCRIPT.read_bytes()))
    (result / "kernel").hardlink_to(base / "kernel")
    manifest = {
        "kernel_version": kernel_version,
        "packages": {pin.name: pin.version for pin in pins.packages},
    }
    (result / "boot.json").write_text(json.dumps(manifest, indent=1))


def _base(cache: Path, pins: Pins, log: Log, say: Progress) -> Path:
    """What the packages hold: `kernel`, `kernel-version`, `modules/`, `root/`."""
    target = cache / "boot" / f"base-{_base_key(pins)}"
    if (target / "kernel-version").exists():
        touch(target)
        return target
    with exclusive(cache / "locks/apt", what="packages", progress=say):
        files = Apt(cache, log).fetch(pins.packages, say)
    say("unpacking the kernel and the guest's Python")
    with staging(cache, "base") as work:
        result = make_folder(work / "result")
        image = next(name for name in files if name.startswith("linux-image-"))
        _unpack_kernel(files[image], work, result)
        others = [path for name, path in files.items() if name != image]
        guest_root.build_base(result / "root", others, pins.python, log)
        publish(result, target)
    for path in files.values():
        path.unlink(missing_ok=True)
    return target


def _unpack_kernel(package: Path, work: Path, result: Path) -> None:
    tree = work / "kernel"
    unpack(package, tree, lambda path: path.startswith(("boot/vmlinuz-", "usr/lib/modules/")))
    kernel = next((tree / "boot").glob("vmlinuz-*"), None)
    if kernel is None:
        raise ImageError(f"package {package.name} holds no kernel", fix="aegis setup --upgrade")
    version = kernel.name.removeprefix("vmlinuz-")
    modules = ModuleTree.scan(tree / "usr/lib/modules" / version)
    kept = make_folder(result / "modules")
    for name in modules.load_order([*initrd.MODULES, *initrd.VSOCK_MODULES]):
        (kept / f"{name}.ko").write_bytes(modules.read(name))
    builtin = tree / "usr/lib/modules" / version / "modules.builtin"
    builtin.rename(kept / "modules.builtin")
    kernel.rename(result / "kernel")
    (result / "kernel-version").write_text(version)


def check_architecture() -> None:
    """Raise `HostNeedsError` on a host whose machines would be of another kind."""
    if platform.machine() not in ("x86_64", "AMD64"):
        raise HostNeedsError(
            f"machines are made for x86_64 hosts, this one is {platform.machine()}",
            fix="run it on an x86_64 host, or without machines: --isolation=none",
        )
