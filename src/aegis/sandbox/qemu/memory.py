"""Memory files: a machine's RAM and device state as anonymous files of this process.

A template's RAM is sealed before it is handed to clones: each maps it privately, and not even a subverted VMM process
can change what the next trial starts from.
"""

from __future__ import annotations

import fcntl
import os
import zlib
from pathlib import Path

from aegis.errors import SandboxStartError

CHUNK = 1 << 20


def create(name: str, size_bytes: int = 0) -> int:
    """A memory file of `size_bytes` zeroes, of which only what is written takes memory."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size_bytes)
    return fd


def fix_size(fd: int) -> None:
    """No one can grow it or shrink it any more; who reads it need not fear that it ends."""
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)


def duplicate(fd: int, name: str) -> int:
    """A memory file of its own with the same contents and a size that is fixed. Raises SandboxStartError when memory
    does not suffice."""
    copy = create(name)
    try:
        copy_sparse(fd, copy)
        fix_size(copy)
    except OSError as error:
        os.close(copy)
        raise SandboxStartError(f"cannot hold a copy of a machine in memory: {error.strerror}") from None
    return copy


def seal(fd: int) -> None:
    """No one can write to it, grow it or shrink it any more; private mappings stay possible."""
    seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)


def copy_sparse(source: int, target: int) -> int:
    """Copy all bytes, leaving holes as holes; returns the number of bytes that took room. Raises OSError."""
    size = os.fstat(source).st_size
    os.ftruncate(target, size)
    position = copied = 0
    while position < size:
        try:
            start = os.lseek(source, position, os.SEEK_DATA)
        except OSError:
            break  # ENXIO: only a hole is left
        end = os.lseek(source, start, os.SEEK_HOLE)
        copied += _copy_range(source, target, start, end)
        position = end
    return copied


def _copy_range(source: int, target: int, start: int, end: int) -> int:
    position = start
    while position < end:
        data = os.pread(source, min(CHUNK, end - position), position)
        if not data:
            break
        # Pages of zeroes that the guest once touched need not take room again.
        if data.count(0) != len(data):
            os.pwrite(target, data, position)
        position += len(data)
    return position - start


def checksum(fd: int) -> int:
    """CRC-32 of what is not zero, and of where it lies; holes cost nothing. Finds damage, not malice."""
    size, position, crc = os.fstat(fd).st_size, 0, zlib.crc32(b"%d" % os.fstat(fd).st_size)
    while position < size:
        try:
            position = max(position, os.lseek(fd, position, os.SEEK_DATA) // CHUNK * CHUNK)
        except OSError:
            break  # ENXIO: only a hole is left
        data = os.pread(fd, CHUNK, position)
        if data.count(0) != len(data):
            crc = zlib.crc32(data, zlib.crc32(b"%d" % position, crc))
        position += CHUNK
    return crc


def load(path: Path, name: str) -> int:
    """A sealed memory file with the contents of a file. Raises SandboxStartError when memory does not suffice."""
    with open(path, "rb") as file:
        fd = create(name)
        try:
            copy_sparse(file.fileno(), fd)
            seal(fd)
        except OSError as error:
            os.close(fd)
            raise SandboxStartError(f"cannot hold {path.name} in memory: {error.strerror}") from None
    return fd


def store(fd: int, path: Path) -> None:
    """Write a memory file to a new file, sparse, for this user only. Raises OSError; then nothing is left."""
    try:
        target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            copy_sparse(fd, target)
        finally:
            os.close(target)
    except OSError:
        path.unlink(missing_ok=True)
        raise
