"""The operation `gather`: the files that patterns stand for, as one archive.

What does not fit is left out and told on standard error, as JSON `{"left": [[path, why], …], "more": n}`; the operation
succeeds all the same.
"""

from __future__ import annotations

import json
import os
import stat
import tarfile
from collections.abc import Callable, Iterator

from . import globs

MAX_SEEN = 50_000
"""Names looked at for all patterns together: a workload may have made any number."""
MAX_TOLD, MAX_TOLD_CHARS = 40, 200

Parts = tuple[str, ...]
_ALL: Parts = ("**",)
Add = Callable[[tarfile.TarFile, str, int, int], int]


class Search:
    """Finds files; `found` is guest path → (path to open, whether a link there is followed)."""

    def __init__(self, path: Callable[[str], str]) -> None:
        self._path = path
        self.found: dict[str, tuple[str, bool]] = {}
        self.left: list[tuple[str, str]] = []
        self._seen = 0

    def add(self, pattern: str) -> None:
        """Find what one pattern stands for."""
        parts = globs.parts_of(pattern)
        fixed = next((at for at, part in enumerate(parts) if globs.is_wild(part)), len(parts))
        place = "/" + "/".join(parts[:fixed])
        before, real = len(self.found), self._path(place)
        try:
            mode = os.stat(real).st_mode
        except OSError:
            mode = 0
        if stat.S_ISDIR(mode):
            self._walk(place, real, frozenset({parts[fixed:] or _ALL}))
            if len(self.found) == before and not self._known(parts):
                self.left.append((pattern, "nothing is there"))
        elif fixed == len(parts) and stat.S_ISREG(mode):
            self.found[place] = real, True
        elif mode and fixed == len(parts):
            self.left.append((pattern, "is no regular file"))
        else:
            self.left.append((pattern, "nothing is there"))

    def _known(self, parts: tuple[str, ...]) -> bool:
        pattern = "/" + "/".join(parts)
        return any(globs.covers(pattern, path) for path in self.found)

    def _walk(self, place: str, real: str, patterns: frozenset[Parts]) -> None:
        """Each folder is read once, whatever number of ways in which a pattern may go on in it."""
        stack = [(place.rstrip("/"), real, patterns)]
        while stack:
            place, real, patterns = stack.pop()
            for entry in self._entries(place, real):
                inner = f"{place}/{entry.name}"
                rests = frozenset(rest for parts in patterns for rest in _after(parts, entry.name))
                if entry.is_dir(follow_symlinks=False):
                    if rests:
                        stack.append((inner, entry.path, frozenset({_ALL}) if () in rests else rests))
                elif () in rests and entry.is_file(follow_symlinks=False):
                    self.found.setdefault(inner, (entry.path, False))

    def _entries(self, place: str, real: str) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(real) as entries:
                for entry in entries:
                    self._seen += 1
                    if self._seen > MAX_SEEN:
                        if self._seen == MAX_SEEN + 1:
                            self.left.append((place, f"more than {MAX_SEEN} names to look through"))
                        return
                    yield entry
        except OSError as error:
            self.left.append((place, error.strerror or "cannot be read"))


def _after(parts: Parts, name: str) -> set[Parts]:
    """What is left of a pattern behind this name, in each way in which it may match."""
    if parts[0] != "**":
        return {parts[1:]} if globs.fits(parts[0], name) else set()
    if len(parts) == 1:
        return {()}
    return {parts} | _after(parts[1:], name)


def gather(patterns: list[str], max_bytes: int, max_files: int, path: Callable[[str], str], add: Add) -> None:
    """Write the files to standard output. `path`: guest path → as this process sees it."""
    search = Search(path)
    for pattern in patterns:
        search.add(pattern)
    left = search.left
    with (
        os.fdopen(os.dup(1), "wb", buffering=65536) as pipe,
        tarfile.open(fileobj=pipe, mode="w|", format=tarfile.GNU_FORMAT) as archive,
    ):
        for place, (real, follow) in sorted(search.found.items()):
            if max_files <= 0:
                left.append((place, "more files than are kept"))
                continue
            try:
                flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
                fd = os.open(real, flags)
            except OSError as error:
                left.append((place, error.strerror or "cannot be read"))
                continue
            try:
                info = os.fstat(fd)
                if not stat.S_ISREG(info.st_mode):
                    left.append((place, "is no regular file"))
                elif info.st_size > max_bytes:
                    left.append((place, f"{info.st_size} bytes are more than there is room for"))
                else:
                    max_bytes -= add(archive, place[1:], fd, max_bytes)
                    max_files -= 1
            finally:
                os.close(fd)
    told = [[place[:MAX_TOLD_CHARS], why] for place, why in left[:MAX_TOLD]]
    os.write(2, json.dumps({"left": told, "more": len(left) - len(told)}).encode())
