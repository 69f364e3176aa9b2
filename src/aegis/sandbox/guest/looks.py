"""What the host wants to know about the workload without changing it: its files' contents as digests, its processes.

Both run in a child of the cradle, as the file operations do, write a line of JSON for each thing found, and need no
program of the image.
"""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from typing import Any, Protocol

READ_SIZE = 1 << 20
MAX_NAMES = 500_000
"""That patterns are compared with, and that lie below what they name."""
_MAGIC = frozenset("*?[")
MAX_COMMAND = 32 * 1024
"""Bytes of a command line that are told."""
_STATE, _PARENT, _STACK = 0, 1, 25
"""Fields of /proc/PID/stat behind the name: state, ppid, startstack (proc(5) counts them as 3, 4 and 28)."""


class Paths(Protocol):
    def path(self, path: str) -> str: ...


class TooMuch(Exception):
    """More files or bytes than asked for."""


def files(message: dict[str, Any], place: Paths) -> None:
    """A line for each file, folder and link that a pattern names or that lies below one; each once, in the order of
    their paths. Raises TooMuch."""
    base = place.path("/").rstrip("/")
    left = Left(message["bytes"], message["keep_all"])
    found: set[str] = set()
    for pattern in message["patterns"]:
        for path in _found(place.path(pattern), base, left):
            found.add(path)
            if len(found) > message["entries"]:
                raise TooMuch(f"more than {message['entries']} files and folders")
    for path in sorted(found):
        entry = _entry(path, message["keep"], left)
        if entry is not None:
            _tell({"path": path[len(base) :] or "/", **entry})


class Left:
    """What may still be read, kept, and looked at."""

    def __init__(self, read: int, kept: int) -> None:
        self.read = read
        self.kept = kept
        self.names = MAX_NAMES

    def spend(self, names: int) -> None:
        self.names -= names
        if self.names < 0:
            raise TooMuch(f"more than {MAX_NAMES} names to look through")


def _found(pattern: str, base: str, left: Left) -> Iterator[str]:
    """The paths that a pattern names, and all below those that are folders."""
    # The folder that stands for the root on a plain host is no part of the pattern.
    for path in _named(base, pattern[len(base) :].strip("/"), left):
        if os.path.lexists(path):
            yield path
            if os.path.isdir(path) and not os.path.islink(path):
                for folder, names, others in os.walk(path):
                    left.spend(len(names) + len(others))
                    yield from (os.path.join(folder, name) for name in (*names, *others))


def _named(base: str, pattern: str, left: Left) -> list[str]:
    """Name by name, and never through a link that a wildcard met: links make endlessly many paths of a few files."""
    paths = [base or "/"]
    parts = pattern.split("/") if pattern else []
    for number, name in enumerate(parts, 1):
        if name == "**":
            paths = [inner for path in paths for inner in (path, *_folders(path, left))]
        elif _MAGIC.isdisjoint(name):
            paths = [os.path.join(path, name) for path in paths]
        else:
            met = ((path, found) for path in paths for found in _names(path, left))
            paths = [os.path.join(path, found) for path, found in met if fnmatch.fnmatchcase(found, name)]
            if number < len(parts):
                paths = [path for path in paths if not os.path.islink(path)]
    return paths


def _names(folder: str, left: Left) -> list[str]:
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    left.spend(len(names))
    return names


def _folders(path: str, left: Left) -> Iterator[str]:
    for folder, names, others in os.walk(path):
        left.spend(len(names) + len(others))
        for name in names:
            if not os.path.islink(os.path.join(folder, name)):
                yield os.path.join(folder, name)


def _entry(path: str, keep: int, left: Left) -> dict[str, Any] | None:
    try:
        info = os.lstat(path)
        if stat.S_ISLNK(info.st_mode):
            return {"kind": "link", "mode": 0o777, "target": os.readlink(path)}
        entry: dict[str, Any] = {"kind": "other", "mode": stat.S_IMODE(info.st_mode)}
        if stat.S_ISDIR(info.st_mode):
            entry["kind"] = "folder"
        elif stat.S_ISREG(info.st_mode):
            entry.update(kind="file", **_content(path, keep, left))
        return entry
    except FileNotFoundError:
        return None


def _content(path: str, keep: int, left: Left) -> dict[str, Any]:
    """Size and digest of a file as it is read, and its bytes where it is small."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        digest = hashlib.blake2b(digest_size=20)
        size, kept = 0, bytearray()
        while chunk := os.read(fd, READ_SIZE):
            digest.update(chunk)
            size += len(chunk)
            left.read -= len(chunk)
            if left.read < 0:
                raise TooMuch("more bytes than allowed in all")
            if size <= keep:
                kept += chunk
    finally:
        os.close(fd)
    content: dict[str, Any] = {"size": size, "digest": digest.hexdigest()}
    if size <= min(keep, left.kept):
        left.kept -= size
        content["content"] = base64.b64encode(kept).decode()
    return content


def processes(proc: int, most: int) -> None:
    """A line for each process below the cradle, by number, but not for the cradle's own helpers.

    `proc` is an open descriptor of /proc: the workload may have mounted something over it. A helper is a fork of the
    cradle, and so its stack begins where this process's does; every exec draws that place anew.
    """
    cradle, own = os.getppid(), _stat(proc, os.getpid())
    if own is None:
        raise OSError("/proc cannot be read")
    known = {pid: found for pid in _numbers(proc) if (found := _stat(proc, pid)) is not None}
    told = 0
    for pid, (state, parent, stack) in sorted(known.items()):
        if state in "ZX" or stack == own[2] or not _descends(pid, cradle, known):
            continue
        told += 1
        if told <= most:
            _tell({"pid": pid, "parent": parent, "command": _command(proc, pid)})
    if told > most:
        _tell({"more": told - most})


def _numbers(proc: int) -> list[int]:
    return [int(name) for name in os.listdir(proc) if name.isdigit()]


def _stat(proc: int, pid: int) -> tuple[str, int, int] | None:
    """(state, parent, where the stack begins); None when it has ended."""
    fields = _read(proc, f"{pid}/stat").rpartition(b")")[2].split()
    if len(fields) <= _STACK:
        return None
    return fields[_STATE].decode("ascii", "replace"), int(fields[_PARENT]), int(fields[_STACK])


def _descends(pid: int, ancestor: int, known: dict[int, tuple[str, int, int]]) -> bool:
    for _ in range(len(known) + 1):  # parents may change while they are read
        if pid not in known:
            return False
        pid = known[pid][1]
        if pid == ancestor:
            return True
    return False


def _command(proc: int, pid: int) -> list[str]:
    """Its arguments; the kernel's name for it in brackets where it has wiped them."""
    line = _read(proc, f"{pid}/cmdline")[:MAX_COMMAND].rstrip(b"\0")
    if not line:
        return [f"[{_read(proc, f'{pid}/comm').decode('utf-8', 'replace').strip()}]"]
    return [part.decode("utf-8", "replace") for part in line.split(b"\0")]


def _read(proc: int, name: str) -> bytes:
    try:
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)
    except OSError:
        return b""
    try:
        return os.read(fd, 2 * MAX_COMMAND)
    except OSError:
        return b""
    finally:
        os.close(fd)


def _tell(entry: dict[str, Any]) -> None:
    data = memoryview(json.dumps(entry).encode() + b"\n")
    while data:
        data = data[os.write(1, data) :]
