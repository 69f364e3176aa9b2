"""A snapshot of what the ledger has of a run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from aegis.regression.drift import observe
from aegis.regression.drift.behaviour import Behaviour
from aegis.regression.snapshot.model import Facts, Snapshot
from aegis.regression.trials import CaseKey, Trials, from_outcomes
from aegis.results.records import CONFIRMATION, PLAN, RunRecord, TrialRecord

BehaviourOf = Callable[[TrialRecord], Behaviour | None]

_JUDGED = frozenset({"passed", "failed", "timeout"})


def stored_behaviour(trial: TrialRecord) -> Behaviour | None:
    """What the ledger's row has in `behaviour`; None in rows of versions that did not keep it."""
    kept = None if trial.result is None else trial.result.get("behaviour")
    return observe.from_json(kept) if isinstance(kept, Mapping) else None


def of_run(
    run: RunRecord,
    trials: Sequence[TrialRecord],
    contents: Mapping[CaseKey, str],
    behaviour_of: BehaviourOf = stored_behaviour,
) -> Snapshot:
    """The run with the planned ones of its trials; what was run to confirm is left out.

    `contents` has the digest of each case, in the order of the suite. Of `run.config` are read: `environment`,
    `isolation`, `git`, `started_at`, `selected`, `replay_of` and `version`.
    """
    planned = [trial for trial in trials if trial.purpose == PLAN]
    found = _counted(planned, contents)
    behaviours = behaviours_of(planned, PLAN, behaviour_of)
    return Snapshot(
        _facts(run, found.values()), found, {key: behaviours[key] for key in found if key in behaviours}
    )


def confirmation_of(
    trials: Iterable[TrialRecord], contents: Mapping[CaseKey, str] | None = None
) -> dict[CaseKey, Trials]:
    """The fresh trials of the cases that were suspected."""
    return _counted([trial for trial in trials if trial.purpose == CONFIRMATION], contents or {})


def behaviours_of(
    trials: Iterable[TrialRecord],
    purpose: str = CONFIRMATION,
    behaviour_of: BehaviourOf = stored_behaviour,
) -> dict[CaseKey, tuple[Behaviour, ...]]:
    """What the judged trials of this purpose did, of which it is known, by case."""
    found: defaultdict[CaseKey, list[Behaviour]] = defaultdict(list)
    for trial in trials:
        if trial.purpose == purpose and trial.outcome in _JUDGED:
            behaviour = behaviour_of(trial)
            if behaviour is not None:
                found[CaseKey(trial.case, trial.variant)].append(behaviour)
    return {key: tuple(items) for key, items in found.items()}


def _counted(trials: Iterable[TrialRecord], contents: Mapping[CaseKey, str]) -> dict[CaseKey, Trials]:
    outcomes: defaultdict[CaseKey, list[str]] = defaultdict(list)
    for trial in trials:
        outcomes[CaseKey(trial.case, trial.variant)].append(trial.outcome or "cancelled")
    ordered = [
        *(key for key in contents if key in outcomes),
        *(key for key in outcomes if key not in contents),
    ]
    return {key: from_outcomes(outcomes[key], content=contents.get(key)) for key in ordered}


def _facts(run: RunRecord, trials: Iterable[Trials]) -> Facts:
    trials = list(trials)
    config = run.config
    isolation = config.get("isolation") or {}
    git = config.get("git") or {}
    return Facts(
        run_id=run.run_id,
        suite=run.suite,
        environment=config.get("environment") or "",
        isolation=isolation.get("driver") or "unknown",
        accel=isolation.get("accel"),
        commit=git.get("commit"),
        branch=git.get("branch"),
        dirty=bool(git.get("dirty")),
        started_at=config.get("started_at") or run.created_at,
        complete=not any(item.missing for item in trials),
        selected=bool(config.get("selected")),
        replay_of=config.get("replay_of"),
        verdict=(run.document or {}).get("verdict") or "",
        passed=sum(item.passed for item in trials),
        planned=sum(item.planned for item in trials),
        version=config.get("version") or "",
    )
