"""What an agent changed in its machine, as text: a summary, then differences as git shows them.

Paths and contents are an agent's: nothing in them reaches the terminal raw. Pure.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aegis.report.text import counted, one_line, visible

SIGNS = {"added": "+", "changed": "~", "deleted": "-"}
FOLDED_FROM = 10
"""More changes than this below one folder are one line."""
UNFOLDED = ("", "/workspace")
"""What is right in these is always shown one by one, up to `MAX_LISTED`."""
MAX_LISTED = 60
MAX_DIFF_LINES = 120
MAX_COMPARED_LINES = 2000
"""Longer parts that differ are shown as taken out and put in: finding what they share takes its square."""

Item = Mapping[str, Any]
Styled = tuple[str, str]
"""A line and its kind: `add`, `delete`, `hunk`, `head`, or ""."""


def summary(changes: Mapping[str, Any]) -> str:
    """One line: `3 files changed (+outbox/1.json, ~orders.json, -notes.txt)`. "" when nothing was, or nobody knows."""
    number = changes["added"] + changes["changed"] + changes["deleted"]
    if not number:
        return ""
    first = [one_line(name, 60) for name in changes["first"][:3]]
    left = number + changes["more"] - len(first)
    names = ", ".join([*first, *([f"{left:,} more"] if left else [])])
    return f"{counted(number + changes['more'], 'file')} ({names})"


def heading(changes: Mapping[str, Any]) -> str:
    """How much there is: `3 files: 1 added, 1 changed, 1 deleted`."""
    number = changes["added"] + changes["changed"] + changes["deleted"]
    if not number:
        return one_line(changes["note"]) or "nothing was changed"
    parts = ", ".join(f"{changes[how]:,} {how}" for how in SIGNS if changes[how])
    more = f", and {changes['more']:,} more that were not kept" if changes["more"] else ""
    return f"{counted(number, 'file')}: {parts}{more}"


@dataclass(slots=True)
class _Node:
    """A folder of the summary."""

    items: list[Item] = field(default_factory=list)
    folders: dict[str, _Node] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Line:
    """One file, or a folder with all that was changed in it."""

    path: str
    items: tuple[Item, ...]


def shown_items(items: Iterable[Item]) -> list[Item]:
    """Without the folders that only hold something else that is told."""
    listed = list(items)
    parents = {(each["path"].rpartition("/")[0], each["how"]) for each in listed}
    return [each for each in listed if each["kind"] != "folder" or (each["path"], each["how"]) not in parents]


def render(items: Sequence[Item], *, unfold: bool, diffs: bool, whole: bool = False) -> Iterator[Styled]:
    """The summary and, with `diffs`, what differs in each text that is not folded away; `whole`: however long."""
    told = shown_items(items)
    lines = [_Line(each["path"], (each,)) for each in told] if unfold else list(_folded(told))
    width = min(max((len(_name(line)) for line in lines), default=0), 60)
    for line in lines if unfold else lines[:MAX_LISTED]:
        yield _summary_line(line, width)
    if not unfold and len(lines) > MAX_LISTED:
        yield f"  … {len(lines) - MAX_LISTED:,} more (--all shows them)", ""
    if not diffs:
        return
    shown = [line.items[0] for line in (lines if unfold else lines[:MAX_LISTED]) if _is_single(line)]
    for each in shown:
        found = list(_difference(each))
        if not found:
            continue
        yield "", ""
        yield from found if whole else found[:MAX_DIFF_LINES]
        if not whole and len(found) > MAX_DIFF_LINES:
            path = visible(each["path"])
            yield f"… {len(found) - MAX_DIFF_LINES:,} more lines (--path '{path}' shows them)", ""


def _is_single(line: _Line) -> bool:
    return len(line.items) == 1 and line.path == line.items[0]["path"]


def _folded(items: Sequence[Item]) -> Iterator[_Line]:
    root = _Node()
    for each in items:
        node = root
        for name in each["path"].split("/")[1:-1]:
            node = node.folders.setdefault(name, _Node())
        node.items.append(each)
    yield from sorted(_lines(root, ""), key=lambda line: line.path)


def _lines(top: _Node, start: str) -> list[_Line]:
    """Of a folder and all below it. Without recursion: an agent can nest folders a hundred deep."""
    order: list[tuple[str, _Node]] = []
    waiting = [(start, top)]
    while waiting:
        path, node = waiting.pop()
        order.append((path, node))
        waiting += [(f"{path}/{name}", below) for name, below in node.folders.items()]
    found: dict[str, list[_Line]] = {}
    for path, node in reversed(order):  # what lies deeper first
        lines = [_Line(each["path"], (each,)) for each in node.items]
        for name in node.folders:
            lines += found.pop(f"{path}/{name}")
        if len(lines) > FOLDED_FROM and path not in UNFOLDED:
            lines = [_Line(path, tuple(item for line in lines for item in line.items))]
        found[path] = lines
    return found[start]


def _name(line: _Line) -> str:
    name = visible(line.path)
    return f"{name}/" if not _is_single(line) or line.items[0]["kind"] == "folder" else name


def _summary_line(line: _Line, width: int) -> Styled:
    hows = {each["how"] for each in line.items}
    sign = SIGNS[hows.pop()] if len(hows) == 1 else "~"
    if _is_single(line):
        about = _about(line.items[0])
    else:
        size = sum(each["bytes"][1] if each["bytes"][1] is not None else 0 for each in line.items)
        told = [(how, sum(each["how"] == how for each in line.items)) for how in SIGNS]
        parts = ", ".join(f"{number:,} {how}" for how, number in told if number)
        mixed = f" ({parts})" if "," in parts else ""
        about = f"{counted(len(line.items), 'file')}{mixed}, {_size(size)}"
    style = {"+": "add", "-": "delete"}.get(sign, "")
    return f"  {sign} {_name(line):<{width}}  {about}".rstrip(), style


def _about(each: Item) -> str:
    before, after = each["bytes"]
    modes = each["mode"]
    parts = []
    if each["kind"] == "file":
        sizes = [_size(size) for size in (before, after) if size is not None]
        parts.append(sizes[0] if len(set(sizes)) == 1 else " → ".join(sizes))
    elif each["kind"] != "folder":
        parts.append({"link": "link", "other": "no regular file"}[each["kind"]])
    if None not in modes and modes[0] != modes[1]:
        parts.append(f"mode {modes[0]:o} → {modes[1]:o}")
    if each["binary"]:
        parts.append("binary")
    return ", ".join(parts)


def _size(size: int) -> str:
    if size < 1024:
        return counted(size, "byte")
    for unit, factor in (("KiB", 1 << 10), ("MiB", 1 << 20)):
        if size < factor * 1000:
            return f"{size / factor:.1f} {unit}"
    return f"{size / (1 << 30):.1f} GiB"


def _difference(each: Item) -> Iterator[Styled]:
    """Of one file or link; nothing where there is nothing to compare."""
    before, after = each["text"]
    path = visible(each["path"])
    if each["kind"] == "folder" or (before is None and after is None):
        return
    if each["how"] == "changed" and (before is None or after is None):
        return
    yield (f"--- a{path}" if before is not None else "--- /dev/null"), "head"
    yield (f"+++ b{path}" if after is not None else "+++ /dev/null"), "head"
    yield from _hunks(_split(before or ""), _split(after or ""))


def _split(text: str) -> list[str]:
    """Lines with their ends: where they differ only in those, that shows."""
    lines = text.split("\n")
    ends = [f"{line}\n" for line in lines[:-1]]
    return [*ends, lines[-1]] if lines[-1] else ends


def _hunks(before: list[str], after: list[str]) -> Iterator[Styled]:
    if max(len(before), len(after)) > MAX_COMPARED_LINES:
        yield from _coarse(before, after)
        return
    for number, line in enumerate(difflib.unified_diff(before, after, n=3)):
        if number < 2:
            continue  # names of files, which are shown already
        yield from _marked(line)


def _coarse(before: list[str], after: list[str]) -> Iterator[Styled]:
    """What both begin and end with is left out; the rest is gone, and new."""
    start = 0
    while start < min(len(before), len(after)) and before[start] == after[start]:
        start += 1
    end = 0
    while end < min(len(before), len(after)) - start and before[-1 - end] == after[-1 - end]:
        end += 1
    old, new = before[start : len(before) - end], after[start : len(after) - end]
    if len(old) <= MAX_COMPARED_LINES and len(new) <= MAX_COMPARED_LINES:
        shown = max(start - 3, 0)
        tail = min(end, 3)
        old, new = before[shown : len(before) - end + tail], after[shown : len(after) - end + tail]
        for number, line in enumerate(difflib.unified_diff(old, new, n=3)):
            if number < 2:
                continue
            yield from _marked(_moved(line, shown) if line.startswith("@@") else line)
        return
    yield f"@@ -{start + 1},{len(old)} +{start + 1},{len(new)} @@", "hunk"
    for line in old:
        yield from _marked(f"-{line}")
    for line in new:
        yield from _marked(f"+{line}")


def _moved(head: str, by: int) -> str:
    """A hunk's head of a part that began further down."""
    _, old, new, _ = head.split(" ", 3)
    parts = []
    for each in (old, new):
        first, comma, count = each[1:].partition(",")
        parts.append(f"{each[0]}{int(first) + by}{comma}{count}")
    return f"@@ {parts[0]} {parts[1]} @@\n"


def _marked(line: str) -> Iterator[Styled]:
    kind = {"+": "add", "-": "delete", "@": "hunk"}.get(line[:1], "")
    text = line[:-1] if line.endswith("\n") else line
    yield "\t".join(visible(part) for part in text.split("\t")), kind
    if not line.endswith("\n"):
        yield "\\ No newline at end of file", ""
