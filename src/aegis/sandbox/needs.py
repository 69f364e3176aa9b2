"""What the host must have for machines, and the fix for each thing that it lacks.

`aegis doctor` prints this list. Nothing here changes anything, and nothing takes long.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aegis.errors import HostNeedsError
from aegis.sandbox.images.cache import cache_folder
from aegis.sandbox.images.namespaces import require_subordinate_ids
from aegis.sandbox.images.tools import find_tool, install_line

MIN_FREE_BYTES = 3 << 30
"""Room for the boot files, the built-in image while it is built, and a few templates."""

MIN_MEMORY_BYTES = 1 << 30
"""Room for one small machine beside the rest."""


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that the host must have, or should have when `required` is false."""

    name: str
    ok: bool
    why: str
    """What it is needed for."""
    fix: str | None
    """The command or change that gives it; None when it is there."""
    detail: str
    """What was found: a path, a version, a size."""
    required: bool = True


def needs(cache_dir: Path | None = None) -> list[Need]:
    """Check everything; never raises. Takes well under a second."""
    checks: tuple[Callable[[], Need], ...] = (
        _architecture,
        lambda: _tool("qemu-system-x86_64", "runs the machines"),
        lambda: _tool("mksquashfs", "writes root file systems"),
        lambda: _tool("unsquashfs", "reads a base image", required=False),
        lambda: _tool("mmdebstrap", "builds the debian image"),
        lambda: _tool("apt-get", "fetches the kernel and the guest's Python"),
        lambda: _tool("dpkg-deb", "unpacks packages"),
        lambda: _tool("unshare", "keeps builds and machines apart from the host"),
        lambda: _tool("setpriv", "takes privileges from machines"),
        lambda: _tool("skopeo", "fetches images from registries (oci:NAME)", required=False),
        _user_namespaces,
        lambda: _disk(cache_folder(cache_dir)),
        _memory,
    )
    return [check() for check in checks]


def _architecture() -> Need:
    machine = platform.machine()
    ok = machine in ("x86_64", "AMD64") and platform.system() == "Linux"
    fix = None if ok else "use an x86_64 Linux host, or --isolation=none"
    return Need("x86_64 Linux", ok, "machines are made for it", fix, f"{platform.system()} {machine}")


def _tool(name: str, why: str, *, required: bool = True) -> Need:
    path = find_tool(name)
    if path is None:
        return Need(name, False, why, _install(name), "not found", required)
    return Need(name, True, why, None, path, required)


def _install(name: str) -> str:
    if find_tool("apt-get") is None:
        return "use Debian 12 or newer, or a container of it"
    return install_line([name])


def _user_namespaces() -> Need:
    why = "builds images without root"
    if os.geteuid() == 0:
        return Need("user namespaces", True, why, None, "not needed: this is root", required=False)
    try:
        require_subordinate_ids("building images")
    except HostNeedsError as error:
        return Need("user namespaces", False, why, error.fix, error.message)
    return Need("user namespaces", True, why, None, "allowed, with a range of ids")


def _disk(cache: Path) -> Need:
    why = "keeps boot files, images and templates"
    folder = next(path for path in (cache, *cache.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    detail = f"{free / (1 << 30):.1f} GiB free for {cache}"
    name = f"disk space ({MIN_FREE_BYTES >> 30} GiB)"
    if not os.access(folder, os.W_OK):
        return Need(
            name, False, why, f"make {folder} writable, or set AEGIS_CACHE_DIR", f"{folder} is not writable"
        )
    if free < MIN_FREE_BYTES:
        return Need(name, False, why, "aegis image prune, or set AEGIS_CACHE_DIR to a larger disk", detail)
    return Need(name, True, why, None, detail)


def _memory() -> Need:
    name, why = f"memory ({MIN_MEMORY_BYTES >> 30} GiB)", "every machine has its own"
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        available = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")) * 1024
    except (OSError, StopIteration, ValueError, IndexError):
        return Need(name, True, why, None, "unknown", required=False)
    detail = f"{available / (1 << 30):.1f} GiB available"
    if available < MIN_MEMORY_BYTES:
        return Need(name, False, why, "free some memory, or use a larger host", detail)
    return Need(name, True, why, None, detail)
