"""Is one case's pass rate lower than it was? Fisher's exact test, one-sided.

R. A. Fisher, "The logic of inductive inference", Journal of the Royal Statistical Society 98 (1935), 39–82.
"""

from __future__ import annotations

import math
from functools import lru_cache

from aegis.regression.stats.discrete import hypergeometric


@lru_cache(maxsize=65_536)
def lower(passed: int, trials: int, baseline_passed: int, baseline_trials: int) -> float:
    """P(as few passes among the new trials, or fewer), given all passes of both together.

    1.0 when there is nothing to compare (no trials on a side, or all of them alike).
    """
    low, chances = hypergeometric(passed + baseline_passed, trials + baseline_trials, trials)
    return min(1.0, math.fsum(chances[: passed - low + 1]))


def higher(passed: int, trials: int, baseline_passed: int, baseline_trials: int) -> float:
    """The same for as many passes, or more."""
    return lower(trials - passed, trials, baseline_trials - baseline_passed, baseline_trials)


def least(passed: int, trials: int, baseline_passed: int, baseline_trials: int) -> float:
    """The smallest p-value that `lower` could have had with these totals of passes and trials.

    A test whose smallest possible p-value is above the level can't reject, so it need not be counted when correcting
    for many tests: R. E. Tarone, "A modified Bonferroni method for discrete data", Biometrics 46 (1990), 515–522.
    """
    together = passed + baseline_passed
    fewest = max(0, together - baseline_trials)
    return lower(fewest, trials, together - fewest, baseline_trials)
