"""File operations, each in a child of the cradle: they see the workload's root and cannot hurt the server.

Standard input and output carry the bytes. A failure is one line of JSON `{"code", "message"}` on standard error and
exit code 3; nothing else is written there.
"""

from __future__ import annotations

import errno
import io
import json
import os
import stat
import sys
import tarfile
from collections.abc import Iterator
from typing import Any, Protocol

from . import gather, looks


class Paths(Protocol):
    def path(self, path: str) -> str: ...


PROC = 3
"""Descriptor of /proc that the operation `processes` is given."""


class Refused(Exception):
    """The operation cannot be done."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


CODES = {
    errno.ENOENT: "not-found",
    errno.ENOTDIR: "not-found",
    errno.ELOOP: "not-found",
    errno.EISDIR: "is-directory",
    errno.EACCES: "permission",
    errno.EPERM: "permission",
    errno.EROFS: "permission",
    errno.ENOSPC: "no-space",
    errno.EDQUOT: "no-space",
}


def run(message: dict[str, Any], place: Paths) -> int:
    """Do `put`, `get`, `tree`, `look`, `processes` or `gather`; the exit code."""
    try:
        if message["op"] == "put":
            put(place.path(message["path"]))
        elif message["op"] == "get":
            get(place.path(message["path"]), int(message["max"]), message["path"])
        elif message["op"] == "tree":
            tree(place.path(message["path"]), int(message["max"]), int(message["files"]), message["path"])
        elif message["op"] == "look":
            looks.files(message, place)
        elif message["op"] == "processes":
            looks.processes(PROC, int(message["max"]))
        elif message["op"] == "gather":
            gather.gather(message["patterns"], int(message["max"]), int(message["files"]), place.path, _add)
        else:
            raise Refused("bad-request", f"unknown operation {message['op']!r}")
    except Refused as error:
        return _fail(error.code, str(error))
    except looks.TooMuch as error:
        return _fail("too-large", str(error))
    except OSError as error:
        code = CODES.get(error.errno or 0, "failed")
        return _fail(code, f"{message.get('path', '')}: {error.strerror or error}")
    except Exception as error:
        return _fail("failed", f"{type(error).__name__}: {error}")
    return 0


def _fail(code: str, message: str) -> int:
    os.write(2, json.dumps({"code": code, "message": message[:2000]}).encode())
    return 3


def put(dest: str) -> None:
    """Unpack the tar on standard input below `dest`. Members come from the host and are trusted."""
    os.umask(0o022)
    os.makedirs(dest, exist_ok=True)
    root = os.geteuid() == 0
    try:
        with os.fdopen(0, "rb", buffering=65536) as pipe, tarfile.open(fileobj=pipe, mode="r|") as archive:
            for member in archive:
                if os.path.isabs(member.name) or ".." in member.name.split("/"):
                    raise Refused("bad-request", f"{member.name}: not a path below the target")
                target = os.path.join(dest, member.name)
                if not member.isdir() and (os.path.islink(target) or _is_file(target)):
                    os.unlink(target)  # a link left there must not lead the write elsewhere
                archive.extract(member, dest, set_attrs=True, numeric_owner=root)
    except tarfile.TarError as error:
        raise Refused("bad-request", f"broken archive: {error}") from None


def _is_file(path: str) -> bool:
    return os.path.lexists(path) and not os.path.isdir(path)


def get(path: str, max_bytes: int, shown: str) -> None:
    """Write one regular file to standard output."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    info = os.fstat(fd)
    if stat.S_ISDIR(info.st_mode):
        raise Refused("is-directory", f"{shown}: is a folder")
    if not stat.S_ISREG(info.st_mode):
        raise Refused("not-found", f"{shown}: not a regular file")
    if info.st_size > max_bytes:
        raise Refused("too-large", f"{shown}: {info.st_size} bytes, more than the {max_bytes} allowed")
    left = max_bytes
    while chunk := os.read(fd, min(65536, left + 1)):
        left -= len(chunk)
        if left < 0:
            raise Refused("too-large", f"{shown}: grew past the {max_bytes} bytes allowed")
        _write_all(chunk)


def _write_all(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


def tree(path: str, max_bytes: int, max_files: int, shown: str) -> None:
    """Write a file or folder to standard output as a tar of regular files and folders; the rest is left out.

    GNU's format, whose only extension is the long name: the host reads nothing else.
    """
    if not os.path.lexists(path):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    with (
        os.fdopen(1, "wb", buffering=65536) as pipe,
        tarfile.open(fileobj=pipe, mode="w|", format=tarfile.GNU_FORMAT) as archive,
    ):
        for name, full in _walk(path):
            max_files -= 1
            if max_files < 0:
                raise Refused("too-large", f"{shown}: more files and folders than allowed")
            try:
                # Not followed and not waited for: it may have become a link or a FIFO since its folder was read.
                fd = os.open(full, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                max_bytes -= _add(archive, name, fd, max_bytes)
            finally:
                os.close(fd)


def _add(archive: tarfile.TarFile, name: str, fd: int, max_bytes: int) -> int:
    """The number of the file's bytes."""
    info = os.fstat(fd)
    member = tarfile.TarInfo(name)
    member.mode = stat.S_IMODE(info.st_mode)
    if stat.S_ISDIR(info.st_mode):
        member.type = tarfile.DIRTYPE
        archive.addfile(member)
    elif stat.S_ISREG(info.st_mode):
        if info.st_size > max_bytes:
            raise Refused("too-large", f"{name}: more bytes than allowed in all")
        member.size = info.st_size
        archive.addfile(member, Padded(fd))
    return member.size


class Padded(io.RawIOBase):
    """A file that never ends: one that shrinks while it is read is filled up with zeroes."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def read(self, size: int = -1) -> bytes:
        try:
            data = os.read(self._fd, size)
        except OSError:
            data = b""
        return data + bytes(size - len(data))


def _walk(path: str) -> Iterator[tuple[str, str]]:
    if not os.path.isdir(path) or os.path.islink(path):
        yield os.path.basename(path), path
        return
    for folder, names, files in os.walk(path):
        names.sort()
        relative = os.path.relpath(folder, path)
        for name in sorted(names) + sorted(files):
            yield os.path.normpath(os.path.join(relative, name)), os.path.join(folder, name)


if __name__ == "__main__":
    sys.exit("this module is used by the server")
