"""Finding byte strings in a stream whose pieces may be cut anywhere."""

from __future__ import annotations

import re
from collections.abc import Iterable


class Needles:
    """A fixed set of byte strings to look for."""

    def __init__(self, needles: Iterable[bytes]) -> None:
        # Longest first: where one is the beginning of another, the longer one is the match.
        self.all = tuple(sorted({item for item in needles if item}, key=lambda item: (-len(item), item)))
        self.longest = len(self.all[0]) if self.all else 0
        self._shortest = len(self.all[-1]) if self.all else 0
        firsts = b"".join(re.escape(needle[:1]) for needle in self.all)
        self._first = re.compile(b"[" + firsts + b"]" if self.all else rb"(?!)")
        self._by_first: dict[int, list[bytes]] = {}
        for needle in self.all:
            self._by_first.setdefault(needle[0], []).append(needle)

    def __bool__(self) -> bool:
        return bool(self.all)

    def find(self, data: bytes, start: int = 0) -> tuple[int, bytes] | None:
        """Position of the leftmost match, and what matched."""
        best: tuple[int, bytes] | None = None
        end = len(data)
        if end - start < self._shortest:
            return None
        for needle in self.all:
            at = data.find(needle, start, end)
            if at >= 0 and (best is None or at < best[0]):
                best = (at, needle)
                # Later needles only win when they begin before this one.
                end = min(len(data), at + self.longest)
        return best

    def open_suffix(self, data: bytes) -> int:
        """Length of the longest end of `data` with which a needle begins (a whole needle is not open)."""
        for begun in self._first.finditer(data, max(0, len(data) - self.longest + 1)):
            rest = data[begun.start() :]
            for needle in self._by_first[rest[0]]:
                if len(needle) > len(rest) and needle.startswith(rest):
                    return len(rest)
        return 0


class StreamMatcher:
    """Passes a stream on, but never any byte of something that may yet become a match.

    What ends in no beginning of a needle is passed at once, so an event stream is not delayed.
    """

    def __init__(self, needles: Needles) -> None:
        self._needles = needles
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        """What may pass, and the needle found right after it; None when there is none yet. After a match, feed b""
        to go on behind it."""
        if not self._needles:
            return data, None
        data = self._held + data if self._held else data
        if found := self._needles.find(data):
            at, needle = found
            self._held = data[at + len(needle) :]
            return data[:at], needle
        keep = self._needles.open_suffix(data)
        self._held = data[len(data) - keep :] if keep else b""
        return (data[: len(data) - keep] if keep else data), None

    def flush(self) -> bytes:
        """What was held back and can no longer become a match."""
        held, self._held = self._held, b""
        return held


class StreamReplacer:
    """Replaces each needle by its counterpart, across piece boundaries."""

    def __init__(self, needles: Needles, counterparts: dict[bytes, bytes]) -> None:
        self._matcher = StreamMatcher(needles)
        self._counterparts = counterparts
        self.hits = 0

    def feed(self, data: bytes) -> bytes:
        passed, needle = self._matcher.feed(data)
        if needle is None:
            return passed
        out = [passed]
        while needle is not None:
            self.hits += 1
            out.append(self._counterparts[needle])
            passed, needle = self._matcher.feed(b"")
            out.append(passed)
        return b"".join(out)

    def flush(self) -> bytes:
        return self._matcher.flush()


class PromptReplacer:
    """Replaces like `StreamReplacer`, counterparts being of equal length, but never makes a conversation wait for a few
    bytes: the first `free` bytes of a needle may pass before it is known to be one. The rest of it is replaced."""

    def __init__(self, needles: Needles, counterparts: dict[bytes, bytes], *, free: int) -> None:
        self._needles = needles
        self._counterparts = counterparts
        self._free = free
        self._open = b""
        self._passed = 0

    def feed(self, data: bytes) -> bytes:
        data, passed = self._open + data, self._passed
        out, end = bytearray(data), 0
        while found := self._needles.find(data, end):
            at, needle = found
            end = at + len(needle)
            out[at:end] = self._counterparts[needle]
        keep = self._needles.open_suffix(data[end:])
        self._open = data[len(data) - keep :] if keep else b""
        held = keep if keep > self._free else 0
        self._passed = max(0, keep - held)
        if held and passed > len(data) - keep:
            # Part of what is open was passed before it grew.
            self._passed = passed - (len(data) - keep)
            return b""
        return bytes(out[passed : len(out) - held])

    def flush(self) -> bytes:
        """What was held back and can no longer become a match."""
        rest = self._open[self._passed :]
        self._open, self._passed = b"", 0
        return rest


class Watcher:
    """Looks for needles in a stream and holds nothing back."""

    def __init__(self, needles: Needles) -> None:
        self._needles = needles
        self._tail = b""

    def found(self, data: bytes) -> bytes | None:
        """The needle that ends in this piece."""
        if not self._needles:
            return None
        seen = self._tail + data
        self._tail = seen[-(self._needles.longest - 1) :]
        found = self._needles.find(seen)
        return found[1] if found else None


def replace_all(data: bytes, needles: Needles, counterparts: dict[bytes, bytes]) -> bytes:
    if needles.find(data) is None:
        return data
    replacer = StreamReplacer(needles, counterparts)
    return replacer.feed(data) + replacer.flush()
