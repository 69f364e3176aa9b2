"""From `RUN/CASE/NUMBER` to a machine of that trial that was kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aegis._eval.prepare import LEDGER_FOLDER
from aegis.errors import UsageError
from aegis.results import Ledger, RunRecord
from aegis.results import document as documents
from aegis.results.machines import KeptMachine, Machines
from aegis.results.show import find_trial, split_trial
from aegis.sandbox.base import Driver
from aegis.sandbox.select import open_driver
from aegis.suite import find_project


@dataclass(frozen=True, slots=True)
class FoundTrial:
    """One trial of a run, and what was kept of it."""

    root: Path
    """The project's folder."""
    ledger: Ledger
    record: RunRecord
    entry: dict[str, Any]
    """Of the run document."""
    machines: tuple[KeptMachine, ...]
    """Those that are still there."""

    @property
    def name(self) -> str:
        """`RUN/CASE/NUMBER`, with the run's whole id."""
        return f"{self.record.run_id}/{self.entry['case']}/{self.entry['number']}"

    def machine(self, turn: int | None) -> KeptMachine:
        """The one before this turn; None: as it was at the trial's end. Raises `UsageError` that says why there is
        none."""
        for machine in self.machines:
            if machine.turn == turn:
                return machine
        raise self._none_end() if turn is None else self._none_before(turn)

    def _none_end(self) -> UsageError:
        told = self.entry.get("kept") or {}
        if told.get("end"):
            return self._removed("the machine of trial")
        turns = [str(machine.turn) for machine in self.machines]
        if turns:
            return UsageError(
                f"of trial {self.name} only checkpoints are kept, before turns {', '.join(turns)}",
                fix=f"--turn {turns[-1]}, or run it again with --keep failed",
            )
        why = told.get("problem")
        if why is None and self.entry["outcome"] == "passed":
            why = "it passed, and --keep all was not asked for"
        return UsageError(
            f"no machine of trial {self.name} is kept: {why or 'the run was started without --keep'}",
            fix=f"aegis eval run --suite {self.record.suite} --keep {self._keep()}",
        )

    def _none_before(self, turn: int) -> UsageError:
        told = self.entry.get("kept") or {}
        if turn in told.get("checkpoints", ()):
            return self._removed(f"the checkpoint before turn {turn} of trial")
        turns = [str(machine.turn) for machine in self.machines if machine.turn is not None]
        if turns:
            return UsageError(
                f"trial {self.name} has no checkpoint before turn {turn}; it has: {', '.join(turns)}",
                fix=f"--turn {turns[-1]}",
            )
        why = told.get("problem")
        if why is None and self.entry["outcome"] == "passed":
            why = "it passed, and --keep all was not asked for"
        return UsageError(
            f"trial {self.name} has no checkpoints: {why or 'the run was started without --checkpoints'}",
            fix=f"aegis eval run --suite {self.record.suite} --keep {self._keep()} --checkpoints",
        )

    def _keep(self) -> str:
        return "all" if self.entry["outcome"] == "passed" else "failed"

    def _removed(self, what: str) -> UsageError:
        return UsageError(
            f"{what} {self.name} was kept, and has been removed since: to make room (--keep-max), or by aegis trial "
            "prune",
            fix=f"aegis eval run --suite {self.record.suite} --keep {self._keep()}, with a larger --keep-max",
        )

    def driver(self) -> Driver:
        """One that makes machines as the run's did."""
        requested = self.record.config["requested"]
        return open_driver("vm", base_dir=self.root, vmm=requested["vmm"], jobs=1)


@contextmanager
def open_trial(
    written: str, *, variant: str | None = None, project: str | Path | None = None
) -> Iterator[FoundTrial]:
    """Raises `UsageError` when there is no such trial."""
    run, case = split_trial(written)
    root = find_project(Path(project or ".")).root
    folder = root / LEDGER_FOLDER
    if not (folder / "ledger.db").exists():
        raise UsageError(f"there are no runs in {folder}", fix="aegis eval run --suite NAME")
    with Ledger(folder) as ledger:
        record = ledger.run(run)
        document = record.document or documents.build(record, ledger.trials(record.run_id))
        entry = find_trial(document, case, variant)
        key = record.run_id, entry["case"], entry["variant"], entry["number"]
        yield FoundTrial(root, ledger, record, entry, tuple(Machines(folder).of_trial(*key)))
