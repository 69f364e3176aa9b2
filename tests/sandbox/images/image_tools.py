"""What the image tests share: which tools the host has, reading a squashfs, and a tiny base image."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from aegis.errors import HostNeedsError
from aegis.sandbox.images.namespaces import isolated
from support.oci import LayoutBuilder, entry, layer, symlink

needs_squashfs = pytest.mark.skipif(
    not (shutil.which("mksquashfs") and shutil.which("unsquashfs")), reason="squashfs-tools are not installed"
)
needs_skopeo = pytest.mark.skipif(not shutil.which("skopeo"), reason="skopeo is not installed")

APPLETS = ("sh", "cat", "chmod", "echo", "false", "id", "ls", "mkdir", "rm", "sleep", "touch", "dd")


def can_enter_namespaces() -> bool:
    try:
        prefix = isolated("testing")
    except HostNeedsError:
        return False
    return subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0


def static_busybox() -> Path | None:
    """The host's busybox when it is one that runs anywhere."""
    found = shutil.which("busybox")
    if found is None or b"ld-linux" in Path(found).read_bytes()[:8192]:
        return None
    return Path(found)


needs_builds = pytest.mark.skipif(
    static_busybox() is None or not can_enter_namespaces() or not shutil.which("unsquashfs"),
    reason="needs busybox-static, squashfs-tools, and namespaces",
)


def tiny_base(folder: Path) -> None:
    """An OCI layout `tiny` below `folder`: busybox and nothing else."""
    busybox = static_busybox()
    assert busybox is not None
    builder = LayoutBuilder(folder / "tiny")
    content = layer(
        entry("bin"),
        entry("bin/busybox", busybox.read_bytes(), mode=0o755),
        *(symlink(f"bin/{name}", "busybox") for name in APPLETS),
        entry("etc"),
        entry("etc/motd", b"tiny\n"),
        symlink("opt", "/srv"),
        entry("srv"),
    )
    builder.index(latest=builder.image([content], config={"Env": ["PATH=/bin", "A=1"], "WorkingDir": "/srv"}))


def squashfs_file(rootfs: Path, path: str) -> bytes:
    """Content of one file of a squashfs."""
    return subprocess.run(["unsquashfs", "-cat", str(rootfs), path], capture_output=True, check=True).stdout


def squashfs_paths(rootfs: Path) -> dict[str, str]:
    """Path → mode string (`drwxr-xr-x`) of everything in a squashfs; the root is ``."""
    listed = subprocess.run(
        ["unsquashfs", "-lln", str(rootfs)], capture_output=True, check=True, text=True
    ).stdout
    found = {}
    for line in listed.splitlines():
        mode, _, rest = line.partition(" ")
        if "squashfs-root" in rest:
            found[rest.partition("squashfs-root")[2].partition(" -> ")[0].lstrip("/")] = mode
    return found


def leftovers(cache: Path) -> list[str]:
    """What is left in the cache of work in progress."""
    folder = cache / "tmp"
    return sorted(os.listdir(folder)) if folder.is_dir() else []


def is_regular(path: Path) -> bool:
    return stat.S_ISREG(path.lstat().st_mode)
