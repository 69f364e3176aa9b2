"""Two runs that are over, side by side: what they are, and how one compares with the other. Nothing is run."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aegis._eval.prepare import LEDGER_FOLDER
from aegis._eval.request import policy_of
from aegis.baseline import lookup
from aegis.baseline.found import NoBaseline, Wanted
from aegis.errors import UsageError
from aegis.regression import document as comparisons
from aegis.regression import sidebyside
from aegis.regression import snapshot as snapshots
from aegis.regression.compare import compare
from aegis.regression.drift import compare as drifting
from aegis.regression.drift.behaviour import CaseBehaviours
from aegis.regression.drift.findings import Drift
from aegis.regression.findings import Comparison
from aegis.regression.policy import Policy
from aegis.regression.snapshot import Facts, Snapshot
from aegis.regression.trials import CaseKey, CaseTrials, pool
from aegis.regression.verdict import decide
from aegis.results import Ledger, RunRecord
from aegis.results.show import BASELINE_VARIANT
from aegis.suite import find_project

_RECENT = 50
"""Runs of the ledger that are asked which suite a branch could be about."""


@dataclass(frozen=True)
class ComparisonResult:
    """How one run compares with another. Everything is read from its document."""

    document: dict[str, Any]
    """The comparison document, `aegis.comparison/1` (docs/comparison-document.md)."""

    @property
    def verdict(self) -> str:
        """`PASS`, `REGRESSED` or `INCONCLUSIVE`."""
        return str(self.document["verdict"])

    @property
    def exit_code(self) -> int:
        """0, 1 or 3."""
        return int(self.document["exit_code"])

    @property
    def regressions(self) -> tuple[dict[str, Any], ...]:
        """The cases that got worse, the surest first, as in the document."""
        return tuple(self.document["regressions"])

    @property
    def drift(self) -> tuple[dict[str, Any], ...]:
        """What the agent does differently, as in the document, without what could be chance."""
        return tuple(item for item in self.document["drift"] if item["grade"] != "untested")


def policy_without_trials(
    *, min_trials: int | None = None, fail_on: str | Sequence[str] | None = None, strict: bool = False
) -> Policy:
    """How strict a comparison is when no fresh trials can be had; None: as by default. What `fail_on` names counts
    besides regressions; `never`: nothing counts. Raises `UsageError`."""
    return policy_of(confirm=0, min_trials=min_trials, fail_on=fail_on, strict=strict)


@dataclass(frozen=True)
class _Side:
    asked: str
    snapshots: tuple[Snapshot, ...]
    """The run, and those whose trials are added."""
    notes: tuple[str, ...] = ()

    @property
    def facts(self) -> Facts:
        return self.snapshots[0].facts


def compare_runs(
    base: str,
    head: str,
    policy: Policy,
    *,
    case: str | None = None,
    variant: str | None = None,
    project: str | Path | None = None,
) -> ComparisonResult:
    """As `aegis.eval.compare`, with a policy whose `confirm` must be 0."""
    if variant is not None and case is None:
        raise UsageError("a variant is of a case", fix="name the case too: --case ID --variant NAME")
    root = find_project(Path.cwd() if project is None else Path(project)).root
    folder = root / LEDGER_FOLDER
    if not (folder / "ledger.db").exists():
        # A ledger is made by runs; looking at what others have left is no reason for one.
        return _compare(*_sides(base, head, root, None), policy, case, variant, None)
    with Ledger(folder) as ledger:
        return _compare(*_sides(base, head, root, ledger), policy, case, variant, ledger)


def _compare(
    before: _Side, now: _Side, policy: Policy, case: str | None, variant: str | None, ledger: Ledger | None
) -> ComparisonResult:
    _check(before.facts, now.facts)
    trials = pool([item.trials for item in before.snapshots]), pool([item.trials for item in now.snapshots])
    behaviours = tuple(snapshots.pool_behaviours(side.snapshots) for side in (before, now))
    key = None if case is None else _key(case, variant, trials, now.facts.suite)
    comparison = compare(*trials, policy)
    alike = {result.key for result in comparison.results}
    both = [{key: trials for key, trials in side.items() if key in alike} for side in behaviours]
    chars = snapshots.common_chars([*before.snapshots, *now.snapshots])
    drift = drifting.compare(both[0], both[1], chars=chars)
    verdict = decide(comparison, None, drift)
    document = {
        "schema": comparisons.SCHEMA,
        "suite": now.facts.suite,
        "verdict": verdict.verdict,
        "exit_code": verdict.exit_code,
        "result": verdict.line,
        "head": comparisons.side(now.snapshots),
        **comparisons.build(comparison, drift, before.snapshots),
        "regressions": comparisons.regressions(comparison),
        "notes": [*before.notes, *now.notes, *_notes(before.facts, now.facts)],
        "case": None
        if key is None
        else _detail(key, trials, behaviours, comparison, drift, before, now, ledger),
    }
    return ComparisonResult(document)


def _sides(base: str, head: str, root: Path, ledger: Ledger | None) -> tuple[_Side, _Side]:
    """Runs and files stand for themselves. What has to be looked for, such as a branch, must be comparable with the
    other side; where both have to be, the ledger's recent runs tell what that could be."""
    before, now = (_named(asked, ledger) for asked in (base, head))
    if now is None:
        now = _found(head, root, ledger, [before.facts] if before is not None else _recent(ledger))
        # Trials of older commits are added to a baseline; what is compared with it is one run.
        now = replace(now, snapshots=now.snapshots[:1])
    if before is None:
        before = _found(base, root, ledger, [now.facts])
    return before, now


