"""Is the suite as a whole worse? The exact conditional test of a common change in many 2 × 2 tables, one a case.

Given each case's passes and trials of both sides together, the candidate's passes are hypergeometric when nothing has
changed, independently for each case; the test is on their sum. Cases keep their own difficulty: nothing is lost, or
gained, by a case that always passes or always fails. J. J. Gart, "Point and interval estimation of the common odds
ratio in the combination of 2 × 2 tables with fixed marginals", Biometrika 57 (1970), 471–475; A. Agresti,
"Categorical Data Analysis", 3rd ed. (2013), section 7.3.5. With one trial on each side it is McNemar's exact test: Q.
McNemar, "Note on the sampling error of the difference between correlated proportions or percentages", Psychometrika
12 (1947), 153–157.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from operator import mul

from aegis.regression.stats.discrete import hypergeometric

_NEGLIGIBLE = 1e-22
"""Of the largest probability: what is smaller, at the ends of long distributions, is left out. That changes a p-value
by less than 1e-17, and keeps the work for 10,000 cases small."""
_LONG = 512

Table = tuple[int, int, int, int]
"""(passed, trials, baseline passed, baseline trials) of one case."""
_Sum = tuple[int, list[float]]
"""(smallest possible sum, probabilities from there on)."""


@dataclass(frozen=True, slots=True)
class Stratified:
    p: float
    """P(as few passes in all, or fewer), if no case has changed."""
    observed: int
    """The candidate's passes."""
    expected: float
    """The passes that were to be expected."""
    strata: int
    """How many cases could speak: those with a pass and a failure among all their trials."""


def lower(tables: Iterable[Table]) -> Stratified:
    """Test whether the candidate passes less often; 1.0 when no case can speak."""
    groups: Counter[tuple[int, int, int]] = Counter()
    observed = 0
    for passed, trials, baseline_passed, baseline_trials in tables:
        groups[passed + baseline_passed, trials + baseline_trials, trials] += 1
        observed += passed
    sums, expected, strata = [], [], 0
    for (successes, total, drawn), count in groups.items():
        low, chances = hypergeometric(successes, total, drawn)
        expected.append(count * drawn * successes / total if total else 0.0)
        strata += count if len(chances) > 1 else 0
        sums.append(_power((low, chances), count))
    low, chances = _add_up(sums)
    p = math.fsum(chances[: observed - low + 1]) if observed >= low else 0.0
    return Stratified(min(1.0, p), observed, math.fsum(expected), strata)


def _add_up(sums: list[_Sum]) -> _Sum:
    """The distribution of the sum of independent numbers: short ones first, so that little is convolved with much."""
    queue = [(len(chances), index, (low, chances)) for index, (low, chances) in enumerate(sums)]
    heapq.heapify(queue)
    for index in range(len(sums), 2 * len(sums) - 1):
        first, second = heapq.heappop(queue)[2], heapq.heappop(queue)[2]
        both = _convolve(first, second)
        heapq.heappush(queue, (len(both[1]), index, both))
    return queue[0][2] if queue else (0, [1.0])


def _power(one: _Sum, count: int) -> _Sum:
    """The sum of `count` numbers of the same distribution, by repeated doubling."""
    result: _Sum | None = None
    while True:
        if count & 1:
            result = one if result is None else _convolve(result, one)
        count >>= 1
        if not count:
            assert result is not None
            return result
        one = _convolve(one, one)


def _convolve(first: _Sum, second: _Sum) -> _Sum:
    (low, long), (other_low, short) = sorted((first, second), key=lambda part: -len(part[1]))
    pad = [0.0] * (len(short) - 1)
    padded = pad + long + pad
    kernel = short[::-1]
    width = len(kernel)
    chances = [sum(map(mul, kernel, padded[at : at + width])) for at in range(len(padded) - width + 1)]
    return _trim(low + other_low, chances)


def _trim(low: int, chances: list[float]) -> _Sum:
    if len(chances) <= _LONG:
        return low, chances
    bound = max(chances) * _NEGLIGIBLE
    begin = next(index for index, chance in enumerate(chances) if chance > bound)
    end = next(index for index in range(len(chances), 0, -1) if chances[index - 1] > bound)
    return low + begin, chances[begin:end]
