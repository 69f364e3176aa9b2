"""A run and its baseline: looked up before it starts, compared when its trials are over."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from aegis._eval import prepare
from aegis._eval.network import resolve_suite
from aegis._eval.request import RunRequest
from aegis.baseline import lookup
from aegis.baseline.found import NoBaseline, Skipped, Wanted
from aegis.engine import fingerprint as fingerprints
from aegis.engine.spec import PlannedTrial
from aegis.errors import AegisError
from aegis.regression import document as documents
from aegis.regression import snapshot as snapshots
from aegis.regression import verdict as verdicts
from aegis.regression.compare import compare
from aegis.regression.drift.compare import compare as find_drift
from aegis.regression.findings import Comparison
from aegis.regression.nocycles import uncollected
from aegis.regression.snapshot import Snapshot
from aegis.regression.trials import CaseKey, pool
from aegis.report.text import counted
from aegis.results import Ledger, RunRecord, TrialRecord, verdict
from aegis.results.document import Compared
from aegis.results.records import CONFIRMATION, PLAN

MOST_CONFIRMED = 10
"""Suspects that are tried again when the suite as a whole is worse for certain: the verdict stands, and more names are
not worth ten trials each."""


def look_up(request: RunRequest, wanted: Wanted, *, root: Path, ledger: Ledger) -> dict[str, Any] | None:
    """What the ledger keeps of a run's baseline (`config["baseline"]`); None when none was asked for.

    Raises `UsageError` when what was asked for cannot be understood. Where there is nothing to compare with, that is
    kept as its `problem`: the run goes on, and cannot pass.
    """
    if request.baseline is None:
        return None
    kept: dict[str, Any] = {
        "asked": request.baseline,
        "policy": documents.policy_document(request.policy),
        "problem": None,
        "fix": None,
        "source": None,
        "merge_base": None,
        "behind": None,
        "skipped": [],
        "notes": [],
        "snapshots": [],
    }
    try:
        found = lookup.find(request.baseline, wanted, root=root, ledger=ledger)
    except NoBaseline as none:
        return {**kept, "problem": none.why, "fix": none.fix, "skipped": _skipped(none.skipped)}
    return {
        **kept,
        "source": found.source,
        "merge_base": found.merge_base,
        "behind": found.behind,
        "skipped": _skipped(found.skipped),
        "notes": list(found.notes),
        "snapshots": [ledger.blobs.put(snapshots.to_bytes(each)) for each in found.snapshots],
    }


def environment_here(suite: str) -> str | None:
    """Digest of the environment that a run of the project's suite of this name has here and now; None when it cannot be
    told: there is no such suite, it cannot be read, or a secret has no value."""
    try:
        found = prepare.find(RunRequest(suite=suite)).suite
        network = resolve_suite(found, replay=False).describe()
    except AegisError:
        return None
    isolation = RunRequest().isolation
    return (
        fingerprints.environment(found, isolation=isolation, network=network)
        if found.suite == suite
        else None
    )


def lines(kept: Mapping[str, Any] | None, ledger: Ledger) -> Iterator[str]:
    """What is said of the baseline before the run."""
    if kept is None:
        return
    if kept["problem"] is not None:
        yield f"no baseline: {kept['problem']}; the run cannot pass"
        if kept["fix"]:
            yield f"fix: {kept['fix']}"
        return
    found = [_load(ledger, digest) for digest in kept["snapshots"]]
    facts = found[0].facts
    commit = f" of commit {facts.commit[:12]}" if facts.commit else ""
    behind = kept["behind"]
    back = "" if not behind else f", {counted(behind, 'commit')} before {kept['asked']} and this work part"
    more = f", with {counted(len(found) - 1, 'older run')} behind it" if len(found) > 1 else ""
    yield f"baseline {kept['asked']}: run {facts.run_id}{commit}{back}{more}"
    yield from (f"note: {note}" for note in kept["notes"])


@dataclass(frozen=True)
class Now:
    """The run's own side, as far as its trials are."""

    run: RunRecord
    trials: Sequence[TrialRecord]
    snapshot: Snapshot