def _named(asked: str, ledger: Ledger | None) -> _Side | None:
    """A run of the ledger or a file; None when it is neither."""
    missing: UsageError | None = None
    if ledger is not None:
        try:
            record = ledger.run(asked)
        except UsageError as error:
            missing = error
        else:
            return _Side(asked, (_snapshot(record, ledger),))
    if Path(asked).is_file():
        return _Side(asked, (_read(Path(asked)),))
    if missing is not None and _may_be_a_run(asked):
        raise missing
    return None


def _may_be_a_run(asked: str) -> bool:
    """The ids of runs begin with a day; whoever writes one means a run, and should hear of the runs there are."""
    return asked == "latest" or asked[:9].rstrip("-").isdigit()


def _read(path: Path) -> Snapshot:
    try:
        return snapshots.from_bytes(path.read_bytes(), str(path))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error


def _snapshot(record: RunRecord, ledger: Ledger) -> Snapshot:
    document = record.document or {}
    run = f"run {record.run_id}"
    if record.status != "complete":
        raise UsageError(
            f"{run} is {record.status}: only whole runs are compared",
            fix=f"aegis eval resume {record.run_id}"
            if record.status == "interrupted"
            else "wait for its end",
        )
    digest = document.get("snapshot")
    if digest is None:
        raise UsageError(
            f"{run} did not keep what a comparison needs: an older Aegis made it", fix="run it again"
        )
    return snapshots.from_bytes(ledger.blobs.get(digest), f"the snapshot of {run}")


def _recent(ledger: Ledger | None) -> list[Facts]:
    """One of each suite and environment, the newest first."""
    found: dict[tuple[str, str], Facts] = {}
    for record in () if ledger is None else ledger.summaries(limit=_RECENT):
        document = record.document or {}
        environment = document.get("environment")
        if environment is not None:
            facts = Facts("", record.suite, environment, document["isolation"]["driver"])
            found.setdefault((record.suite, environment), facts)
    return list(found.values())


def _found(asked: str, root: Path, ledger: Ledger | None, like: Sequence[Facts]) -> _Side:
    """Look for it as for a baseline of what is comparable with one of `like`."""
    missing: NoBaseline | None = None
    for facts in like:
        try:
            wanted = Wanted(facts.suite, facts.environment, facts.run_id)
            found = lookup.find(asked, wanted, root=root, ledger=ledger)
        except NoBaseline as error:
            missing = missing or error
            continue
        notes = [*found.notes]
        if found.behind:
            commits = "1 commit" if found.behind == 1 else f"{found.behind} commits"
            notes.append(f"{asked}: the nearest results are {commits} back")
        return _Side(asked, found.snapshots, tuple(notes))
    if missing is not None:
        raise UsageError(f"{asked!r} cannot be compared: {missing.why}", fix=missing.fix)
    raise UsageError(
        f"{asked!r} is no run of this project and no file, and no run here tells which suite it could be about",
        fix="name a run (aegis eval list) or a file of aegis baseline export",
    )


