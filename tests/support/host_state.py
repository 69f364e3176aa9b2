"""What a sandbox could leave behind on the host: processes, open files, files in the folder for temporary ones."""

from __future__ import annotations

import asyncio
import gc
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


def _stat(pid: int) -> tuple[str, int] | None:
    """State and parent; None for a process that is no more."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return fields[0], int(fields[1])


def descendants(root: int) -> list[int]:
    """Processes below `root` that still run, nearest first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        stat = _stat(int(entry.name))
        if stat is not None and stat[0] not in "ZX":
            children.setdefault(stat[1], []).append(int(entry.name))
    found = list(children.get(root, []))
    for pid in found:
        found += children.get(pid, [])
    return found


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def resident_bytes(pid: int | str = "self") -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"process {pid} has no memory")


@dataclass(frozen=True)
class HostState:
    processes: frozenset[int]
    descriptors: int
    files: frozenset[str]


def host_state() -> HostState:
    gc.collect()
    return HostState(
        frozenset(descendants(os.getpid())),
        len(os.listdir("/proc/self/fd")),
        frozenset(os.listdir(tempfile.gettempdir())),
    )


def more_than(before: HostState) -> str:
    """What there is now and wasn't then, for people; empty when nothing is left behind."""
    now = host_state()
    left = [f"process {pid}: {command_line(pid)[:200]}" for pid in now.processes - before.processes]
    left += [f"file {name}" for name in now.files - before.files]
    if now.descriptors > before.descriptors:
        left.append(f"{now.descriptors - before.descriptors} descriptors")
    return "; ".join(left)


async def nothing_left(before: HostState, *, deadline_s: float = 60.0) -> None:
    """Wait until there is no more than before. Raises AssertionError naming what is left."""
    end = time.monotonic() + deadline_s
    while left := more_than(before):
        assert time.monotonic() < end, f"left behind: {left}"
        await asyncio.sleep(0.05)


@contextmanager
def own_temporary_folder(folder: Path) -> Iterator[None]:
    """Let this process make its temporary files there, away from everybody else's."""
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before
