"""What a folder tree holds, without its contents: taken twice, it tells what lies between.

In a machine the tree is the overlay's upper layer: it holds what was written since the image, a character device 0/0
for each name of the image that is gone, and a mark on folders that hide the image's own. On a plain host it is the
trial's folder. Programs of the workload may change it meanwhile: no link is followed, so that nothing outside is read.
"""

from __future__ import annotations

import os
import stat
import struct
import time

MAX_DEPTH = 128
"""Folders inside one another that are looked at; programs can nest them without end."""
MAX_ENTRIES = 40_000
"""Of one listing: some 250 bytes of memory each."""
RACY_NS = 20_000_000
"""The kernel's coarse clock ticks every 1–10 ms: what was changed right before it was looked at may be changed again
without showing."""
OPAQUE = "trusted.overlay.opaque"
FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

ENTRY = struct.Struct("<qqQI")
"""Times of the last change and of the last writing (ns), size, mode. As bytes it takes a third of the memory."""
WHITEOUT = stat.S_IFCHR
"""Mode of a name of the image that is gone, as it is kept here; no other device gets it."""

PROGRAMS = frozenset(("site-packages", "dist-packages", "node_modules", "__pycache__"))
QUIET = ("proc/", "tmp/", "run/", "var/tmp/", "var/cache/", "var/log/", "var/lib/", "usr/")


def is_program(folder: str) -> bool:
    """Whether what lies in it is installed, not worked with: thousands of files that nobody rewrites in place."""
    return folder.startswith("usr/") or not PROGRAMS.isdisjoint(folder.split("/"))


def rank(path: str) -> tuple[bool, str]:
    """What to take first where not all can be taken."""
    return f"{path}/".startswith(QUIET) or is_program(path), path


class Folder:
    __slots__ = ("entries", "opaque")

    def __init__(self, entries: dict[str, bytes], opaque: bool) -> None:
        self.entries = entries
        self.opaque = opaque


class Listing:
    """Folders by their path (`a/b`, "" for the top), each with its entries by name."""

    def __init__(self) -> None:
        self.folders: dict[str, Folder] = {}
        self.whole = True
        """False when there was more than could be listed."""
        self.count = 0
        self.begun_ns = time.time_ns()

    def entry(self, path: str) -> bytes | None:
        folder, _, name = path.rpartition("/")
        holder = self.folders.get(folder)
        return holder.entries.get(name) if holder is not None else None


def take(top: int, old: Listing | None, *, layered: bool, thorough: bool) -> Listing:
    """List what is below the open folder `top`. What has not changed since `old` shares its memory.

    `layered`: it is an overlay's layer. Without `thorough`, files among installed programs are taken from `old` where
    nothing was added to their folder or taken from it. Raises OSError only for the top itself.
    """
    found = Listing()
    fd = os.open(".", FOLDER_FLAGS, dir_fd=top)
    waiting = [(fd, "", iter(_read(fd, "", found, old, layered, thorough)))]
    while waiting:
        fd, path, inner = waiting[-1]
        name = next(inner, None)
        if name is None:
            os.close(fd)
            waiting.pop()
            continue
        below = f"{path}/{name}" if path else name
        if len(waiting) >= MAX_DEPTH or found.count >= MAX_ENTRIES:
            found.whole = False
            continue
        try:
            below_fd = os.open(name, FOLDER_FLAGS, dir_fd=fd)
        except OSError:  # gone meanwhile, or not ours to read
            continue
        try:
            folders = _read(below_fd, below, found, old, layered, thorough)
        except OSError:
            os.close(below_fd)
            continue
        waiting.append((below_fd, below, iter(folders)))
    return found


