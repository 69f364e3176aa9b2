"""What a comparison could have seen: a test that can't fail must not look like one that passed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from aegis.regression.policy import Policy
from aegis.regression.stats import fisher, predictive
from aegis.regression.trials import Trials

GapKind = Literal["lost", "few", "baseline", "confirmation", "rate"]
_SEARCH_UP_TO = 1_000


@dataclass(frozen=True, slots=True)
class Gap:
    """Why a case could not be judged, or not wholly."""

    kind: GapKind
    """`lost`: trials ended in infrastructure errors or were not run; `few`: fewer than `min_trials`; `baseline`: too
    few trials there; `confirmation`: suspect, and its fresh trials are missing or incomplete; `rate`: it passed so
    seldom before that a drop can't be told. All but the last keep a run from passing."""
    why: str

    @property
    def blocks(self) -> bool:
        return self.kind != "rate"


def find(baseline: Trials, candidate: Trials, policy: Policy) -> Gap | None:
    """The gap that is there before anything is tested."""
    if candidate.lost:
        return Gap("lost", _lost(candidate))
    if candidate.judged < policy.min_trials:
        return Gap("few", f"{_trials(candidate.judged)} judged, and {policy.min_trials} are asked for")
    if baseline.judged == 0:
        return Gap("baseline", "the baseline has no judged trial of it")
    trials = candidate.judged
    if visible(baseline.passed, baseline.judged, trials, policy):
        return None
    if not visible(baseline.judged, baseline.judged, trials, policy):
        return Gap("baseline", _too_few(baseline.judged, trials, policy))
    if baseline.passed == 0:
        return Gap("rate", f"it failed all {baseline.judged} trials in the baseline already")
    return Gap(
        "rate",
        f"it passed {baseline.passed} of {baseline.judged} in the baseline: too seldom for a drop to be told",
    )


@lru_cache(maxsize=65_536)
def visible(baseline_passed: int, baseline_trials: int, trials: int, policy: Policy) -> bool:
    """Whether a case that now always fails would be found, were it the only one."""
    if not policy.confirm:
        return fisher.lower(0, trials, baseline_passed, baseline_trials) <= policy.case_alpha
    suspect = predictive.at_most(0, trials, baseline_passed, baseline_trials) <= policy.screen
    return suspect and fisher.lower(0, policy.confirm, baseline_passed, baseline_trials) <= policy.case_alpha


@lru_cache(maxsize=1_024)
def _too_few(judged: int, trials: int, policy: Policy) -> str:
    needed = next((n for n in range(judged + 1, _SEARCH_UP_TO) if visible(n, n, trials, policy)), None)
    have = f"the baseline has {_trials(judged)} of it"
    if needed is None:
        return f"{have}, and no number of them would be enough with {_trials(trials)} now"
    return f"{have}, and {needed} are needed to see it break"


def _lost(trials: Trials) -> str:
    parts = []
    if trials.errors:
        parts.append(f"{trials.errors} of {_trials(trials.planned)} ended in an infrastructure error")
    if trials.missing:
        parts.append(
            f"{trials.missing} of {_trials(trials.planned)} {'was' if trials.missing == 1 else 'were'} not run"
        )
    return ", ".join(parts)


def _trials(number: int) -> str:
    return f"{number} trial" if number == 1 else f"{number} trials"
