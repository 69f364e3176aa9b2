"""What a culprit left behind: files, rows, processes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from aegis.audit import rows
from aegis.audit.rows import RowChange
from aegis.sandbox.base import Change, Changes

Kind = Literal["file", "process", "service"]
MAX_ITEMS = 200
"""Of one culprit. More are counted, and not looked into."""
_LEFT_OUT = ("/proc/", "/sys/", "/dev/")


@dataclass(frozen=True, slots=True)
class Running:
    """A program that runs in the sandbox."""

    pid: int
    started: int
    """Clock ticks since the machine's boot: with the pid, which process it is."""
    command: str


@dataclass(frozen=True, slots=True)
class Carrier:
    """One thing that a culprit left."""

    kind: Kind
    name: str
    """A path, a command line, or a service."""
    how: str
    """`added`, `changed`, `deleted`, or `left running`."""
    rows: tuple[RowChange, ...] = ()
    """What changed in it, for a database."""
    change: Change | None = None
    """The change itself, of a file."""
    confirmed: bool = False
    """Whether undoing it, and of all things only what is confirmed, gave the victim its usual result back."""


def parse_processes(text: str) -> dict[tuple[int, int], Running]:
    """From the lines `PID START COMMAND` of the listing; what is not such a line is left out."""
    found = {}
    for line in text.splitlines():
        parts = line.split(" ", 2)
        if len(parts) == 3 and parts[0].isdecimal() and parts[1].isdecimal() and parts[2].strip():
            pid, started = int(parts[0]), int(parts[1])
            found[pid, started] = Running(pid, started, parts[2].strip())
    return found


def left_behind(
    changes: Changes,
    before: dict[tuple[int, int], Running],
    after: dict[tuple[int, int], Running],
    services: Mapping[str, str] | None = None,
) -> tuple[Carrier, ...]:
    """Everything that differs, the likely ones first: databases, processes, files, folders, the rest. A folder is news
    only when it came or went, not when something in it did.

    `services`: name → folder. What a running service wrote there is one thing, and never undone: files put back under a
    database would break it, which may look like the usual result.
    """
    folders = {f"{folder}/": name for name, folder in (services or {}).items()}
    files, written = [], {}
    for change in changes.items:
        if change.path.startswith(_LEFT_OUT) or (change.kind == "folder" and change.how == "changed"):
            continue
        service = next((name for folder, name in folders.items() if change.path.startswith(folder)), None)
        if service is None:
            files.append(_of_file(change))
        else:
            written[service] = Carrier("service", service, "changed")
    new = [running for key, running in sorted(after.items()) if key not in before]
    processes = _once(Carrier("process", running.command, "left running") for running in new)
    return tuple(sorted([*written.values(), *files[:MAX_ITEMS], *processes], key=_likely))


def _likely(carrier: Carrier) -> int:
    if carrier.rows:
        return 0
    if carrier.change is None:
        return 1  # a service or a process
    return {"file": 2, "folder": 3}.get(carrier.change.kind, 4)


def _of_file(change: Change) -> Carrier:
    return Carrier("file", change.path, change.how, _rows(change), change)


def _rows(change: Change) -> tuple[RowChange, ...]:
    if not (rows.is_sqlite(change.before) or rows.is_sqlite(change.after)):
        return ()
    before = rows.read_sqlite(change.before or b"")
    after = rows.read_sqlite(change.after or b"")
    return () if before is None or after is None else rows.row_changes(before, after)


def _once(carriers: Iterable[Carrier]) -> list[Carrier]:
    return list({carrier.name: carrier for carrier in carriers}.values())


def can_undo(carrier: Carrier) -> bool:
    """Whether its state of before is known."""
    change = carrier.change
    if change is None:
        return carrier.kind == "process"
    return carrier.how == "added" or (change.kind == "file" and change.before is not None)


def topmost(undo: Sequence[Carrier]) -> tuple[Carrier, ...]:
    """Without what goes with a folder that came and is undone."""
    folders = tuple(
        f"{carrier.name}/"
        for carrier in undo
        if carrier.how == "added" and carrier.change is not None and carrier.change.kind == "folder"
    )
    return tuple(carrier for carrier in undo if not carrier.name.startswith(folders))


def mark_confirmed(carriers: Sequence[Carrier], guilty: Iterable[Carrier]) -> tuple[Carrier, ...]:
    """The guilty ones first, marked."""
    names = {(carrier.kind, carrier.name) for carrier in guilty}
    marked = [replace(carrier, confirmed=(carrier.kind, carrier.name) in names) for carrier in carriers]
    return tuple(sorted(marked, key=lambda carrier: not carrier.confirmed))