def _read(
    fd: int, path: str, found: Listing, old: Listing | None, layered: bool, thorough: bool
) -> list[str]:
    """Add one folder to the listing; the names of those in it."""
    before = old.folders.get(path) if old is not None else None
    if not thorough and before is not None and old is not None and is_program(path):
        known = old.entry(path)
        if known is not None and packed(os.fstat(fd), 0) == known:
            found.folders[path] = before
            found.count += len(before.entries)
            return [name for name, entry in before.entries.items() if is_folder(entry)]
    entries: dict[str, bytes] = {}
    folders = []
    with os.scandir(fd) as names:
        now_ns = time.time_ns()
        for each in names:
            if found.count >= MAX_ENTRIES:
                found.whole = False
                break
            try:
                info = each.stat(follow_symlinks=False)
            except OSError:
                continue
            found.count += 1
            entries[each.name] = packed(info, now_ns, layered)
            if stat.S_ISDIR(info.st_mode):
                folders.append(each.name)
    opaque = layered and _is_opaque(fd)
    if before is not None and before.entries == entries and before.opaque == opaque:
        found.folders[path] = before
    else:
        found.folders[path] = Folder(entries, opaque)
    return folders


def packed(info: os.stat_result, now_ns: int, layered: bool = False) -> bytes:
    """An entry. One that was changed at `now_ns`, this very moment, has no time of change: it will never look equal."""
    mode = info.st_mode
    if stat.S_ISCHR(mode):
        mode = WHITEOUT if layered and info.st_rdev == 0 else mode | 1
    changed_ns = info.st_ctime_ns
    if abs(now_ns - changed_ns) < RACY_NS:
        changed_ns = 0
    return ENTRY.pack(changed_ns, info.st_mtime_ns, info.st_size, mode)


def _is_opaque(fd: int) -> bool:
    try:
        return os.getxattr(fd, OPAQUE) == b"y"
    except OSError:
        return False


def mode_of(entry: bytes) -> int:
    return int(ENTRY.unpack(entry)[3])


def is_folder(entry: bytes) -> bool:
    return stat.S_ISDIR(mode_of(entry))


def opened(top: int, path: str, flags: int = FILE_FLAGS) -> int:
    """A descriptor of what is at `path` below the folder `top`, with no link followed on the way. Raises OSError."""
    *folders, name = path.split("/")
    fd = top
    try:
        for each in folders:
            following = os.open(each, FOLDER_FLAGS, dir_fd=fd)
            if fd != top:
                os.close(fd)
            fd = following
        return os.open(name, flags, dir_fd=fd)
    finally:
        if fd != top:
            os.close(fd)


def looked_up(top: int, path: str) -> os.stat_result | None:
    """What is at `path` below the folder `top`; None for nothing. A link on the way leads nowhere."""
    folder, _, name = path.rpartition("/")
    try:
        fd = opened(top, folder, FOLDER_FLAGS) if folder else os.dup(top)
    except (OSError, ValueError):
        return None
    try:
        return os.stat(name, dir_fd=fd, follow_symlinks=False)
    except (OSError, ValueError):
        return None
    finally:
        os.close(fd)


def content(top: int, path: str, mode: int, max_bytes: int) -> bytes | None:
    """The bytes of a regular file, or where a link leads; None for anything else, for what is gone, and for more than
    `max_bytes`."""
    try:
        if stat.S_ISLNK(mode):
            return _target(top, path)
        if not stat.S_ISREG(mode):
            return None
        fd = opened(top, path)
    except (OSError, ValueError):
        return None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        data = b""
        while len(data) <= max_bytes:
            chunk = os.read(fd, min(65536, max_bytes + 1 - len(data)))
            if not chunk:
                return data
            data += chunk
        return None
    except OSError:
        return None
    finally:
        os.close(fd)


def _target(top: int, path: str) -> bytes:
    folder, _, name = path.rpartition("/")
    fd = opened(top, folder, FOLDER_FLAGS) if folder else os.dup(top)
    try:
        return os.fsencode(os.readlink(name, dir_fd=fd))
    finally:
        os.close(fd)