def _check(before: Facts, now: Facts) -> None:
    """Raise `UsageError` for runs that have nothing in common."""
    runs = f"run {before.run_id}", f"run {now.run_id}"
    if before.run_id == now.run_id:
        raise UsageError(f"both sides are {runs[0]}", fix="name two runs; aegis eval list shows them")
    for facts, run in zip((before, now), runs, strict=True):
        if facts.replay_of is not None:
            raise UsageError(
                f"{run} is a replay: its answers came from the recording of run {facts.replay_of}",
                fix=f"compare run {facts.replay_of} itself",
            )
    if before.suite != now.suite:
        raise UsageError(
            f"{runs[0]} is of suite {before.suite}, and {runs[1]} of suite {now.suite}",
            fix=f"name two runs of one suite: aegis eval list --suite {now.suite}",
        )
    if before.environment != now.environment:
        how = f": {before.isolation} before, {now.isolation} now" if before.isolation != now.isolation else ""
        raise UsageError(
            f"{runs[0]} and {runs[1]} ran in different environments{how}, so a difference would not be the agent's",
            fix="the image, the machine, the isolation or the network of the suite has changed: "
            "run the older commit again with what the suite has now",
        )


def _notes(before: Facts, now: Facts) -> list[str]:
    notes = []
    if before.started_at > now.started_at:
        notes.append(f"run {before.run_id} is the newer one: is it the wrong way round?")
    for facts in (before, now):
        if not facts.complete:
            notes.append(f"run {facts.run_id} is incomplete: some of its trials have no result")
        if facts.selected:
            notes.append(f"run {facts.run_id} ran only some of the suite's cases")
    if before.accel != now.accel:
        notes.append(f"another accelerator: {before.accel or 'none'} before, {now.accel or 'none'} now")
    if before.version != now.version:
        notes.append(f"another Aegis: {before.version or 'unknown'} before, {now.version or 'unknown'} now")
    return notes


def _key(case: str, variant: str | None, trials: tuple[CaseTrials, CaseTrials], suite: str) -> CaseKey:
    known = list(dict.fromkeys([*trials[1], *trials[0]]))
    variants = [key.variant for key in known if key.case == case]
    if not variants:
        near = difflib.get_close_matches(case, [key.case for key in known], 1)
        hint = f"did you mean {near[0]}?" if near else f"aegis suite list {suite} names them"
        raise UsageError(f"neither run has a case {case!r}", fix=hint)
    wanted = variant or (BASELINE_VARIANT if BASELINE_VARIANT in variants else variants[0])
    if wanted not in variants:
        raise UsageError(
            f"case {case} has no variant {wanted!r}; it has: {', '.join(variants)}",
            fix=f"--variant {variants[0]}",
        )
    return CaseKey(case, wanted)


def _detail(
    key: CaseKey,
    trials: tuple[CaseTrials, CaseTrials],
    behaviours: Sequence[CaseBehaviours],
    comparison: Comparison,
    drift: Drift,
    before: _Side,
    now: _Side,
    ledger: Ledger | None,
) -> dict[str, Any]:
    result = next((item for item in comparison.results if item.key == key), None)
    sides = behaviours[0].get(key, ()), behaviours[1].get(key, ())
    detail = sidebyside.build(key, (trials[0].get(key), trials[1].get(key)), sides, result, drift.of(key))
    look = [] if ledger is None else [*_look(now, key, "now", ledger), *_look(before, key, "before", ledger)]
    return {**detail, "look": look}


def _look(side: _Side, key: CaseKey, name: str, ledger: Ledger) -> list[dict[str, Any]]:
    """One trial that passed and one that did not, of those whose traces are here."""
    try:
        record = ledger.run(side.facts.run_id)
    except UsageError:
        return []
    found: dict[bool, dict[str, Any]] = {}
    for trial in (record.document or {}).get("trials", ()):
        passed = trial["outcome"] == "passed"
        if (
            (trial["case"], trial["variant"]) == key
            and passed not in found
            and trial["outcome"] in ("passed", "failed", "timeout")
            and trial["trace"] is not None
            and ledger.blobs.has(trial["trace"])
        ):
            told: Mapping[str, Any] = {item: trial[item] for item in ("number", "outcome", "reason")}
            found[passed] = {"side": name, "run_id": record.run_id, **told}
    return [found[passed] for passed in (False, True) if passed in found]
