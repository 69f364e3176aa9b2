"""The ledger as the engine's sink."""

from __future__ import annotations

import json
from typing import Any

from aegis.engine.spec import PlannedTrial, TrialResult
from aegis.results import Ledger


class LedgerSink:
    """Writes the attempts of one run down; traces go into blobs, so that rows stay small."""

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
        if result.trace is not None:
            row["trace"] = self._ledger.blobs.put(
                json.dumps(row["trace"], separators=(",", ":")).encode("ascii")
            )
            row["answer"] = result.trace.answer
            row["turns"] = len(result.trace.turns)
            row["usage"] = {"tool_calls": len(result.trace.tool_calls)}
        return row