class Comparing:
    """One run's comparison with the baseline that its ledger keeps."""

    def __init__(self, ledger: Ledger, kept: Mapping[str, Any]) -> None:
        self._ledger = ledger
        self._kept = kept
        self.policy = documents.policy_from(kept["policy"])

    @cached_property
    def _baseline(self) -> list[Snapshot]:
        return [_load(self._ledger, digest) for digest in self._kept["snapshots"]]

    def to_confirm(self, now: Now) -> tuple[PlannedTrial, ...]:
        """The fresh trials that the comparison wants, those that are done included; none when the plan is not done, or
        there is nothing to compare with."""
        if self._kept["problem"] is not None or not self.policy.confirm:
            return ()
        if any(trial.outcome is None for trial in now.trials if trial.purpose == PLAN):
            return ()
        comparison = self._compare(now, confirmed=False)
        suspects = comparison.suspects
        if comparison.overall is not None and comparison.overall.worse and len(suspects) > MOST_CONFIRMED:
            suspects = tuple(sorted(suspects, key=lambda result: result.screen_p))[:MOST_CONFIRMED]
        planned = Counter((trial.case, trial.variant) for trial in now.trials if trial.purpose == PLAN)
        return tuple(
            PlannedTrial(*result.key, planned[result.key] + number)
            for result in suspects
            for number in range(1, self.policy.confirm + 1)
        )

    def unplanned(self, now: Now) -> tuple[PlannedTrial, ...]:
        """Those of `to_confirm` that the ledger doesn't plan yet: the run was stopped before."""
        there = {(trial.case, trial.variant, trial.number) for trial in now.trials}
        return tuple(trial for trial in self.to_confirm(now) if trial not in there)

    def judge(self, now: Now, threshold: verdict.Verdict | None) -> Compared:
        """The verdict, and what the run document says of the comparison."""
        if self._kept["problem"] is not None:
            decided = verdicts.without_baseline(self._kept["problem"], threshold)
            return Compared(decided, self._document(None, None))
        comparison = self._compare(now, confirmed=True)
        drift = find_drift(
            snapshots.pool_behaviours(self._baseline),
            now.snapshot.behaviours,
            chars=snapshots.common_chars(self._baseline),
        )
        told = documents.build(comparison, drift, self._baseline)
        decided = verdicts.decide(comparison, threshold, drift)
        return Compared(
            decided, self._document(told, _confirmed(now.trials)), documents.regressions(comparison)
        )

    def _compare(self, now: Now, *, confirmed: bool) -> Comparison:
        fresh = [trial for trial in now.trials if trial.purpose == CONFIRMATION]
        confirmation = snapshots.confirmation_of(fresh) if confirmed and fresh else None
        baseline = pool([each.trials for each in self._baseline])
        if now.snapshot.facts.selected:
            # Cases that were not selected are not gone.
            baseline = {key: trials for key, trials in baseline.items() if key in now.snapshot.trials}
        return compare(baseline, now.snapshot.trials, self.policy, confirmation=confirmation)

    def _document(
        self, comparison: Mapping[str, Any] | None, confirmed: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        names = ("asked", "problem", "fix", "source", "merge_base", "behind", "skipped", "notes")
        return {
            **{name: self._kept[name] for name in names},
            "comparison": comparison,
            "confirmed": confirmed,
        }


def contents_of(ledger: Ledger, run: RunRecord) -> tuple[dict[CaseKey, str], dict[str, tuple[str, int]]]:
    """Digests of the contents of the run's cases, and the places where they are written."""
    if "cases" not in run.config:
        return {}, {}
    kept = json.loads(ledger.blobs.get(run.config["cases"]))
    contents = {CaseKey(case, variant): digest for case, variant, digest in kept["contents"]}
    return contents, {case: (file, line) for case, file, line in kept["places"]}


def now_of(ledger: Ledger, run_id: str) -> Now:
    """The run as it stands in the ledger."""
    with uncollected():
        run, trials = ledger.run(run_id), ledger.trials(run_id)
        return Now(run, trials, snapshots.of_run(run, trials, contents_of(ledger, run)[0]))


def _confirmed(trials: Sequence[TrialRecord]) -> dict[str, Any] | None:
    fresh = [trial for trial in trials if trial.purpose == CONFIRMATION]
    if not fresh:
        return None
    results = [trial.result or {} for trial in fresh]
    costs = [(result.get("usage") or {}).get("usd") for result in results]
    return {
        "cases": len({(trial.case, trial.variant) for trial in fresh}),
        "trials": len(fresh),
        "usd": None if None in costs else sum(cost for cost in costs if cost is not None),
        "duration_s": round(sum(result.get("duration_s") or 0.0 for result in results), 3),
    }


def _load(ledger: Ledger, digest: str) -> Snapshot:
    return snapshots.from_bytes(ledger.blobs.get(digest), f"the baseline's copy {digest[:12]} in the ledger")


def _skipped(skipped: Sequence[Skipped]) -> list[dict[str, Any]]:
    return [{"run_id": each.run_id, "commit": each.commit, "why": each.why} for each in skipped]
