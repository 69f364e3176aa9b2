"""The drives of the KVM host: its system, the checkout under test, and the images that Aegis in it starts from."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from aegis.sandbox.images import ImageStore
from aegis.sandbox.images.cache import Progress, exclusive, make_folder, publish, remove_tree, staging
from aegis.sandbox.images.squashfs import write_squashfs
from aegis.sandbox.images.tools import Log

CHECKOUT = Path(__file__).resolve().parents[2]
SYSTEM = "kvm-host.toml"
PACKAGES = ("mmdebstrap", "python3", "qemu-system-x86", "skopeo", "squashfs-tools", "uidmap", "util-linux")
TEST_PACKAGES = ("pytest", "pytest-timeout")
SHIPPED = ("pyproject.toml", "src", "tests")
DRIVE = "drive.squashfs"
SETUP_DEADLINE_S = 1800
LEFT_OUT = frozenset({"__pycache__", ".mypy_cache", ".hypothesis", ".pytest_cache"})


def system_image(cache: Path, folder: Path, say: Progress) -> Path:
    """Debian with QEMU and what Aegis and its tests import: an image like those of users, built the first time."""
    lines = {"base": "debian", "packages": PACKAGES, "pip": _requirements()}
    text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in lines.items())
    (folder / SYSTEM).write_text(text)
    return ImageStore(cache).resolve(SYSTEM, base_dir=folder, progress=say).rootfs


def _requirements() -> list[str]:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    development = project["dependency-groups"]["dev"]
    wanted = [item for item in development if item.partition(">=")[0] in TEST_PACKAGES]
    assert len(wanted) == len(TEST_PACKAGES)
    return [*project["project"]["dependencies"], *wanted]


def copy_checkout(target: Path) -> Path:
    """Aegis and its tests as they stand now: what goes inside, and what prepares its cache, must be the same files."""
    target.mkdir()
    for name in SHIPPED:
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=lambda _, names: LEFT_OUT.intersection(names))
        else:
            shutil.copyfile(source, target / name)
    return target


def checkout_drive(checkout: Path, target: Path, log: Log) -> Path:
    files = [
        (path, str(path.relative_to(checkout))) for path in sorted(checkout.rglob("*")) if path.is_file()
    ]
    write_squashfs(target, lambda stream: _write_tar(stream, files), log=log, step="pack the checkout")
    return target


def cache_drive(cache: Path, checkout: Path, say: Progress) -> Path:
    """The part of this host's cache with which the copied Aegis needs no network: pins, boot files, one image."""
    ready = _set_up(cache, checkout)
    boot, image = Path(ready["boot"]["kernel"]).parent, Path(ready["image"]["rootfs"]).parent
    pins = cache / "packages.lock.json"
    inputs = [1, boot.name, image.name, pins.read_text()]
    folder = cache / "nested" / f"cache-{hashlib.sha256(json.dumps(inputs).encode()).hexdigest()}"
    with exclusive(cache / "locks/nested-cache", what="the KVM host's cache", progress=say):
        if not folder.exists():
            say("packing boot files and image for the KVM host")
            for old in (cache / "nested").glob("cache-*"):
                remove_tree(old)  # boot files change with each change of the guest program
            with staging(cache, "nested-cache") as work:
                result = make_folder(work / "result")
                log = Log.start(cache, "nested-cache")
                paths = [pins, *sorted(boot.iterdir()), *sorted(image.iterdir())]
                files = [(path, str(path.relative_to(cache))) for path in paths]
                drive = result / DRIVE
                write_squashfs(
                    drive, lambda stream: _write_tar(stream, files), log=log, step="pack the cache"
                )
                publish(result, folder)
    return folder / DRIVE


def _set_up(cache: Path, checkout: Path) -> dict[str, Any]:
    """What `aegis setup` of the copied Aegis has in the cache, made when it wasn't there."""
    done = subprocess.run(
        [sys.executable, "-m", "aegis", "setup", "--json"],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout / "src"), "AEGIS_CACHE_DIR": str(cache)},
        stdout=subprocess.PIPE,
        check=True,
        timeout=SETUP_DEADLINE_S,
    )
    ready: dict[str, Any] = json.loads(done.stdout)
    return ready


def _write_tar(stream: BinaryIO, files: Iterable[tuple[Path, str]]) -> None:
    with tarfile.open(fileobj=stream, mode="w|") as archive:
        for path, name in files:
            info = archive.gettarinfo(path, name)
            info.type, info.size = tarfile.REGTYPE, path.stat().st_size  # no hard links of the cache
            info.uid = info.gid = 0
            info.uname = info.gname = ""
            with path.open("rb") as content:
                archive.addfile(info, content)
