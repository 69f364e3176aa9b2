"""A run as a later one sees it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from aegis.regression.drift.behaviour import Behaviour, CaseBehaviours
from aegis.regression.trials import ENOUGH, CaseKey, Trials

SCHEMA = "aegis.snapshot/1"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a run without looking at its trials."""

    run_id: str
    suite: str
    environment: str
    """Digest of all that must be equal for two runs to be comparable, apart from the cases themselves
    (`engine.fingerprint.environment`)."""
    isolation: str
    """The driver: `qemu`, `firecracker`, or `process` for none."""
    accel: str | None = None
    commit: str | None = None
    """Full hash; None outside of a repository and before its first commit."""
    branch: str | None = None
    dirty: bool = False
    """Whether tracked files differed from the commit."""
    started_at: str = ""
    """ISO 8601."""
    complete: bool = True
    """Whether every planned trial came to its end, the baseline's own errors included."""
    selected: bool = False
    """Whether only some of the suite's cases were run (`-k`, `--last-failed`)."""
    replay_of: str | None = None
    verdict: str = ""
    passed: int = 0
    planned: int = 0
    version: str = ""
    """Of the Aegis that ran it."""


@dataclass(frozen=True)
class Snapshot:
    """One run. Trials of confirmation are not in it: they were run because their case had failed."""

    facts: Facts
    trials: Mapping[CaseKey, Trials]
    """In the order of the suite, each with its case's content."""
    behaviours: CaseBehaviours = field(default_factory=dict)
    """Of the judged trials, of cases that `trials` has; none of these is empty."""
    chars: int | None = None
    """Answers, and texts among tools' arguments, were cut to so many characters, so that the whole takes little room
    (`regression.drift.shorten`); None: they are as observed. Whoever compares cuts both sides to the smaller number."""


def common_chars(snapshots: Iterable[Snapshot]) -> int | None:
    """To how many characters all of them must be cut to be comparable; None: nothing has to be cut."""
    return min((item.chars for item in snapshots if item.chars is not None), default=None)


def pool_behaviours(
    snapshots: Sequence[Snapshot], enough: int = ENOUGH
) -> dict[CaseKey, Sequence[Behaviour]]:
    """The behaviour of a baseline of several runs, the newest first, by the rule of `trials.pool`: for each case of the
    newest run its trials, and those of earlier ones with the same content until there are `enough`. Never more than
    those: what drifted is no better told by more, and takes far longer. A case without any is left out."""
    if not snapshots:
        return {}
    if len(snapshots) == 1:
        return {key: found[:enough] for key, found in snapshots[0].behaviours.items()}
    pooled: dict[CaseKey, Sequence[Behaviour]] = {}
    for key, newest in snapshots[0].trials.items():
        found: list[Behaviour] = []
        for snapshot in snapshots:
            if len(found) >= enough:
                break
            trials = snapshot.trials.get(key)
            if trials is not None and trials.content == newest.content:
                found += snapshot.behaviours.get(key, ())
        if found:
            pooled[key] = found[:enough]
    return pooled
