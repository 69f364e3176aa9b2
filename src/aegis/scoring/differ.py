"""What differs between two moments, as the lines of a bounded unified diff. What is compared came out of a sandbox."""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from aegis.sandbox.base import Entry
from aegis.scoring.words import plain, shown

MAX_LINES = 40
"""Of a diff in a reason."""
MAX_LINE_CHARS = 160
MAX_COMPARED_LINES = 1000
"""On either side, of what is not the same at the beginning and the end. More would take a hostile file too long."""
CONTEXT = 2


def file_difference(path: str, before: Entry | None, after: Entry | None) -> list[str]:
    """The lines for one path; empty when nothing differs. The first line says what."""
    if before is None and after is None:
        return []
    if before is None or after is None:
        there = after or before
        assert there is not None
        how = "added" if before is None else "deleted"
        body = text_diff(_text(before) or "", _text(after) or "") if _text(there) else []
        return [f"{plain(path)} {how} ({_what(there)})", *body]
    if before.kind != after.kind:
        return [f"{plain(path)} changed from {_what(before)} to {_what(after)}"]
    lines = []
    if (before.digest, before.content if before.kind == "link" else None) != (
        after.digest,
        after.content if after.kind == "link" else None,
    ):
        lines = [f"{plain(path)} changed ({_what(before)} → {_what(after)})"]
        old, new = _text(before), _text(after)
        if old is not None and new is not None and before.kind == "file":
            lines += text_diff(old, new)
    if before.mode != after.mode:
        lines.append(f"{plain(path)} changed its mode from {before.mode:04o} to {after.mode:04o}")
    return lines


def _what(entry: Entry) -> str:
    if entry.kind == "file":
        return f"{entry.size_bytes} bytes"
    if entry.kind == "link":
        return f"a link to {shown((entry.content or b'').decode('utf-8', 'replace'))}"
    return "a folder" if entry.kind == "folder" else "no regular file"


def _text(entry: Entry | None) -> str | None:
    """None for what is no text, or was not kept."""
    if entry is None or entry.content is None or b"\0" in entry.content:
        return None
    try:
        return entry.content.decode("utf-8")
    except UnicodeDecodeError:
        return None


def text_diff(before: str, after: str) -> list[str]:
    """Lines that begin with `@@`, ` `, `-` and `+`, as `diff -u` has them."""
    old, new = before.splitlines(), after.splitlines()
    start = _alike(old, new)
    end = _alike(old[start:][::-1], new[start:][::-1])
    first = max(0, start - CONTEXT)
    last = max(0, end - CONTEXT)
    old, new = old[first : len(old) - last], new[first : len(new) - last]
    if max(len(old), len(new)) > MAX_COMPARED_LINES:
        return [f"@@ -{first + 1},{len(old)} +{first + 1},{len(new)} @@ too much to compare line by line"]
    lines = list(difflib.unified_diff(old, new, n=CONTEXT, lineterm=""))[2:]
    return [_at(line, first) if line.startswith("@@") else line[:1] + plain_line(line[1:]) for line in lines]


def _at(line: str, first: int) -> str:
    """A hunk's header, moved down by the lines that were left out."""

    def moved(part: str) -> str:
        number, comma, rest = part[1:].partition(",")
        return f"{part[0]}{int(number) + first}{comma}{rest}"

    marks, old, new, *_ = line.split()
    return f"{marks} {moved(old)} {moved(new)} {marks}"


def _alike(one: Sequence[str], other: Sequence[str]) -> int:
    return next(
        (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


def plain_line(line: str) -> str:
    """A line of somebody's text with its spaces, cut, and nothing in it that a terminal would obey."""
    cut = line[:MAX_LINE_CHARS] + ("…" if len(line) > MAX_LINE_CHARS else "")
    return "".join(c if c.isprintable() else "\\t" if c == "\t" else f"\\u{ord(c):04x}" for c in cut)


def row_line(row: Sequence[Any]) -> str:
    """A row as one line of JSON; bytes as their digits."""
    return json.dumps(row, ensure_ascii=False, default=lambda value: f"x'{bytes(value).hex()}'")


def row_difference(before: Sequence[str], after: Sequence[str]) -> list[str]:
    """Rows that are only in one of the two, each as often as it is there more often."""
    old, new = Counter(before), Counter(after)
    lines = [
        *(("-", line) for line in (old - new).elements()),
        *(("+", line) for line in (new - old).elements()),
    ]
    return [mark + plain_line(line) for mark, line in lines]


def bounded(lines: Sequence[str], most: int = MAX_LINES) -> Iterator[str]:
    """The first lines, and how many more there are."""
    yield from lines[:most]
    if len(lines) > most:
        yield f"… {len(lines) - most} more lines"
