"""Unpacking what a sandbox sent: hostile until proven dull."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import tempfile
from pathlib import Path

from aegis.errors import HostileArchiveError

MAX_NAME_BYTES = 1024
MAX_DEPTH = 64


def unpack(archive: bytes, dest: Path, *, max_bytes: int, max_files: int) -> int:
    """Unpack a tar of regular files and folders into the new folder `dest`; returns the number of files.

    `max_bytes` bounds the sum of the files' sizes, `max_files` the number of members. Ownership, times and special
    mode bits are not taken over. Raises HostileArchiveError, and then `dest` does not exist.
    """
    dest.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{dest.name[:40]}.", dir=dest.parent))
    try:
        count = _unpack_into(archive, staging, max_bytes, max_files)
        os.rename(staging, dest)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return count


def _unpack_into(archive: bytes, root: Path, max_bytes: int, max_files: int) -> int:
    left, members, files = max_bytes, 0, 0
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r|") as tar:
            for member in tar:
                members += 1
                if members > max_files:
                    raise HostileArchiveError(f"more than {max_files} files and folders")
                parts = safe_parts(member.name)
                target = root.joinpath(*parts)
                if member.isdir():
                    target.mkdir(parents=True, exist_ok=True)
                elif member.isreg() and not member.issparse():
                    left -= member.size
                    if left < 0:
                        raise HostileArchiveError(f"files of more than {max_bytes} bytes in all")
                    _write(tar, member, target)
                    files += 1
                else:
                    raise HostileArchiveError(f"{_shown(member.name)}: neither a regular file nor a folder")
    except (tarfile.TarError, EOFError, ValueError, UnicodeError, RecursionError) as error:
        raise HostileArchiveError(f"broken archive: {error}") from None
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise HostileArchiveError("a name is both a file and a folder") from None
    return files


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    source = tar.extractfile(member)
    if source is None:
        raise HostileArchiveError(f"{_shown(member.name)}: not a regular file")
    target.parent.mkdir(parents=True, exist_ok=True)
    # O_EXCL: a name that comes twice is refused, and nothing that exists is followed or replaced.
    fd = os.open(
        target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o755 if member.mode & 0o100 else 0o644
    )
    with os.fdopen(fd, "wb") as file:
        shutil.copyfileobj(source, file)


def safe_parts(name: str) -> tuple[str, ...]:
    """The parts of a member's name. Raises HostileArchiveError for one that could lead out of its folder."""
    if (
        not name
        or name.startswith("/")
        or "\0" in name
        or len(name.encode("utf-8", "replace")) > MAX_NAME_BYTES
    ):
        raise HostileArchiveError(f"{_shown(name)}: not a usable relative path")
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if (
        ".." in parts
        or len(parts) > MAX_DEPTH
        or any(len(part.encode("utf-8", "replace")) > 255 for part in parts)
    ):
        raise HostileArchiveError(f"{_shown(name)}: not a usable relative path")
    return parts


def _shown(name: str) -> str:
    return ascii(name[:80])
