"""Records for tests, with every field filled in."""

from __future__ import annotations

from typing import Any

from aegis.results.records import RunRecord, TrialRecord

RUN_ID = "20261123-101500-ab12"

CONFIG: dict[str, Any] = {
    "fail_under": 95,
    "isolation": {"driver": "qemu", "accel": "tcg", "security_boundary": False, "version": "QEMU 7.2"},
    "git": {"commit": "0" * 40, "branch": "main", "dirty": True, "prefix": ""},
    "fingerprint": "f" * 64,
    "seed": 7,
    "started_at": "2026-11-23T10:15:00Z",
}


def run_record(run_id: str = RUN_ID, suite: str = "production-v2", **changes: Any) -> RunRecord:
    fields: dict[str, Any] = {
        "run_id": run_id,
        "suite": suite,
        "status": "running",
        "created_at": "2026-11-23T10:15:00Z",
        "config": CONFIG,
    }
    return RunRecord(**(fields | changes))


def result(outcome: str = "passed", reason: str = "", **changes: Any) -> dict[str, Any]:
    """A trial's result as the ledger keeps it."""
    fields: dict[str, Any] = {
        "outcome": outcome,
        "reason": reason,
        "scores": [
            {
                "scorer": "answer",
                "passed": outcome == "passed",
                "value": 1.0,
                "reason": reason or "contains 'refund'",
            }
        ],
        "answer": "Your refund is on its way.",
        "turns": 1,
        "duration_s": 1.5,
        "sandbox": {"driver": "qemu", "start_ms": 210.5, "restored": True, "memory_mib": 256, "pooled": True},
        "usage": {"tool_calls": 2},
        "trace": "a" * 64,
    }
    return fields | changes


def trial_record(
    case: str = "refund",
    number: int = 1,
    outcome: str | None = "passed",
    reason: str = "",
    variant: str = "baseline",
    **changes: Any,
) -> TrialRecord:
    return TrialRecord(
        run_id=RUN_ID,
        case=case,
        variant=variant,
        number=number,
        epoch=1,
        outcome=outcome,
        result=None if outcome is None else result(outcome, reason, **changes),
        attempts=1 if outcome else 0,
    )
