"""Would as few passes be a surprise, after what the baseline has shown? The beta-binomial predictive distribution.

With Jeffreys' prior Beta(½, ½) and s passes of n baseline trials the pass rate is Beta(s + ½, n − s + ½), and the
passes of k further trials are beta-binomial: A. Gelman et al., "Bayesian Data Analysis", 3rd ed. (2013), section 2.4;
H. Jeffreys, "An invariant form for the prior probability in estimation problems", Proc. R. Soc. A 186 (1946),
453–461.
"""

from __future__ import annotations

import math
from functools import lru_cache

from aegis.regression.stats.discrete import probabilities


@lru_cache(maxsize=65_536)
def at_most(passed: int, trials: int, baseline_passed: int, baseline_trials: int) -> float:
    """P(at most `passed` passes in `trials` new trials | the baseline). Without a baseline the prior alone speaks."""
    a = baseline_passed + 0.5
    b = baseline_trials - baseline_passed + 0.5

    def ratio(x: int) -> float:
        return (trials - x) * (a + x) / ((x + 1) * (b + trials - x - 1))

    start = min(trials, round(trials * a / (a + b)))
    return min(1.0, math.fsum(probabilities(0, trials, start, ratio)[: passed + 1]))
