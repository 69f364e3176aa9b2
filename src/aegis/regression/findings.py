"""What a comparison came to, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from aegis.regression.policy import Policy
from aegis.regression.reach import Gap
from aegis.regression.stats.intervals import Interval, clustered
from aegis.regression.stats.stratified import Stratified
from aegis.regression.trials import CaseKey, CaseTrials, Trials

Status = Literal["steady", "suspect", "cleared", "regressed", "improved"]


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One case that both sides have."""

    key: CaseKey
    baseline: Trials
    candidate: Trials
    status: Status
    """`suspect`: waits for confirmation; `cleared`: was suspect, and the fresh trials did not confirm it."""
    screen_p: float
    """The probability of so few passes, after the baseline."""
    confirmation: Trials | None = None
    p: float | None = None
    """Of Fisher's test; None when it was not made."""
    adjusted_p: float | None = None
    """The same after the correction for all the cases that were tested with it."""
    gap: Gap | None = None

    @property
    def new_failure(self) -> bool:
        """It fails now, and never did in the baseline. Often chance, when the case is flaky."""
        return self.candidate.failed > 0 and self.baseline.judged > 0 and self.baseline.failed == 0

    def __str__(self) -> str:
        """`refund: passed 20 of 20 before, 1 of 3 now, 2 of 10 when tried again (p = 0.0002)`."""
        text = f"{self.key}: passed {_of(self.baseline)} before, {_of(self.candidate)} now"
        if self.confirmation is not None:
            text += f", {_of(self.confirmation)} when tried again"
        if self.adjusted_p is not None:
            text += f" (p {probability(self.adjusted_p)})"
        return text


@dataclass(frozen=True, slots=True)
class Overall:
    """The suite as a whole, over the cases that both sides have."""

    test: Stratified
    worse: bool
    baseline_rate: float
    """The cases' pass rates there, weighted as the candidate's trials are, so that both rates are of the same mix."""
    candidate_rate: float

    @property
    def delta(self) -> float:
        return self.candidate_rate - self.baseline_rate


@dataclass(frozen=True)
class Comparison:
    policy: Policy
    candidate: CaseTrials
    results: tuple[CaseResult, ...]
    """Of all cases that both sides have with the same content, in the candidate's order."""
    overall: Overall | None
    """None when no case has judged trials on both sides."""
    new: tuple[CaseKey, ...]
    removed: tuple[CaseKey, ...]
    changed: tuple[CaseKey, ...]
    """Of other content than in the baseline: not compared."""

    @property
    def to_confirm(self) -> tuple[CaseKey, ...]:
        """The cases of which `policy.confirm` fresh trials are wanted, for a second comparison."""
        return tuple(result.key for result in self.suspects)

    @property
    def suspects(self) -> tuple[CaseResult, ...]:
        return self._with("suspect")

    @property
    def regressed(self) -> tuple[CaseResult, ...]:
        """The surest first."""
        return tuple(sorted(self._with("regressed"), key=lambda result: result.p or 0.0))

    @property
    def cleared(self) -> tuple[CaseResult, ...]:
        return self._with("cleared")

    @property
    def improved(self) -> tuple[CaseResult, ...]:
        return self._with("improved")

    @property
    def unjudged(self) -> tuple[CaseResult, ...]:
        """With a `gap` that says why."""
        return tuple(result for result in self.results if result.gap is not None)

    @property
    def blocked(self) -> tuple[CaseResult, ...]:
        """Those of the unjudged that keep a run from passing."""
        return tuple(result for result in self.results if result.gap is not None and result.gap.blocks)

    @property
    def lost_elsewhere(self) -> tuple[CaseKey, ...]:
        """New and changed cases with lost trials: nothing to compare with, and yet not judged."""
        return tuple(key for key in (*self.new, *self.changed) if self.candidate[key].lost)

    @property
    def flaky(self) -> tuple[CaseResult, ...]:
        return tuple(result for result in self.results if result.baseline.flaky)

    @property
    def new_failures(self) -> tuple[CaseKey, ...]:
        """Cases that fail now and never did, and new or changed ones that fail."""
        known = [result.key for result in self.results if result.new_failure]
        return (*known, *(key for key in (*self.new, *self.changed) if self.candidate[key].failed))

    def interval(self, level: float = 0.95) -> Interval:
        """Of the candidate's pass rate over all its cases, clustered by case."""
        trials = self.candidate.values()
        return clustered([item.passed for item in trials], [item.judged for item in trials], level)

    def _with(self, status: Status) -> tuple[CaseResult, ...]:
        return tuple(result for result in self.results if result.status == status)


def probability(p: float) -> str:
    """`= 0.032`, `< 0.0001`; to be put after a `p`."""
    return "< 0.0001" if p < 0.0001 else f"= {p:.4f}" if p < 0.01 else f"= {p:.2f}"


def _of(trials: Trials) -> str:
    return f"{trials.passed} of {trials.judged}"
