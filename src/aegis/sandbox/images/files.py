"""Project files that go into an image: listing them, hashing them, and packing them as a tar archive."""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from aegis.errors import UsageError

LEFT_OUT = frozenset({".git", ".aegis", "__pycache__"})
"""Folders that are never part of an image: they change without meaning anything."""


@dataclass(frozen=True, slots=True)
class ProjectFile:
    source: Path
    target: str
    """Path in the image, without a leading slash."""


def project_files(base_dir: Path, files: Mapping[str, str]) -> list[ProjectFile]:
    """Every file, folder and symbolic link of the mapping (project path → image path), folders before their content.

    A target that ends in `/` is a folder to put the source into. Raises `UsageError` for what is neither.
    """
    found: list[ProjectFile] = []
    for source, target in files.items():
        path = base_dir / source
        inside = target.endswith("/") and not path.is_dir()
        place = (target + path.name if inside else target).strip("/")
        found += [ProjectFile(item, f"{place}/{rest}".strip("/")) for item, rest in _walk(path)]
    return found


def digest_files(files: list[ProjectFile]) -> str:
    """SHA-256 (hex) over paths, kinds, executable bits and contents."""
    digest = hashlib.sha256()
    for file in files:
        mode = file.source.lstat().st_mode
        digest.update(f"{file.target}\0{stat.S_IFMT(mode):o}\0{_permissions(mode):o}\0".encode())
        digest.update(_content_digest(file.source, mode))
    return digest.hexdigest()


def write_files(stream: BinaryIO, files: list[ProjectFile]) -> None:
    """Pack the files; in the image they belong to root."""
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for file in files:
            info = archive.gettarinfo(file.source, file.target)
            if info is None or not file.target:
                continue
            info.uid = info.gid = 0
            info.uname = info.gname = ""
            info.mode = _permissions(file.source.lstat().st_mode)
            if info.islnk():
                # A hard link of the project's checkout is two files to the image.
                info.type, info.size = tarfile.REGTYPE, file.source.stat().st_size
            if info.isreg():
                with file.source.open("rb") as content:
                    archive.addfile(info, content)
            else:
                archive.addfile(info)


def _walk(path: Path) -> Iterator[tuple[Path, str]]:
    mode = path.lstat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
        raise UsageError(f"{path} is neither a file nor a folder", fix="leave it out of the image's files")
    yield path, ""
    if stat.S_ISDIR(mode):
        for name in sorted(os.listdir(path)):
            if name not in LEFT_OUT:
                for item, rest in _walk(path / name):
                    yield item, f"{name}/{rest}".rstrip("/")


def _permissions(mode: int) -> int:
    if stat.S_ISLNK(mode):
        return 0o777
    return 0o755 if stat.S_ISDIR(mode) or mode & 0o100 else 0o644


def _content_digest(path: Path, mode: int) -> bytes:
    if stat.S_ISLNK(mode):
        return hashlib.sha256(os.fsencode(os.readlink(path))).digest()
    if stat.S_ISDIR(mode):
        return b""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()
