"""A project whose ledger holds runs with snapshots, as `aegis eval run` leaves them behind."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aegis._eval.prepare import LEDGER_FOLDER
from aegis.regression.drift.behaviour import Behaviour
from aegis.regression.snapshot import Facts, Snapshot, to_bytes
from aegis.regression.trials import Trials
from aegis.results import Ledger
from aegis.results.document import build
from support.compared_runs import Rates, key
from support.run_records import CONFIG, result, run_record


class Runs:
    """Adds runs to the ledger of a project."""

    def __init__(self, project: Path) -> None:
        (project / "aegis.toml").touch()
        self.project = project

    def add(
        self,
        run_id: str,
        rates: Rates,
        behaviours: Mapping[str, Sequence[Behaviour]] | None = None,
        *,
        status: str = "complete",
        keep: bool = True,
        content: str = "same",
        config: Mapping[str, Any] | None = None,
        **facts: Any,
    ) -> Snapshot:
        """A run whose every failure has a trace; `keep`: with a snapshot."""
        suite, environment = facts.get("suite", "refunds"), facts.get("environment", "e" * 64)
        settings = CONFIG | {"environment": environment, "git": None} | dict(config or {})
        record = run_record(run_id, suite, config=settings)
        outcomes = {
            name: ["passed"] * passed + ["failed"] * failed for name, (passed, failed) in rates.items()
        }
        plan = [
            (*key(name), number) for name, found in outcomes.items() for number in range(1, len(found) + 1)
        ]
        snapshot = Snapshot(
            Facts(
                **{
                    "run_id": run_id,
                    "suite": suite,
                    "environment": environment,
                    "isolation": "qemu",
                    "accel": "tcg",
                    "started_at": f"2026-11-20T{len(plan):02}:00:00Z",
                    "passed": sum(passed for passed, _ in rates.values()),
                    "planned": len(plan),
                    "version": "0.1.0",
                }
                | facts
            ),
            {key(name): Trials(*counts, content=content) for name, counts in rates.items()},
            {key(name): list(trials) for name, trials in (behaviours or {}).items()},
        )
        with Ledger(self.project / LEDGER_FOLDER) as ledger:
            ledger.create_run(record, plan)
            trace = ledger.blobs.put(json.dumps({"turns": []}).encode())
            for name, found in outcomes.items():
                for number, outcome in enumerate(found, 1):
                    epoch = ledger.begin_attempt(run_id, *key(name), number)
                    reason = "" if outcome == "passed" else "answer: no amount"
                    ledger.finish_attempt(
                        run_id,
                        *key(name),
                        number,
                        epoch,
                        outcome=outcome,
                        result=result(outcome, reason, trace=trace),
                        final=True,
                    )
            digest = ledger.blobs.put(to_bytes(snapshot)) if keep else None
            document = build(record, ledger.trials(run_id), duration_s=3.0) | {"snapshot": digest}
            ledger.finish_run(run_id, status, document if status == "complete" else None)
        return snapshot

    def export(self, name: str, snapshot: Snapshot) -> None:
        (self.project / name).write_bytes(to_bytes(snapshot))
