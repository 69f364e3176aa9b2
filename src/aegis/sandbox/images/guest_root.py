"""The guest's own root: Debian's minimal Python with precompiled bytecode, busybox, and the guest program.

It is a drive of its own, so that a user's image needs neither Python nor a shell.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from aegis.errors import ImageError

from .debs import make_merged_root, unpack
from .tools import Log, run

FORMAT = 1
"""Raised when this file changes what it makes."""

LIBRARIES = ("libc6", "zlib1g", "libexpat1", "libffi8")
MOUNT_POINTS = (
    "proc",
    "sys",
    "dev",
    "run",
    "tmp",
    "mnt",
    "mnt/image",
    "mnt/upper",
    "mnt/merged",
    "etc",
    "guest",
)
APPLETS = (
    *("sh", "ip", "ifconfig", "mount", "umount", "hostname", "insmod", "poweroff", "reboot", "sync", "kill"),
    *(
        "cat",
        "ls",
        "ps",
        "chroot",
        "mkdir",
        "rm",
        "sleep",
        "nsenter",
        "unshare",
        "sysctl",
        "dmesg",
        "df",
        "free",
    ),
)

# Left out of the standard library: what no guest runs, and extension modules whose libraries are not packed.
UNUSED_PACKAGES = (
    *("test", "idlelib", "ensurepip", "lib2to3", "distutils", "pydoc_data", "tkinter", "turtledemo", "venv"),
    *("unittest", "sqlite3", "curses", "dbm", "wsgiref", "xmlrpc"),
)
UNUSED_EXTENSIONS = (
    *("_bz2", "_crypt", "_curses", "_curses_panel", "_dbm", "_hashlib", "_lzma", "_sqlite3", "_ssl", "_uuid"),
    *("nis", "readline", "_test", "_ctypes_test", "_xxtestfuzz", "xxlimited"),
)
REQUIRED_IMPORTS = (
    *(
        "json",
        "tarfile",
        "selectors",
        "socket",
        "ctypes",
        "threading",
        "subprocess",
        "pty",
        "termios",
        "struct",
    ),
    *("signal", "resource", "fcntl", "select", "errno", "stat", "shutil", "hashlib", "zlib"),
)
LOADERS = ("ld-linux-x86-64.so.2",)


def package_names(python: str) -> tuple[str, ...]:
    """The packages of the root. `python` is Debian's versioned name: `python3.11`."""
    return (f"{python}-minimal", f"lib{python}-minimal", f"lib{python}-stdlib", "busybox-static", *LIBRARIES)


def build_base(root: Path, packages: Iterable[Path], python: str, log: Log) -> None:
    """Make the tree without the guest program in the new folder `root`, bytecode included.

    Raises `ImageError` when the interpreter doesn't start or lacks a module that the guest needs.
    """
    root.mkdir()
    make_merged_root(root)
    for package in packages:
        unpack(package, root, _kept)
    # The name that init starts, whatever the release's version is.
    (root / "usr/bin/python3").symlink_to(python)
    for applet in APPLETS:
        (root / "usr/bin" / applet).symlink_to("busybox")
    compile_tree(root, Path("usr/lib") / python, python, log)
    statements = "import " + ", ".join(REQUIRED_IMPORTS)
    run([*_interpreter(root, python), "-c", statements], step="start the guest's Python", log=log, env={})


def compile_tree(root: Path, folder: Path, python: str, log: Log) -> None:
    """Compile a folder below `root` by the unpacked interpreter itself: the host's may be another version.

    The bytecode is marked unchecked, so that the guest neither looks at the sources' times nor compiles anything.
    """
    argv = [*_interpreter(root, python), "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    paths = ["-s", str(root), "-p", "/", str(root / folder)]
    # Set order, and so the bytecode's bytes, depends on the hash seed.
    run([*argv, *paths], step=f"compile /{folder}", log=log, env={"PYTHONHASHSEED": "0"})


def add_guest(root: Path, source: Path, python: str, log: Log) -> None:
    """Copy the guest program (every Python file below `source`) to `/guest` of `root`, and compile it."""
    for path in guest_files(source):
        target = root / "guest" / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    compile_tree(root, Path("guest"), python, log)


def guest_files(source: Path) -> list[Path]:
    """The Python files of the guest program, sorted."""
    return sorted(path for path in source.rglob("*.py") if "__pycache__" not in path.parts)


def write_tar(stream: BinaryIO, roots: Iterable[Path]) -> None:
    """Write the trees one over the other as one archive: sorted, everything root's, without times."""
    entries: dict[str, Path | None] = dict.fromkeys(MOUNT_POINTS)
    for root in roots:
        for folder, names, files in os.walk(root):
            for name in (*names, *files):
                path = Path(folder, name)
                entries[path.relative_to(root).as_posix()] = path
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(entries):
            _add(archive, name, entries[name])


def _add(archive: tarfile.TarFile, name: str, path: Path | None) -> None:
    info = tarfile.TarInfo(name)
    if path is None or (path.is_dir() and not path.is_symlink()):
        info.type = tarfile.DIRTYPE
        info.mode = 0o1777 if name == "tmp" else 0o755
        archive.addfile(info)
    elif path.is_symlink():
        info.type = tarfile.SYMTYPE
        info.mode = 0o777
        info.linkname = os.readlink(path)
        archive.addfile(info)
    else:
        data = path.read_bytes()
        info.size = len(data)
        info.mode = path.stat().st_mode & 0o755 | 0o644
        archive.addfile(info, io.BytesIO(data))


def _kept(path: str) -> bool:
    parts = path.split("/")
    if parts[:2] == ["usr", "lib"] and len(parts) > 3 and parts[2].startswith("python3"):
        if parts[3] == "lib-dynload":
            return len(parts) == 4 or not parts[4].startswith(tuple(f"{name}." for name in UNUSED_EXTENSIONS))
        return parts[3] not in UNUSED_PACKAGES and "__pycache__" not in parts
    if path.endswith(".so") or ".so." in path:
        return "gconv" not in parts
    return path.startswith(("usr/bin/python3", "usr/bin/busybox", "usr/lib/python3"))


def _interpreter(root: Path, python: str) -> list[str]:
    """The command that runs the unpacked interpreter with the unpacked libraries, on whatever host this is."""
    for loader in LOADERS:
        for found in (root / "usr/lib").rglob(loader):
            libraries = ":".join(str(path) for path in (found.parent, root / "usr/lib"))
            return [str(found), "--library-path", libraries, str(root / "usr/bin" / python), "-I", "-S", "-B"]
    raise ImageError("the C library's package holds no program loader", fix="aegis setup --upgrade")
