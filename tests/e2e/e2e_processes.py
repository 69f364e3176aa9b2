"""Which processes came from which, read from /proc, and which of them are still alive."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple


class Pid(NamedTuple):
    """A process, told apart from a later one with the same number by its start time."""

    number: int
    started: int


def _stat(number: int) -> tuple[str, int, int] | None:
    """State, parent and start time (clock ticks since boot) of a process; None when there is none."""
    try:
        text = Path(f"/proc/{number}/stat").read_text()
    except OSError:
        return None
    # The second field is the name in brackets, which may itself hold spaces and brackets.
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[1]), int(fields[19])


def _children() -> dict[int, list[int]]:
    tree: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        found = _stat(int(entry.name))
        if found is not None:
            tree.setdefault(found[1], []).append(int(entry.name))
    return tree


def descendants(root: int) -> set[Pid]:
    """Every process that came from `root`, itself not included."""
    tree = _children()

    def below(number: int) -> Iterator[int]:
        for child in tree.get(number, []):
            yield child
            yield from below(child)

    found = ((number, _stat(number)) for number in below(root))
    return {Pid(number, stat[2]) for number, stat in found if stat is not None}


def alive(processes: Iterable[Pid]) -> set[Pid]:
    """Those that still run; a zombie is dead."""
    stats = ((pid, _stat(pid.number)) for pid in processes)
    return {pid for pid, stat in stats if stat is not None and stat[2] == pid.started and stat[0] not in "ZX"}


def command_line(pid: Pid) -> str:
    try:
        return Path(f"/proc/{pid.number}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def wait_until(condition: Callable[[], bool], what: str, *, deadline_s: float) -> None:
    """Poll until the condition holds. Raises AssertionError naming `what` when the deadline passes first."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"still waiting after {deadline_s:.0f} s: {what}"
        time.sleep(0.1)
