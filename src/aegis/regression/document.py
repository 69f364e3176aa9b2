"""A comparison as JSON: what the run document holds in `baseline`, and `aegis eval compare --json` prints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aegis.regression.drift.findings import Drift, Finding
from aegis.regression.findings import CaseResult, Comparison, Overall
from aegis.regression.policy import Policy
from aegis.regression.snapshot import Snapshot
from aegis.regression.trials import CaseKey, Trials

SCHEMA = "aegis.comparison/1"


def build(comparison: Comparison, drift: Drift, snapshots: Sequence[Snapshot]) -> dict[str, Any]:
    """What was compared with `snapshots` (the baseline, then those whose trials were added to it). Pure."""
    return {
        "base": side(snapshots),
        "policy": policy_document(comparison.policy),
        "compared": len(comparison.results),
        "overall": None if comparison.overall is None else _overall(comparison.overall),
        "cases": [case(result) for result in comparison.results if _notable(result)],
        "new": _keys(comparison.new),
        "removed": _keys(comparison.removed),
        "changed": _keys(comparison.changed),
        "new_failures": _keys(comparison.new_failures),
        "drift": [finding(found) for found in drift.findings],
    }


def side(snapshots: Sequence[Snapshot]) -> dict[str, Any]:
    """Which run it was, and which runs' trials stand behind it."""
    facts = snapshots[0].facts
    return {
        "run_id": facts.run_id,
        "suite": facts.suite,
        "commit": facts.commit,
        "branch": facts.branch,
        "dirty": facts.dirty,
        "started_at": facts.started_at,
        "isolation": facts.isolation,
        "accel": facts.accel,
        "passed": facts.passed,
        "planned": facts.planned,
        "pooled": [other.facts.run_id for other in snapshots[1:]],
    }


def regressions(comparison: Comparison) -> list[dict[str, Any]]:
    """The run document's `regressions`: the surest first."""
    return [case(result) for result in comparison.regressed]


def case(result: CaseResult) -> dict[str, Any]:
    return {
        **_key(result.key),
        "status": result.status,
        "before": tally(result.baseline),
        "now": tally(result.candidate),
        "confirmation": None if result.confirmation is None else tally(result.confirmation),
        "screen_p": result.screen_p,
        "p": result.p,
        "adjusted_p": result.adjusted_p,
        "flaky": result.baseline.flaky,
        "new_failure": result.new_failure,
        "gap": None
        if result.gap is None
        else {"kind": result.gap.kind, "why": result.gap.why, "blocks": result.gap.blocks},
        "text": str(result),
    }


def _notable(result: CaseResult) -> bool:
    """A steady case without a gap has nothing to tell."""
    return result.status != "steady" or result.gap is not None or result.new_failure or result.baseline.flaky


def policy_from(data: Mapping[str, Any]) -> Policy:
    """The inverse of the comparison's `policy`."""
    return Policy(**{**data, "fail_on": frozenset(data["fail_on"])})


def policy_document(policy: Policy) -> dict[str, Any]:
    """As it stands in a comparison."""
    return {
        "overall_alpha": policy.overall_alpha,
        "case_alpha": policy.case_alpha,
        "screen": policy.screen,
        "confirm": policy.confirm,
        "min_trials": policy.min_trials,
        "fail_on": sorted(policy.fail_on),
    }


def _overall(overall: Overall) -> dict[str, Any]:
    return {
        "before": overall.baseline_rate,
        "now": overall.candidate_rate,
        "delta": overall.delta,
        "p": overall.test.p,
        "worse": overall.worse,
    }


def tally(trials: Trials) -> dict[str, int]:
    return {"passed": trials.passed, "judged": trials.judged, "lost": trials.lost}


def finding(found: Finding) -> dict[str, Any]:
    where = {"case": None, "variant": None} if found.key is None else _key(found.key)
    return {
        **where,
        "aspect": found.aspect,
        "what": found.what,
        "before": found.before,
        "now": found.now,
        "grade": found.grade,
        "p": found.p,
    }


def _key(key: CaseKey) -> dict[str, str]:
    return {"case": key.case, "variant": key.variant}


def _keys(keys: Iterable[CaseKey]) -> list[dict[str, str]]:
    return [_key(key) for key in keys]
