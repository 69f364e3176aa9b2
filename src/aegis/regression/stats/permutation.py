"""Do two groups differ more from each other than within themselves? A permutation test on distances.

The statistic is the mean distance between the groups less the mean of the mean distances within them, as in the
energy statistic of G. J. Székely and M. L. Rizzo, "Energy statistics: a class of statistics based on distances",
Journal of Statistical Planning and Inference 143 (2013), 1249–1272; a group of one has no distance within. The
p-value counts the ways of dealing the trials anew that give as large a value: M. D. Ernst, "Permutation methods: a
basis for exact inference", Statistical Science 19 (2004), 676–685. When there are more than `EXACT_UP_TO` ways, a
sample of them is drawn, and the true one is counted with it: B. Phipson, G. K. Smyth, "Permutation p-values should
never be zero", Statistical Applications in Genetics and Molecular Biology 9 (2010), article 39.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import combinations
from random import Random

EXACT_UP_TO = 2_000
_ROUNDING = 1e-9

Distances = tuple[tuple[float, ...], ...]
"""A symmetric matrix with zeros on its diagonal."""


def larger_between(distances: Distances, first: int) -> float:
    """P(so much more distance between than within) when the first `first` trials are one group, the others the other.

    1.0 at once when the distance between is not the larger one. Always the same for the same input.
    """
    second = len(distances) - first
    if first < 1 or second < 1 or statistic(distances, first) <= _ROUNDING:
        return 1.0
    return _p(distances, first)


def statistic(distances: Distances, first: int) -> float:
    """Mean distance between the groups less the mean distance within."""
    return _Dealer(distances, first).statistic(range(first, len(distances)))


def least(first: int, second: int) -> float:
    """The smallest p-value that groups of these sizes can have. Groups of the same size can change places."""
    ways = math.comb(first + second, second)
    return min(1.0, (2 if first == second else 1) / min(ways, EXACT_UP_TO))


@lru_cache(maxsize=4_096)
def _p(distances: Distances, first: int) -> float:
    dealer = _Dealer(distances, first)
    size = len(distances)
    bound = dealer.statistic(range(first, size)) - _ROUNDING
    second = size - first
    if math.comb(size, second) <= EXACT_UP_TO:
        dealt: Iterable[Sequence[int]] = combinations(range(size), second)
        found = [dealer.statistic(group) >= bound for group in dealt]
        return sum(found) / len(found)
    random = Random(0)  # any fixed number: the same traces give the same report
    everyone = range(size)
    drawn = (random.sample(everyone, second) for _ in range(EXACT_UP_TO - 1))
    return (1 + sum(dealer.statistic(group) >= bound for group in drawn)) / EXACT_UP_TO


class _Dealer:
    """The statistic of any division into groups of the same sizes, from the second group alone."""

    def __init__(self, distances: Distances, first: int) -> None:
        second = len(distances) - first
        self._distances = distances
        self._rows = [sum(row) for row in distances]
        self._total = sum(self._rows) / 2
        self._between = 1 / (first * second)
        groups = (first > 1) + (second > 1)
        self._within_first = 2 / (first * (first - 1) * groups) if first > 1 else 0.0
        self._within_second = 2 / (second * (second - 1) * groups) if second > 1 else 0.0

    def statistic(self, group: Sequence[int]) -> float:
        rows = sum([self._rows[index] for index in group])
        inside = sum([self._distances[a][b] for a, b in combinations(group, 2)]) if len(group) > 1 else 0.0
        return (
            (rows - 2 * inside) * self._between
            - (self._total - rows + inside) * self._within_first
            - inside * self._within_second
        )
