"""The ledger as the engine's sink."""

from __future__ import annotations

import json
from typing import Any

from aegis.engine.kept import Collected
from aegis.engine.spec import PlannedTrial, TrialResult
from aegis.regression.drift import observe
from aegis.results import Ledger
from aegis.suite.clockkeys import clock_document

_JUDGED = frozenset({"passed", "failed", "timeout"})


class LedgerSink:
    """Writes the attempts of one run down; traces go into blobs, so that rows stay small. What later runs are compared
    with stays in the row: no trace has to be read again for it."""

    def __init__(self, ledger: Ledger, run_id: str) -> None:
        self._ledger = ledger
        self._run_id = run_id

    def begin_attempt(self, trial: PlannedTrial) -> int:
        return self._ledger.begin_attempt(self._run_id, *trial)

    def finish_attempt(self, result: TrialResult, *, final: bool) -> bool:
        return self._ledger.finish_attempt(
            self._run_id,
            result.case,
            result.variant,
            result.number,
            result.epoch,
            outcome=result.outcome,
            result=self._row(result),
            final=final,
        )

    def _row(self, result: TrialResult) -> dict[str, Any]:
        row = result.to_json()
        row["clock"] = (
            None if result.clock is None else {"at": None, "zone": None} | clock_document(result.clock)
        )
        row |= (result.collected or Collected()).row()
        row["setup"] = self._blob(row["setup"]) if result.setup else None
        if result.changes is not None:
            told = dict(result.changes)
            items = told.pop("items")
            row["changes"] = told | {"blob": self._blob({"items": items}) if items else None}
        if result.trace is not None:
            if result.outcome in _JUDGED:
                row["behaviour"] = observe.to_json(observe.observe(result.trace, result.scores))
            row["trace"] = self._blob(row["trace"])
            row["answer"] = result.trace.answer
            row["turns"] = len(result.trace.turns)
            row["exchanges"] = len(result.trace.exchanges)
            row["faults"] = [fault.document() for fault in result.trace.faults]
            usage = result.trace.usage
            row["usage"] = {"tool_calls": len(result.trace.tool_calls)} if usage is None else usage.document()
            row["prices"] = None if usage is None else usage.prices
        return row

    def _blob(self, value: Any) -> str:
        return self._ledger.blobs.put(json.dumps(value, separators=(",", ":")).encode("ascii"))
