"""Kept machines on disk, beside the ledger: `FOLDER/machines/RUN/TRIAL/ATTEMPT/{end,turn-N}`.

What is in the folder of a machine is its driver's; here are only names, sizes and ages. A machine's folder appears
whole, by rename, from a name that begins with a dot.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

GIB = 1024**3
DEFAULT_MAX_BYTES = 4 * GIB
END = "end"
FOLDER = "machines"
ABANDONED_S = 3600.0
"""A half-made machine of this age belongs to a process that was killed."""
_NAME_BYTES = 200


@dataclass(frozen=True, slots=True)
class KeptMachine:
    """One of them."""

    folder: Path
    run_id: str
    case: str
    variant: str
    number: int
    turn: int | None
    """Before which turn it was kept; None for a trial's end."""
    size_bytes: int
    kept_at: float
    """Seconds since 1970."""

    @property
    def name(self) -> str:
        """For people."""
        case = self.case if self.variant == "baseline" else f"{self.case}[{self.variant}]"
        when = "end" if self.turn is None else f"turn {self.turn}"
        return f"{self.run_id}/{case}/{self.number} ({when})"


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed."""

    machines: tuple[KeptMachine, ...]

    @property
    def freed_bytes(self) -> int:
        return sum(machine.size_bytes for machine in self.machines)


class Machines:
    """All methods block. Safe to use from several threads and processes."""

    def __init__(self, ledger_folder: Path, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self.folder = ledger_folder / FOLDER
        self._max_bytes = max_bytes

    def attempt(self, run_id: str, case: str, variant: str, number: int, epoch: int) -> Path:
        """The folder for an attempt's machines; what older attempts of the trial left is removed. Raises OSError."""
        trial = self._trial(run_id, case, variant, number)
        trial.mkdir(parents=True, exist_ok=True, mode=0o700)
        for older in trial.iterdir():
            if older.name != str(epoch):
                shutil.rmtree(older, ignore_errors=True)
        return trial / str(epoch)

    def drop(self, folder: Path) -> None:
        """Remove an attempt's machines. Raises nothing."""
        shutil.rmtree(folder, ignore_errors=True)
        self._tidy(folder.parent)

    def of_trial(self, run_id: str, case: str, variant: str, number: int) -> list[KeptMachine]:
        """The machines of a trial, checkpoints first, in the order of their turns."""
        found = list(_machines_of(self._trial(run_id, case, variant, number), run_id))
        return sorted(found, key=lambda machine: (machine.turn is None, machine.turn or 0))

    def all(self, run_id: str | None = None) -> list[KeptMachine]:
        """Every machine (of a run), the oldest first."""
        runs = _folders(self.folder) if run_id is None else [self.folder / run_id]
        found = [
            machine
            for run in runs
            for trial in _folders(run)
            for machine in _machines_of(trial, unquote(run.name))
        ]
        return sorted(found, key=lambda machine: (machine.kept_at, str(machine.folder)))

    def make_room(self, newest: Path | None = None, max_bytes: int | None = None) -> Pruned:
        """Remove the oldest machines, but not `newest`, while all together take more than they may. Raises nothing."""
        most = self._max_bytes if max_bytes is None else max_bytes

        def chosen(machines: list[KeptMachine]) -> Iterator[KeptMachine]:
            total = sum(machine.size_bytes for machine in machines)
            for machine in machines:
                if total <= most:
                    return
                if machine.folder != newest:
                    total -= machine.size_bytes
                    yield machine

        return self._remove(chosen)

    def prune(self, run_id: str | None = None) -> Pruned:
        """Remove every machine (of a run). Raises nothing."""
        return self._remove(lambda machines: (m for m in machines if run_id in (None, m.run_id)))

    def _remove(self, choose: Callable[[list[KeptMachine]], Iterator[KeptMachine]]) -> Pruned:
        removed: list[KeptMachine] = []
        with contextlib.suppress(OSError), self._lock():
            for machine in choose(self.all()):
                shutil.rmtree(machine.folder, ignore_errors=True)
                if not machine.folder.exists():
                    removed.append(machine)
                    self._tidy(machine.folder.parent)
            self._sweep()
        return Pruned(tuple(removed))

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """Two processes that make room at once would remove twice as much."""
        if not self.folder.is_dir():
            yield
            return
        with open(self.folder / ".lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _sweep(self) -> None:
        """What killed processes left half-made."""
        for path in self.folder.glob("*/*/*/.*"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > ABANDONED_S:
                    shutil.rmtree(path, ignore_errors=True)

    def _tidy(self, folder: Path) -> None:
        """Remove folders that have become empty."""
        with contextlib.suppress(OSError):
            while folder != self.folder and folder.is_relative_to(self.folder):
                folder.rmdir()
                folder = folder.parent

    def _trial(self, run_id: str, case: str, variant: str, number: int) -> Path:
        name = f"{number},{quote(variant, safe='')},{quote(case, safe='')}"
        if len(name) > _NAME_BYTES:  # most file systems take 255 bytes
            digest = hashlib.sha256(name.encode()).hexdigest()[:16]
            name = f"{name[: _NAME_BYTES - 17]}~{digest}"
        return self.folder / run_id / name


def _machines_of(trial: Path, run_id: str) -> Iterator[KeptMachine]:
    number, _, rest = trial.name.partition(",")
    variant, _, case = rest.partition(",")
    for folder in (machine for attempt in _folders(trial) for machine in _folders(attempt)):
        turn = folder.name.removeprefix("turn-")
        if not number.isdecimal() or (folder.name != END and not turn.isdecimal()):
            continue
        with contextlib.suppress(OSError):
            size = sum(file.stat().st_size for file in folder.iterdir())
            yield KeptMachine(
                folder,
                run_id,
                unquote(case),
                unquote(variant),
                int(number),
                None if folder.name == END else int(turn),
                size,
                folder.stat().st_mtime,
            )


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(Path(item.path) for item in os.scandir(folder) if item.is_dir() and item.name[0] != ".")
    except OSError:
        return []
