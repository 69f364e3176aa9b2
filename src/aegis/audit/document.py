"""The audit document, `aegis.audit/1`: what `--json` writes. Its schema is `schema/audit-1.json`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any

from aegis.audit.carriers import Carrier
from aegis.audit.compare import rate
from aegis.audit.conclude import conclude, headline
from aegis.audit.findings import Finding, Report
from aegis.audit.model import Mode, Seen, Tally, by_case, tally

SCHEMA = "aegis.audit/1"
MAX_CARRIERS = 50
"""Of one case; confirmed ones come first."""


def build(report: Report, about: Mapping[str, Any]) -> dict[str, Any]:
    """Make the document. `about` holds `suite`, `seed`, `isolation`, `started_at` and `duration_s`. Pure."""
    conclusion = conclude(report)
    shown, true = headline(report)
    groups: list[dict[str, Any]] = [_group("fresh", None, report.fresh)]
    for sequence in (*report.shared, *report.reset):
        groups.append(_group(sequence.mode, sequence.order, sequence.seen))
    return {
        "schema": SCHEMA,
        "suite": about["suite"],
        "verdict": conclusion.verdict,
        "exit_code": conclusion.exit_code,
        "result": conclusion.line,
        "as": report.as_mode,
        "studied": report.studied,
        "shown": shown,
        "true": true,
        "p": report.suite_value,
        "groups": groups,
        "cases": [_case(finding, report) for finding in report.findings],
        "probes": {"used": report.probes, "max": report.max_probes},
        "notes": list(report.notes),
        "seed": about["seed"],
        "isolation": dict(about["isolation"]),
        "started_at": about["started_at"],
        "duration_s": about["duration_s"],
    }


def _group(mode: Mode, order: str | None, seen: Iterable[Seen]) -> dict[str, Any]:
    trials = list(seen)
    found = rate(trials)
    return {
        "mode": mode,
        "order": order,
        "passed": found.passed,
        "judged": found.judged,
        "errors": found.errors,
        "rate": found.value,
        "low": found.low,
        "high": found.high,
        "trials": [
            {
                "case": each.trial.case,
                "number": each.trial.number,
                "outcome": each.outcome,
                "reason": each.reason,
            }
            for each in trials
        ],
    }


def _case(finding: Finding, report: Report) -> dict[str, Any]:
    experiment = finding.experiment
    return {
        "case": finding.case,
        "effect": finding.effect,
        "dependent": finding.dependent,
        "why": finding.why,
        "p": finding.value,
        "fresh": _tally(_of(finding.case, report.fresh)),
        "shared": _tally(_of(finding.case, (seen for ran in report.shared for seen in ran.seen))),
        "reset": _tally(_of(finding.case, (seen for ran in report.reset for seen in ran.seen)))
        if report.reset
        else None,
        "culprits": [trial.case for trial in finding.culprits],
        "minimal": finding.minimal,
        "experiment": None
        if experiment is None
        else {
            "alone": _tally(experiment.alone),
            "after": _tally(experiment.after),
            "p": experiment.value,
            "level": experiment.level,
        },
        "cleaned_by_reset": finding.cleaned,
        "carriers": [_carrier(carrier) for carrier in finding.carriers[:MAX_CARRIERS]],
        "more_carriers": max(0, len(finding.carriers) - MAX_CARRIERS),
        "carriers_note": finding.carriers_note,
        "probes": finding.probes,
    }


def _of(case: str, seen: Iterable[Seen]) -> Tally:
    return tally(by_case(seen).get(case, ()))


def _tally(found: Tally) -> dict[str, int]:
    return {"passed": found.passed, "judged": found.judged}


def _carrier(carrier: Carrier) -> dict[str, Any]:
    change = carrier.change
    return {
        "kind": carrier.kind if change is None else change.kind,
        "name": carrier.name,
        "how": carrier.how,
        "before_bytes": None if change is None else change.before_bytes,
        "after_bytes": None if change is None else change.after_bytes,
        "rows": [
            {
                "table": each.table,
                "how": each.how,
                "added": each.added,
                "deleted": each.deleted,
                "examples": list(each.examples),
            }
            for each in carrier.rows
        ],
        "confirmed": carrier.confirmed,
    }


def schema() -> dict[str, Any]:
    """The JSON Schema of the document."""
    text = resources.files("aegis.audit").joinpath("schema/audit-1.json").read_text("utf-8")
    parsed: dict[str, Any] = json.loads(text)
    return parsed


def to_json(document: Mapping[str, Any]) -> bytes:
    """As a file holds it. Lone surrogates, which no file can hold, become escapes."""
    return json.dumps(document, indent=2, ensure_ascii=True, allow_nan=False).encode() + b"\n"
