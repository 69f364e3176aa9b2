"""Answers for a run from what an earlier one has recorded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from aegis.engine.network import label
from aegis.engine.spec import PlannedTrial
from aegis.errors import UsageError
from aegis.gateway import Recording
from aegis.results import Ledger, RunRecord
from aegis.results import document as documents
from aegis.trace import Exchange, Trace

_SHOWN = 3


def find_run(ledger: Ledger, written: str, suite: str) -> RunRecord:
    """The run to answer from. Raises `UsageError` when there is none, or it is another suite's."""
    record = ledger.run(written)
    if record.suite != suite:
        raise UsageError(
            f"run {record.run_id} is one of suite {record.suite}: it cannot answer for suite {suite}",
            fix=f"aegis eval list --suite {suite} lists its runs",
        )
    return record


class Recorded:
    """What the trials of one run have recorded, by the label of the session that asks. Each is read when it is asked
    for."""

    def __init__(self, ledger: Ledger, run_id: str) -> None:
        record = ledger.run(run_id)
        document = record.document or documents.build(record, ledger.trials(record.run_id))
        self._run_id = record.run_id
        self._ledger = ledger
        self._trials: dict[str, tuple[PlannedTrial, bool]] = {}
        for entry in (*document["trials"], *document.get("confirmations", ())):
            trial = PlannedTrial(entry["case"], entry["variant"], entry["number"])
            self._trials[label(trial)] = trial, entry["trace"] is not None

    def check(self, plan: Sequence[PlannedTrial]) -> None:
        """Raises `UsageError` that names the trials which have nothing to be answered from."""
        lacking = [trial for trial in plan if not self._trials.get(label(trial), (trial, False))[1]]
        if not lacking:
            return
        names = ", ".join(map(str, lacking[:_SHOWN])) + (", …" if len(lacking) > _SHOWN else "")
        known = any(label(trial) in self._trials for trial in lacking)
        why = "its agent did not run there" if known else "it was not a part of it"
        raise UsageError(
            f"run {self._run_id} has no recording of {names}: {why}",
            fix="replay the trials that it has: -k EXPR selects cases, --trials N how many of each",
        )

    def __call__(self, name: str) -> Recording | None:
        trial, recorded = self._trials.get(name, (None, False))
        if trial is None or not recorded:
            return None
        attempts = self._ledger.attempts(self._run_id, *trial)
        result = next((item.result for item in attempts if item.final), None) or {}
        setup = [Exchange.from_json(item) for item in self._load(result.get("setup")) or ()]
        trace = self._load(result.get("trace"))
        exchanges = () if trace is None else Trace.from_json(trace).exchanges
        return Recording((*setup, *exchanges), self._ledger.blobs.get)

    def _load(self, digest: str | None) -> Any:
        return None if digest is None else json.loads(self._ledger.blobs.get(digest))
