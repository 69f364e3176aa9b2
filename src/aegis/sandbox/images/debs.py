"""Unpacking Debian packages into a folder, with the file system's folders merged into `/usr`.

Releases differ in where a package's files lie (`/lib` or `/usr/lib`); merged, one layout serves them all. Owners are
not kept: what is unpacked here ends in an archive where everything belongs to root.
"""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from aegis.errors import ImageError

MERGED = ("bin", "sbin", "lib", "lib64")


def make_merged_root(root: Path) -> None:
    """Make the empty tree: `/usr/lib` and its like, with `/lib` as a symbolic link to it."""
    for name in MERGED:
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")


def unpack(package: Path, root: Path, keep: Callable[[str], bool] = lambda _: True) -> None:
    """Unpack the files of a package for which `keep(path)` is true (`usr/bin/python3`, no leading slash).

    Raises `ImageError` when the package is damaged.
    """
    command = ["dpkg-deb", "--fsys-tarfile", str(package)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as source:
        assert source.stdout is not None
        assert source.stderr is not None
        try:
            with tarfile.open(fileobj=source.stdout, mode="r|") as archive:
                for member in archive:
                    path = merged(member.name)
                    if path and keep(path):
                        _place(archive, member, root, path)
        except tarfile.TarError as error:
            raise ImageError(
                f"package {package.name} is damaged: {error}", fix="aegis setup --upgrade"
            ) from error
        finally:
            source.stdout.close()
            complaint = source.stderr.read().decode("utf-8", "replace").strip()
    if source.returncode != 0:
        raise ImageError(f"package {package.name} is damaged: {complaint}", fix="aegis setup --upgrade")


def merged(name: str) -> str:
    """`./lib/x` → `usr/lib/x`; the top folders themselves → ``."""
    path = PurePosixPath(name)
    parts = [part for part in path.parts if part not in ("/", ".")]
    if ".." in parts:
        raise ImageError(f"a package holds the path {name}", fix="aegis setup --upgrade")
    if parts and parts[0] in MERGED:
        parts.insert(0, "usr")
    return "/".join(parts) if len(parts) > 1 else ""


def _place(archive: tarfile.TarFile, member: tarfile.TarInfo, root: Path, path: str) -> None:
    target = root / path
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if member.issym():
        target.symlink_to(member.linkname)
    elif member.islnk():
        target.hardlink_to(root / merged(member.linkname))
    elif member.isfile():
        content = archive.extractfile(member)
        assert content is not None
        with content, target.open("wb") as stream:
            shutil.copyfileobj(content, stream)
        target.chmod(member.mode & 0o755 | 0o644)
