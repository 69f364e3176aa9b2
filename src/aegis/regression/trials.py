"""What came of a case's trials, as numbers: all that the tests look at."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

ENOUGH = 20
"""Trials of a case in a baseline: with as many, a failing case is told from a flaky one by ten trials more."""


class CaseKey(NamedTuple):
    case: str
    variant: str = "baseline"

    def __str__(self) -> str:
        return self.case if self.variant == "baseline" else f"{self.case} ({self.variant})"


@dataclass(frozen=True, slots=True)
class Trials:
    """The trials of one case on one side."""

    passed: int = 0
    failed: int = 0
    """The agent's doing: `failed` and `timeout`."""
    errors: int = 0
    """The infrastructure's doing. Not a failure, and not judged."""
    missing: int = 0
    """Planned, and not run or not finished."""
    content: str | None = None
    """Digest of what makes the case what it is (text, world, expectations); None when it isn't known. Cases with
    different ones are not compared."""

    def __post_init__(self) -> None:
        if self.passed < 0 or self.failed < 0 or self.errors < 0 or self.missing < 0:
            raise ValueError(f"trials cannot be negative: {self}")

    @property
    def judged(self) -> int:
        return self.passed + self.failed

    @property
    def lost(self) -> int:
        return self.errors + self.missing

    @property
    def planned(self) -> int:
        return self.judged + self.lost

    @property
    def flaky(self) -> bool:
        """Whether some passed and some failed: a property of the case, to be shown and not to be tried away."""
        return 0 < self.passed < self.judged


CaseTrials = Mapping[CaseKey, Trials]

_FIELDS = {
    "passed": "passed",
    "failed": "failed",
    "timeout": "failed",
    "error": "errors",
    "cancelled": "missing",
}


def from_outcomes(outcomes: Iterable[str], planned: int | None = None, content: str | None = None) -> Trials:
    """Count outcomes (results/records.py); up to `planned`, those that aren't there are missing."""
    counts = {"passed": 0, "failed": 0, "errors": 0, "missing": 0}
    for outcome in outcomes:
        counts[_FIELDS[outcome]] += 1
    if planned is not None:
        counts["missing"] += max(0, planned - sum(counts.values()))
    return Trials(**counts, content=content)


def from_document(
    document: Mapping[str, Any], contents: Mapping[CaseKey, str] | None = None
) -> dict[CaseKey, Trials]:
    """The trials of a run document by case; `contents` are the cases' digests, where they are known."""
    outcomes: defaultdict[CaseKey, list[str]] = defaultdict(list)
    for trial in document["trials"]:
        outcomes[CaseKey(trial["case"], trial["variant"])].append(trial["outcome"])
    known = contents or {}
    return {key: from_outcomes(found, content=known.get(key)) for key, found in outcomes.items()}


def pool(runs: Sequence[CaseTrials], enough: int = ENOUGH) -> dict[CaseKey, Trials]:
    """The baseline of several runs, the newest first: for each case of the newest run its trials, and those of the runs
    before it until `enough` were judged. Earlier trials of a case with other content are left out."""
    if not runs:
        return {}
    return {key: _add_up(key, runs, enough) for key in runs[0]}


def _add_up(key: CaseKey, runs: Sequence[CaseTrials], enough: int) -> Trials:
    newest = runs[0][key]
    passed, failed, errors, missing = newest.passed, newest.failed, newest.errors, newest.missing
    for run in runs[1:]:
        if passed + failed >= enough:
            break
        earlier = run.get(key)
        if earlier is not None and earlier.content == newest.content:
            passed += earlier.passed
            failed += earlier.failed
            errors += earlier.errors
            missing += earlier.missing
    return Trials(passed, failed, errors, missing, newest.content)
