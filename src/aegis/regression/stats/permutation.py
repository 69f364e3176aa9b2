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
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import combinations
from operator import itemgetter
from random import Random
from typing import Any

EXACT_UP_TO = 2_000
_ROUNDING = 1e-9
_AT_ONCE = 32

Distances = Sequence[Sequence[float]]
"""A symmetric matrix with zeros on its diagonal."""


def larger_between(distances: Distances, first: int, above: float = 1.0) -> float:
    """P(so much more distance between than within) when the first `first` trials are one group, the others the other.

    1.0 at once when the distance between is not the larger one. Always the same for the same input. Who has no use for
    p-values larger than `above` gets 1.0 for them, and much sooner.
    """
    second = len(distances) - first
    if first < 1 or second < 1:
        return 1.0
    dealer = _Dealer(distances, first)
    observed = dealer.observed
    if observed <= _ROUNDING:
        return 1.0
    ways = min(math.comb(first + second, second), EXACT_UP_TO)
    found = _found(dealer, first, second, observed - _ROUNDING, above * ways)
    return 1.0 if found is None else found


def statistic(distances: Distances, first: int) -> float:
    """Mean distance between the groups less the mean distance within."""
    return _Dealer(distances, first).observed


@lru_cache(maxsize=4_096)
def least(first: int, second: int) -> float:
    """The smallest p-value that groups of these sizes can have. Groups of the same size can change places."""
    ways = math.comb(first + second, second)
    return min(1.0, (2 if first == second else 1) / min(ways, EXACT_UP_TO))


def _found(dealer: _Dealer, first: int, second: int, bound: float, most: float) -> float | None:
    """The share of dealings with as large a statistic; None as soon as more than `most` of them have one."""
    deals, sampled = _deals(first, second)
    # Groups of the same size can change places: half of the ways are looked at.
    weight = 2 if first == second and not sampled else 1
    # The true one is counted with a sample.
    count = 1 if sampled else 0
    for begin in range(0, len(deals), _AT_ONCE):
        values = dealer.statistics(deals[begin : begin + _AT_ONCE])
        count += weight * sum([value >= bound for value in values])
        if count > most:
            return None
    return count / (EXACT_UP_TO if sampled else weight * len(deals))


_Pick = Callable[[Sequence[float]], Any]
"""Takes out of a list of pairs those within one group."""


@lru_cache(maxsize=64)
def _deals(first: int, second: int) -> tuple[list[_Pick], bool]:
    """The ways to deal anew, and whether they are a sample: each as the pairs within the smaller group."""
    size = first + second
    everyone = range(size)
    random = Random(0)  # any fixed number: the same traces give the same report
    sampled = math.comb(size, second) > EXACT_UP_TO
    if sampled:
        dealt = [tuple(random.sample(everyone, second)) for _ in range(EXACT_UP_TO - 1)]
    else:
        dealt = list(combinations(everyone, second))
    if first < second:
        dealt = [tuple(set(everyone).difference(group)) for group in dealt]
    elif first == second and not sampled:
        dealt = [group for group in dealt if 0 in group]
    # In no order, so that counting can stop soon.
    random.shuffle(dealt)
    number = {pair: index for index, pair in enumerate(_pairs(size))}
    return [itemgetter(*_within(group, number)) for group in dealt], sampled


def _within(group: Sequence[int], number: Mapping[tuple[int, int], int]) -> Sequence[int]:
    if len(group) == 1:
        return group
    return [number[pair] for pair in combinations(sorted(group), 2)]


@lru_cache(maxsize=64)
def _pairs(size: int) -> list[tuple[int, int]]:
    return list(combinations(range(size), 2))


class _Dealer:
    """The statistic of any division into groups of the same sizes, from the smaller group alone.

    It is linear in the distances within that group and in what its members are from everyone, which can be shared out
    among the pairs of members: so it is a sum over the group's pairs (over its members, when there is but one).
    """

    def __init__(self, distances: Distances, first: int) -> None:
        second = len(distances) - first
        small, large = sorted((first, second))
        groups = (first > 1) + (second > 1)
        between = 1 / (first * second)
        within_large = 2 / (large * (large - 1) * groups) if large > 1 else 0.0
        within_small = 2 / (small * (small - 1) * groups) if small > 1 else 0.0
        rows = [sum(row) for row in distances]
        self._constant = sum(rows) / 2 * within_large
        reach = between + within_large
        inside = 2 * between + within_large + within_small
        self._single, self._alone = small == 1, small <= 2
        if self._single:
            self._terms = [row * reach for row in rows]
        else:
            share = reach / (small - 1)
            shared = [row * share for row in rows]
            self._terms = [
                shared[a] + shared[b] - inside * distances[a][b] for a, b in _pairs(len(distances))
            ]
        group = range(first) if first < second else range(first, len(distances))
        if self._single:
            self.observed = self._terms[group[0]] - self._constant
        else:
            chosen = set(group)
            terms = zip(_pairs(len(distances)), self._terms, strict=True)
            self.observed = (
                sum(term for (a, b), term in terms if a in chosen and b in chosen) - self._constant
            )

    def statistics(self, picks: Sequence[_Pick]) -> list[float]:
        terms, constant = self._terms, self._constant
        if self._alone:
            return [pick(terms) - constant for pick in picks]
        return [sum(pick(terms)) - constant for pick in picks]
