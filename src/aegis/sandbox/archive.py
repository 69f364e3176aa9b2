"""Unpacking what a sandbox sent: hostile until proven dull."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from aegis.errors import HostileArchiveError, SandboxError
from aegis.sandbox.tarstream import Member, TarError, members

MAX_NAME_BYTES = 1024
MAX_DEPTH = 64


def unpack(archive: bytes, dest: Path, *, max_bytes: int, max_files: int) -> int:
    """Unpack a tar of regular files and folders into the new folder `dest`; returns the number of files.

    `max_bytes` bounds the sum of the files' sizes, `max_files` the number of members. Ownership, times and special
    mode bits are not taken over. Raises HostileArchiveError, or SandboxError when the host cannot write; then `dest`
    does not exist.
    """
    dest.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{dest.name[:40]}.", dir=dest.parent))
    try:
        count = _unpack_into(archive, staging, max_bytes, max_files)
        os.rename(staging, dest)
    except OSError as error:
        shutil.rmtree(staging, ignore_errors=True)
        raise SandboxError(f"cannot write {dest}: {error.strerror}", fix="make room there") from None
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return count


def _unpack_into(archive: bytes, root: Path, max_bytes: int, max_files: int) -> int:
    left, seen, files = max_bytes, 0, 0
    try:
        for member in members(archive):
            seen += 1
            if seen > max_files:
                raise HostileArchiveError(f"more than {max_files} files and folders")
            target = root.joinpath(*safe_parts(member.name))
            if member.is_folder:
                target.mkdir(parents=True, exist_ok=True)
                continue
            left -= len(member.data)
            if left < 0:
                raise HostileArchiveError(f"files of more than {max_bytes} bytes in all")
            _write(member, target)
            files += 1
    except TarError as error:
        raise HostileArchiveError(f"broken archive: {error}") from None
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise HostileArchiveError("a name comes twice, or is both a file and a folder") from None
    return files


def _write(member: Member, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    # O_EXCL: a name that comes twice is refused, and nothing that exists is followed or replaced.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(target, flags, 0o755 if member.executable else 0o644), "wb") as file:
        file.write(member.data)


def safe_parts(name: str) -> tuple[str, ...]:
    """The parts of a member's name. Raises HostileArchiveError for one that could lead out of its folder."""
    too_long = len(os.fsencode(name)) > MAX_NAME_BYTES
    if not name or name.startswith("/") or "\0" in name or too_long:
        raise HostileArchiveError(f"{_shown(name)}: not a usable relative path")
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if ".." in parts or len(parts) > MAX_DEPTH or any(len(os.fsencode(part)) > 255 for part in parts):
        raise HostileArchiveError(f"{_shown(name)}: not a usable relative path")
    return parts


def _shown(name: str) -> str:
    return ascii(name[:80])
