"""What the workload changed since a mark: listings compared, and contents where they are known.

A mark is made in each trial, right before the agent starts, and must cost next to nothing there. So one is made before
a machine is saved (`rest`), contents included; the one in a trial looks only at what is different by then.
"""

from __future__ import annotations

import base64
import json
import os
import stat
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from . import layer

KEPT_FILE_BYTES = 64 * 1024
READ_BYTES = 16 << 20
"""Read for one mark, or one comparison, in all."""
KEPT_BYTES = 4 << 20
"""What the contents of marked files may take in the server's memory."""
MAX_CANDIDATES = 100_000
LIST_BYTES = 4 << 20
"""Of an answer without the contents."""
MAX_PATH = 4096


class State(NamedTuple):
    """A path at one of the two moments."""

    mode: int
    size: int
    written_ns: int
    in_image: bool


class Difference(NamedTuple):
    path: str
    how: str
    kind: str
    before_bytes: int | None
    after_bytes: int | None
    before_mode: int | None
    after_mode: int | None
    before: bytes | None
    after: bytes | None


class Tree:
    """The workload's files as the server sees them. `image` is None where there is no layer below."""

    def __init__(self, top: str, image: str | None) -> None:
        self._names = top, image
        self._top = self._image = -1
        self._marked: layer.Listing | None = None
        self._kept: dict[str, bytes] = {}
        self._kept_bytes = 0
        self.is_marked = False
        """Whether there is a mark that was not made ahead."""

    def _open(self) -> None:
        if self._top < 0:
            self._top = os.open(self._names[0], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            if self._names[1] is not None:
                self._image = os.open(self._names[1], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    @property
    def descriptors(self) -> tuple[int, ...]:
        return tuple(fd for fd in (self._top, self._image) if fd >= 0)

    # -- the mark ------------------------------------------------------------------------------------------------

    def mark(self, *, ahead: bool = False) -> None:
        """Remember what there is. `ahead`: time is no object, so contents are compressed. Raises OSError."""
        self._open()
        old = self._marked
        now = layer.take(self._top, old, layered=self._image >= 0, thorough=ahead)
        left = READ_BYTES
        for path in sorted(_differing(old, now), key=layer.rank):
            dropped = self._kept.pop(path, None)
            self._kept_bytes -= len(dropped or b"")
            entry = now.entry(path)
            if entry is None or left <= 0 or self._kept_bytes >= KEPT_BYTES:
                continue
            _, _, size, mode = layer.ENTRY.unpack(entry)
            if size > KEPT_FILE_BYTES:
                continue
            data = layer.content(self._top, path, mode, KEPT_FILE_BYTES)
            if data is None:
                continue
            left -= len(data)
            kept = b"z" + zlib.compress(data, 1) if ahead else b"r" + data
            if self._kept_bytes + len(kept) <= KEPT_BYTES:
                self._kept[path] = kept
                self._kept_bytes += len(kept)
        self._marked = now
        self.is_marked = self.is_marked or not ahead

    def _kept_content(self, path: str) -> bytes | None:
        kept = self._kept.get(path)
        if kept is None:
            return None
        return zlib.decompress(kept[1:]) if kept[:1] == b"z" else kept[1:]

    # -- the difference ------------------------------------------------------------------------------------------

    def changes(self, *, max_items: int, max_file_bytes: int, max_bytes: int) -> Iterator[bytes]:
        """The answer, one line of JSON for each difference, in the order of the paths; last how many were left out."""
        assert self._marked is not None
        now = layer.take(self._top, self._marked, layered=self._image >= 0, thorough=True)
        comparison = _Comparison(self, self._marked, now)
        found: list[Difference] = []
        more, contents, binary, listed = comparison.overflow, 0, [], 0
        for path in sorted(comparison.candidates, key=layer.rank):
            differences = comparison.compare(path, max_file_bytes if len(found) < max_items else -1)
            for each in differences:
                listed += len(json.dumps(path)) + 100
                if len(found) >= max_items or listed > LIST_BYTES or len(os.fsencode(path)) >= MAX_PATH:
                    more += 1
                    continue
                size = len(each.before or b"") + len(each.after or b"")
                if _is_binary(each.before) or _is_binary(each.after):
                    binary.append((len(found), each))  # what can be read comes first
                    each = each._replace(before=None, after=None)
                elif contents + size > max_bytes:
                    each = each._replace(before=None, after=None)
                else:
                    contents += size
                found.append(each)
        for number, each in binary:
            size = len(each.before or b"") + len(each.after or b"")
            if contents + size <= max_bytes:
                contents += size
                found[number] = each
        found.sort(key=lambda each: (each.path, each.how == "added"))
        for each in found:
            yield _line(each)
        yield json.dumps({"more": more}).encode() + b"\n"

    def _below_in_image(self, path: str) -> Iterator[str]:
        """Every path below a folder of the image."""
        waiting = [path]
        while waiting:
            folder = waiting.pop()
            try:
                fd = layer.opened(self._image, folder, layer.FOLDER_FLAGS)
            except OSError:
                continue
            try:
                with os.scandir(fd) as names:
                    for each in names:
                        yield f"{folder}/{each.name}"
                        if each.is_dir(follow_symlinks=False):
                            waiting.append(f"{folder}/{each.name}")
            finally:
                os.close(fd)

    def content_of(self, path: str, state: State, *, now: bool, max_bytes: int) -> bytes | None:
        """A file's bytes, or where a link leads, at one of the two moments; None when that is not known."""
        if state.size > max_bytes:
            return None
        if state.in_image:
            return layer.content(self._image, path, state.mode, max_bytes)
        if now:
            return layer.content(self._top, path, state.mode, max_bytes)
        return self._kept_content(path)

    def image_state(self, path: str) -> State | None:
        info = layer.looked_up(self._image, path) if self._image >= 0 else None
        return None if info is None else State(info.st_mode, info.st_size, info.st_mtime_ns, True)

    def layer_state(self, path: str) -> State | None:
        info = layer.looked_up(self._top, path)
        if info is None:
            return None
        _, written_ns, size, mode = layer.ENTRY.unpack(layer.packed(info, 0, self._image >= 0))
        return State(mode, size, written_ns, False)

    def hidden(self, path: str) -> Iterable[str]:
        return self._below_in_image(path) if self._image >= 0 else ()


def _differing(old: layer.Listing | None, now: layer.Listing) -> Iterator[str]:
    """Paths whose entries are not the same in both listings."""
    before = old.folders if old is not None else {}
    for path, folder in now.folders.items():
        was = before.get(path)
        if was is folder:
            continue
        start = f"{path}/" if path else ""
        known = was.entries if was is not None else {}
        for name, entry in folder.entries.items():
            if known.get(name) != entry:
                yield start + name
        for name in known.keys() - folder.entries.keys():
            yield start + name
    for path in before.keys() - now.folders.keys():
        for name in before[path].entries:
            yield f"{path}/{name}"


class _Comparison:
    """Of two listings over the same image."""

    def __init__(self, tree: Tree, old: layer.Listing, now: layer.Listing) -> None:
        self._tree = tree
        self._old, self._now = old, now
        self._visible: dict[tuple[bool, str], bool] = {}
        self._left = READ_BYTES
        self.overflow = 0 if now.whole else 1
        self.candidates: set[str] = set()
        for path in _differing(old, now):
            self._add(path)
            self._add_hidden(path)

    def _add(self, path: str) -> None:
        if len(self.candidates) < MAX_CANDIDATES:
            self.candidates.add(path)
        elif path not in self.candidates:
            self.overflow += 1

    def _add_hidden(self, path: str) -> None:
        """What the image has below a folder that is no longer there, or is another one."""
        if not self._sees_folder(False, path) or self._sees_folder(True, path):
            return
        for below in self._tree.hidden(path):
            if self.overflow > MAX_CANDIDATES:
                return
            self._add(below)

    def _sees_folder(self, now: bool, path: str) -> bool:
        """Whether what the image has below a folder could be seen then."""
        if not path:
            return True
        known = self._visible.get((now, path))
        if known is None:
            known = self._visible[now, path] = self._look(now, path)
        return known

    def _look(self, now: bool, path: str) -> bool:
        listing = self._now if now else self._old
        entry = listing.entry(path)
        if entry is not None and not layer.is_folder(entry):
            return False
        folder = listing.folders.get(path)
        if folder is not None and folder.opaque:
            return False
        if not self._sees_folder(now, path.rpartition("/")[0]):
            return False
        info = self._tree.image_state(path)
        return info is not None and stat.S_ISDIR(info.mode)

    def _state(self, now: bool, path: str) -> State | None:
        entry = (self._now if now else self._old).entry(path)
        if entry is not None:
            _, written_ns, size, mode = layer.ENTRY.unpack(entry)
            return None if mode == layer.WHITEOUT else State(mode, size, written_ns, False)
        if now and not self._now.whole:  # it may be there all the same
            state = self._tree.layer_state(path)
            if state is not None:
                return None if state.mode == layer.WHITEOUT else state
        if not self._sees_folder(now, path.rpartition("/")[0]):
            return None
        return self._tree.image_state(path)

    def compare(self, path: str, max_bytes: int) -> list[Difference]:
        """None, one, or two: a thing that became one of another kind was deleted and added. A negative `max_bytes`
        leaves contents unread."""
        before, after = self._state(False, path), self._state(True, path)
        if before is not None and after is not None:
            if stat.S_IFMT(before.mode) == stat.S_IFMT(after.mode):
                return self._changed(path, before, after, max_bytes)
        elif before is None and not self._old.whole and self._is_older(path):
            return []  # it did not fit into the mark
        found = []
        if before is not None:
            data = self._content(path, before, False, max_bytes)
            found.append(_difference(path, "deleted", before, None, data, None))
        if after is not None:
            data = self._content(path, after, True, max_bytes)
            found.append(_difference(path, "added", None, after, None, data))
        return found

    def _is_older(self, path: str) -> bool:
        entry = self._now.entry(path)
        return entry is not None and layer.ENTRY.unpack(entry)[0] < self._old.begun_ns

    def _changed(self, path: str, before: State, after: State, max_bytes: int) -> list[Difference]:
        was, now = None, None
        differs = False
        if stat.S_ISREG(after.mode) or stat.S_ISLNK(after.mode):
            differs = before.size != after.size
            if differs or before.written_ns != after.written_ns or stat.S_ISLNK(after.mode):
                was = self._content(path, before, False, max(max_bytes, KEPT_FILE_BYTES))
                now = self._content(path, after, True, max(max_bytes, KEPT_FILE_BYTES))
                differs = differs or was is None or now is None or was != now
        if not differs and stat.S_IMODE(before.mode) == stat.S_IMODE(after.mode):
            return []
        was = was if differs and before.size <= max_bytes else None
        now = now if differs and after.size <= max_bytes else None
        return [_difference(path, "changed", before, after, was, now)]

    def _content(self, path: str, state: State, now: bool, max_bytes: int) -> bytes | None:
        if self._left <= 0 or max_bytes < 0:
            return None
        data = self._tree.content_of(path, state, now=now, max_bytes=max_bytes)
        self._left -= len(data or b"")
        return data


def _kind(mode: int) -> str:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "folder"
    return "link" if stat.S_ISLNK(mode) else "other"


def _difference(
    path: str, how: str, before: State | None, after: State | None, was: bytes | None, now: bytes | None
) -> Difference:
    shown = before if after is None else after
    assert shown is not None
    kind = _kind(shown.mode)
    sizes = [each.size if each is not None and kind == "file" else None for each in (before, after)]
    modes = [stat.S_IMODE(each.mode) if each is not None else None for each in (before, after)]
    return Difference(path, how, kind, sizes[0], sizes[1], modes[0], modes[1], was, now)


def _is_binary(data: bytes | None) -> bool:
    return data is not None and b"\0" in data[:8192]


def _line(each: Difference) -> bytes:
    def text(data: bytes | None) -> str | None:
        return None if data is None else base64.b64encode(data).decode()

    message: dict[str, Any] = {"path": "/" + each.path, "how": each.how, "kind": each.kind}
    message["bytes"] = [each.before_bytes, each.after_bytes]
    message["mode"] = [each.before_mode, each.after_mode]
    message["content"] = [text(each.before), text(each.after)]
    return json.dumps(message).encode() + b"\n"
