"""Documents and records as rows for tables. Pure; texts come as they are, whoever prints them makes them
safe."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aegis.errors import UsageError
from aegis.results.records import RunRecord

BASELINE_VARIANT = "baseline"


@dataclass(frozen=True, slots=True)
class CaseRow:
    """The trials of one case and variant."""

    case: str
    variant: str
    passed: int
    trials: int
    why: str
    """The first distinct reason of those that did not pass, with `+2 more` when there are others; "" if all
    passed."""
    start_ms: float | None
    """Median of the sandboxes' start times in milliseconds; None when none started."""

    @property
    def label(self) -> str:
        return self.case if self.variant == BASELINE_VARIANT else f"{self.case} ({self.variant})"


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run of a list."""

    run_id: str
    suite: str
    state: str
    """The verdict of a complete run, else `running` or `interrupted`."""
    passed: int | None
    planned: int | None
    pass_rate: float | None
    started_at: str
    duration_s: float | None


def case_rows(document: Mapping[str, Any]) -> list[CaseRow]:
    """One row for each (case, variant), in the order of their first trials."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for trial in document["trials"]:
        groups.setdefault((trial["case"], trial["variant"]), []).append(trial)
    return [_case_row(case, variant, trials) for (case, variant), trials in groups.items()]


def run_row(run: RunRecord, counts: Mapping[str, int] | None = None) -> RunRow:
    """A run with or without its document's trials (`Ledger.summaries`). `counts` (`Ledger.counts`) fills in
    for a document that isn't there yet."""
    document = run.document or {}
    tally = document.get("counts") or counts or {}
    return RunRow(
        run_id=run.run_id,
        suite=run.suite,
        state=document.get("verdict", run.status) if run.status == "complete" else run.status,
        passed=tally.get("passed"),
        planned=tally.get("planned"),
        pass_rate=document.get("pass_rate"),
        started_at=document.get("started_at", run.created_at),
        duration_s=document.get("duration_s"),
    )


def _case_row(case: str, variant: str, trials: list[Mapping[str, Any]]) -> CaseRow:
    starts = [trial["sandbox"]["start_ms"] for trial in trials if trial["sandbox"]]
    return CaseRow(
        case=case,
        variant=variant,
        passed=sum(trial["outcome"] == "passed" for trial in trials),
        trials=len(trials),
        why=_why(trial for trial in trials if trial["outcome"] != "passed"),
        start_ms=statistics.median(starts) if starts else None,
    )


def _why(trials: Iterable[Mapping[str, Any]]) -> str:
    reasons = list(dict.fromkeys(reason(trial) for trial in trials))
    if not reasons:
        return ""
    return reasons[0] + (f" (+{len(reasons) - 1} more)" if len(reasons) > 1 else "")


def reason(trial: Mapping[str, Any]) -> str:
    """Why a trial did not pass. Outcomes other than `failed` are named: they are not the agent's wrong
    answer."""
    text: str = trial["reason"]
    if trial["outcome"] == "failed":
        return text or "failed"
    return f"{trial['outcome']}: {text}" if text else str(trial["outcome"])


def split_trial(written: str) -> tuple[str, str]:
    """`RUN/CASE/NUMBER` → the run, and `CASE/NUMBER`. Raises `UsageError`."""
    run, _, rest = written.partition("/")
    if not run or not rest.rpartition("/")[0]:
        raise UsageError(f"{written!r} is not RUN/CASE/NUMBER", fix="e.g. latest/refund/1")
    return run, rest


def find_trial(document: dict[str, Any], written: str, variant: str | None = None) -> dict[str, Any]:
    """The entry of `CASE/NUMBER` in a run document: of this variant, or (None) of the case as written if that is there.
    Raises `UsageError` that names what there is."""
    case, _, number = written.rpartition("/")
    trials: list[dict[str, Any]] = [*document["trials"], *document.get("confirmations", ())]
    found = [entry for entry in trials if entry["case"] == case and str(entry["number"]) == number]
    wanted = [entry for entry in found if variant is None or entry["variant"] == variant]
    if wanted:
        return next((entry for entry in wanted if entry["variant"] == BASELINE_VARIANT), wanted[0])
    if found:
        known = ", ".join(entry["variant"] for entry in found)
        raise UsageError(
            f"run {document['run_id']} has no variant {variant!r} of trial {written}; it has: {known}",
            fix=f"--variant {found[0]['variant']}",
        )
    numbers = sorted(entry["number"] for entry in trials if entry["case"] in (case, written))
    if numbers:
        known = f"{case if case else written} has trials {numbers[0]} to {numbers[-1]}"
    else:
        known = f"its cases: {', '.join(dict.fromkeys(entry['case'] for entry in trials))}"
    raise UsageError(
        f"run {document['run_id']} has no trial {written!r}; {known}",
        fix="write it as CASE/NUMBER, e.g. refund/1",
    )
