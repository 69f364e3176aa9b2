"""How well a pass rate is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

Interval = tuple[float, float]
UNKNOWN: Interval = (0.0, 1.0)


def wilson(passed: float, trials: float, level: float = 0.95) -> Interval:
    """For independent trials. Both may be fractions, as an effective number of trials is.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal of the American
    Statistical Association 22 (1927), 209–212.
    """
    if trials <= 0:
        return UNKNOWN
    z = NormalDist().inv_cdf((1 + level) / 2)
    rate = passed / trials
    middle = rate + z * z / (2 * trials)
    reach = z * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    low = 0.0 if passed <= 0 else max(0.0, (middle - reach) / scale)
    high = 1.0 if passed >= trials else min(1.0, (middle + reach) / scale)
    return low, high


def clopper_pearson(passed: int, trials: int, level: float = 0.95) -> Interval:
    """For independent trials; never covers less often than `level`, which matters for one case's few trials.

    C. J. Clopper, E. S. Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial",
    Biometrika 26 (1934), 404–413.
    """
    tail = (1 - level) / 2
    return _lower_end(passed, trials, tail), 1 - _lower_end(trials - passed, trials, tail)


def clustered(passed: Sequence[int], trials: Sequence[int], level: float = 0.95) -> Interval:
    """For a suite: `passed[i]` of `trials[i]` of the i-th case. Trials of one case are alike, so they tell less about
    the suite than as many trials of different cases.

    The variance is the one for clustered data with the correction G / (G − 1) (E. Miller, "Adding error bars to
    evals", 2024, arXiv:2411.00640, section 2.2; A. C. Cameron, D. L. Miller, "A practitioner's guide to
    cluster-robust inference", Journal of Human Resources 50 (2015), 317–372). It gives an effective number of trials,
    at most the true one, for which Wilson's interval is taken: recommended for rates near 0 or 1 by C. Franco et al.,
    "Comparative study of confidence intervals for proportions in complex sample surveys", Journal of Survey
    Statistics and Methodology 7 (2019), 334–364. When all trials agree, nothing is known of the variance, and each
    case counts as one trial.
    """
    cases = [(x, n) for x, n in zip(passed, trials, strict=True) if n]
    total = sum(n for _, n in cases)
    if not total:
        return UNKNOWN
    rate = sum(x for x, _ in cases) / total
    effective = float(len(cases))
    if len(cases) > 1 and 0 < rate < 1:
        spread = math.fsum((x - rate * n) ** 2 for x, n in cases) * len(cases) / (len(cases) - 1)
        effective = min(total, rate * (1 - rate) * total * total / spread) if spread else total
    return wilson(rate * effective, effective, level)


def _lower_end(passed: int, trials: int, tail: float) -> float:
    """The rate at which `passed` passes, or more, have probability `tail`, by halving."""
    if passed == 0:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if 1 - _at_most(passed - 1, trials, middle) < tail:
            low = middle
        else:
            high = middle
    return low


def _at_most(passed: int, trials: int, rate: float) -> float:
    if rate <= 0 or rate >= 1:
        return 1.0 if rate <= 0 or passed >= trials else 0.0
    log_rate, log_rest = math.log(rate), math.log1p(-rate)
    whole = math.lgamma(trials + 1)
    return math.fsum(
        math.exp(
            whole - math.lgamma(x + 1) - math.lgamma(trials - x + 1) + x * log_rate + (trials - x) * log_rest
        )
        for x in range(passed + 1)
    )
