"""The boot files and the built-in image, made for real in the host's own cache: slow once, quick afterwards."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from image_tools import squashfs_file, squashfs_paths
from test_image_cpio import parse

from aegis.sandbox.images import ImageStore, boot_files
from aegis.sandbox.images.boot import GUEST_SOURCE

pytestmark = [
    pytest.mark.vm,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not shutil.which("mmdebstrap"), reason="mmdebstrap is not installed"),
]


def test_boot_files_are_made_once() -> None:
    first = boot_files()
    said: list[str] = []
    assert boot_files(said.append) == first
    assert said == []
    assert first.kernel.read_bytes()[0x202:0x206] != b"\0\0\0\0"  # version of the kernel's boot protocol
    assert first.kernel.read_bytes()[0x1FE:0x200] == b"\x55\xaa"


def test_the_initial_file_system_loads_drivers_in_order() -> None:
    entries = parse(boot_files().initrd.read_bytes())
    assert entries["init"][1] == (GUEST_SOURCE / "init.sh").read_bytes()
    assert entries["init"][0] == 0o100755
    order = entries["modules/order"][1].decode().split()
    assert order.index("virtio_ring.ko") < order.index("virtio.ko") < order.index("virtio_blk.ko")
    assert {"virtio_mmio.ko", "virtio_console.ko", "virtio_rng.ko", "squashfs.ko", "overlay.ko"} <= set(order)
    vsock = entries["modules/order-vsock"][1].decode().split()
    assert vsock[-1] == "vmw_vsock_virtio_transport.ko"
    assert not set(vsock) & set(order)
    assert all(entries[f"modules/{name}"][1].startswith(b"\x7fELF") for name in (*order, *vsock))


def test_the_guests_root_holds_the_guest_and_its_bytecode() -> None:
    root = boot_files().guest_root
    paths = squashfs_paths(root)
    for source in GUEST_SOURCE.glob("*.py"):
        assert squashfs_file(root, f"guest/{source.name}") == source.read_bytes()
        compiled = next(path for path in paths if path.startswith(f"guest/__pycache__/{source.stem}."))
        # PEP 552: flags 1 mean a bytecode file by hash that is not checked.
        assert squashfs_file(root, compiled)[4:8] == b"\x01\0\0\0"
    for folder in ("proc", "sys", "dev", "run", "mnt/image", "mnt/upper", "mnt/merged"):
        assert paths[folder] == "drwxr-xr-x"
    assert paths["tmp"] == "drwxrwxrwt"
    assert "usr/bin/python3" in paths
    assert not [path for path in paths if "/test/" in path or "idlelib" in path]


def test_the_built_in_image_is_neutral_and_small() -> None:
    image = ImageStore().resolve("debian", base_dir=Path.cwd())
    paths = squashfs_paths(image.rootfs)
    for program in ("python3", "curl", "sqlite3", "ps", "bash"):
        assert f"usr/bin/{program}" in paths
    assert squashfs_file(image.rootfs, "etc/hostname") == b"debian\n"
    assert b"@" not in squashfs_file(image.rootfs, "etc/apt/sources.list")
    for empty in ("var/lib/apt/lists/", "var/cache/apt/archives/", "dev/", "tmp/", "run/"):
        names = {path.removeprefix(empty) for path in paths if path.startswith(empty)}
        assert names <= {"lock", "partial", "auxfiles"}
    assert image.size_bytes < 150 << 20
    assert image.env["LANG"] == "C.UTF-8"


def wheel(path: Path) -> None:
    """A package of the test's own, so that pip needs no package index."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("told.py", 'WORD = "hello"\n')
        archive.writestr("told-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: told\nVersion: 1\n")
        archive.writestr(
            "told-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("told-1.dist-info/RECORD", "")


@pytest.mark.slow
def test_packages_and_pip_upon_the_built_in_image(tmp_path: Path) -> None:
    (tmp_path / "image.toml").write_text(
        'packages = ["jq"]\npip = ["-r /opt/requirements.txt"]\n'
        'run = ["jq --version > /said", "python3 -c \'import told; print(told.WORD)\' >> /said", "ls /tmp >> /said"]\n'
        '[files]\n"requirements.txt" = "/opt/"\n"told-1-py3-none-any.whl" = "/opt/"\n'
    )
    (tmp_path / "requirements.txt").write_text("/opt/told-1-py3-none-any.whl\n")
    wheel(tmp_path / "told-1-py3-none-any.whl")
    store = ImageStore()
    image = store.resolve("image.toml", base_dir=tmp_path)
    try:
        version, word, *left = squashfs_file(image.rootfs, "said").decode().split("\n")
        assert version.startswith("jq-")
        assert word == "hello"
        assert left == ["ca-certificates.crt", ""]
        assert "usr/sbin/policy-rc.d" not in squashfs_paths(image.rootfs)
    finally:
        store.remove(image.digest)


def test_the_guests_interpreter_runs_on_this_host(tmp_path: Path) -> None:
    """What the machine runs, started outside of one: whichever Python the host has."""
    root = tmp_path / "root"
    argv = ["unsquashfs", "-quiet", "-no-progress", "-dest", str(root), str(boot_files().guest_root)]
    subprocess.run(argv, check=True, capture_output=True)
    loader = next(root.rglob("usr/lib/*/ld-linux*.so*"))
    program = (
        "import json, tarfile, selectors, socket, ctypes, threading, subprocess, pty, termios, struct, signal"
    )
    argv = [
        str(loader),
        "--library-path",
        str(loader.parent),
        str(root / "usr/bin/python3"),
        "-I",
        "-S",
        "-B",
    ]
    done = subprocess.run([*argv, "-c", f"{program}, resource"], env={}, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
