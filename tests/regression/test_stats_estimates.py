"""pass^k, intervals, ranks, permutations and distances, against scipy or by counting everything."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import combinations, product
from random import Random

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats as oracle

from aegis.regression.stats import distances, intervals, passk, permutation, wilcoxon
from support.fuzzing import examples


@pytest.mark.parametrize(("passed", "trials", "k"), [(3, 5, 2), (5, 5, 3), (2, 6, 3), (0, 4, 1), (4, 4, 4)])
def test_pass_hat_k_is_the_share_of_subsets_that_all_pass(passed: int, trials: int, k: int) -> None:
    outcomes = [True] * passed + [False] * (trials - passed)
    subsets = list(combinations(outcomes, k))
    assert passk.all_pass(passed, trials, k) == pytest.approx(sum(map(all, subsets)) / len(subsets))


def test_pass_hat_k_needs_k_trials() -> None:
    assert passk.all_pass(2, 2, 3) is None
    with pytest.raises(ValueError, match="at least 1"):
        passk.all_pass(2, 2, 0)


@given(st.integers(1, 80), st.data(), st.sampled_from([0.8, 0.95, 0.99]))
@settings(max_examples=examples(300), deadline=None)
def test_intervals_of_one_rate_are_scipys(trials: int, data: st.DataObject, level: float) -> None:
    passed = data.draw(st.integers(0, trials))
    test = oracle.binomtest(passed, trials)
    wilson = test.proportion_ci(level, method="wilson")
    exact = test.proportion_ci(level, method="exact")
    assert intervals.wilson(passed, trials, level) == pytest.approx((wilson.low, wilson.high), abs=1e-9)
    assert intervals.clopper_pearson(passed, trials, level) == pytest.approx(
        (exact.low, exact.high), abs=1e-9
    )


def test_nothing_is_known_without_trials() -> None:
    assert intervals.wilson(0, 0) == (0.0, 1.0)
    assert intervals.clopper_pearson(0, 0) == (0.0, 1.0)
    assert intervals.clustered([], []) == (0.0, 1.0)
    assert intervals.clustered([0, 0], [0, 0]) == (0.0, 1.0)


def test_trials_that_all_agree_within_cases_count_once_a_case() -> None:
    """10 cases × 5 trials, each case always the same: as good as 10 trials, up to the factor (G − 1) / G."""
    found = intervals.clustered([5] * 6 + [0] * 4, [5] * 10)
    assert found == pytest.approx(intervals.wilson(0.6 * 9, 9))


def test_a_suite_that_always_passes_is_known_as_well_as_its_number_of_cases_tells() -> None:
    assert intervals.clustered([5] * 10, [5] * 10) == intervals.wilson(10, 10)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 6)), min_size=2, max_size=30))
@settings(max_examples=examples(200), deadline=None)
def test_the_clustered_interval_holds_the_rate_and_is_no_narrower_than_wilsons(
    cases: list[tuple[int, int]],
) -> None:
    passed, trials = [min(x, n) for x, n in cases], [n for _, n in cases]
    low, high = intervals.clustered(passed, trials)
    plain = intervals.wilson(sum(passed), sum(trials))
    assert 0 <= low <= sum(passed) / sum(trials) <= high <= 1
    assert high - low >= plain[1] - plain[0] - 1e-12


def test_the_clustered_interval_covers_the_true_rate_where_the_plain_one_does_not() -> None:
    random = Random(5)
    covered, plainly, runs = 0, 0, 600
    for _ in range(runs):
        rates = [random.betavariate(0.8, 0.2) for _ in range(60)]
        passed = [sum(random.random() < rate for _ in range(8)) for rate in rates]
        low, high = intervals.clustered(passed, [8] * 60)
        covered += low <= 0.8 <= high
        low, high = intervals.wilson(sum(passed), 480)
        plainly += low <= 0.8 <= high
    assert covered / runs > 0.92
    assert plainly / runs < 0.75


def by_all_signs(values: list[int]) -> float:
    kept = [value for value in values if value]
    ranks = oracle.rankdata(np.abs(kept))
    observed = sum(rank for rank, value in zip(ranks, kept, strict=True) if value > 0)
    sums = [
        sum(rank for rank, up in zip(ranks, signs, strict=True) if up)
        for signs in product([False, True], repeat=len(kept))
    ]
    return float(np.mean([total >= observed - 1e-9 for total in sums]))


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=9))
@settings(max_examples=examples(100), deadline=None)
def test_signed_ranks_with_ties_are_counted_exactly(values: list[int]) -> None:
    assume(any(values))
    assert wilcoxon.greater(values) == pytest.approx(by_all_signs(values))


@given(st.lists(st.floats(-10, 10, allow_subnormal=False), min_size=1, max_size=40, unique_by=abs))
@settings(max_examples=examples(200), deadline=None)
def test_signed_ranks_without_ties_are_scipys_exact_ones(values: list[float]) -> None:
    values = [value for value in values if value]
    assume(values)
    expected = oracle.wilcoxon(values, alternative="greater", method="exact").pvalue
    assert wilcoxon.greater(values) == pytest.approx(expected)


@given(st.lists(st.integers(-9, 12), min_size=80, max_size=200))
@settings(max_examples=examples(100), deadline=None)
def test_many_signed_ranks_are_scipys_approximation(values: list[int]) -> None:
    kept = [value for value in values if value]
    assume(len(kept) > wilcoxon.EXACT_UP_TO)
    expected = oracle.wilcoxon(kept, alternative="greater", method="asymptotic", correction=True).pvalue
    # scipy corrects towards the mean on either side of it, which differs at most by the step itself.
    statistic = oracle.wilcoxon(kept, alternative="greater", method="asymptotic", correction=False)
    if statistic.statistic > len(kept) * (len(kept) + 1) / 4 + 1:
        assert wilcoxon.greater(values) == pytest.approx(expected, rel=1e-6, abs=1e-12)
    else:
        assert wilcoxon.greater(values) >= statistic.pvalue


def test_no_difference_is_no_evidence() -> None:
    assert wilcoxon.greater([]) == 1.0
    assert wilcoxon.greater([0.0, 0.0]) == 1.0


def matrix(points: list[int]) -> permutation.Distances:
    return tuple(tuple(float(abs(a - b)) for b in points) for a in points)


def by_definition(points: list[int], group: tuple[int, ...]) -> float:
    other = [at for at in range(len(points)) if at not in group]
    between = np.mean([abs(points[a] - points[b]) for a in group for b in other])
    within = [
        np.mean([abs(points[a] - points[b]) for a, b in combinations(part, 2)])
        for part in (group, other)
        if len(part) > 1
    ]
    return float(between - (np.mean(within) if within else 0.0))


@given(st.lists(st.integers(0, 4), min_size=2, max_size=9), st.data())
@settings(max_examples=examples(150), deadline=None)
def test_the_permutation_test_counts_all_divisions(points: list[int], data: st.DataObject) -> None:
    first = data.draw(st.integers(1, len(points) - 1))
    candidate = tuple(range(first, len(points)))
    observed = by_definition(points, candidate)
    assert permutation.statistic(matrix(points), first) == pytest.approx(observed)
    values = [by_definition(points, group) for group in combinations(range(len(points)), len(candidate))]
    expected = float(np.mean([value >= observed - 1e-9 for value in values])) if observed > 1e-9 else 1.0
    found = permutation.larger_between(matrix(points), first)
    assert found == pytest.approx(expected)
    assert found >= permutation.least(first, len(candidate)) - 1e-12


def test_the_permutation_test_is_scipys() -> None:
    first, second = [0.0, 1.0, 2.5, 3.0, 1.5], [4.0, 2.0, 6.0, 7.5]

    def value(a: np.ndarray, b: np.ndarray) -> float:
        return by_definition([*a, *b], tuple(range(len(a), len(a) + len(b))))

    expected = oracle.permutation_test(
        (first, second), value, vectorized=False, n_resamples=np.inf, alternative="greater"
    )
    assert permutation.larger_between(matrix([*first, *second]), 5) == pytest.approx(expected.pvalue)


def test_too_many_divisions_are_sampled_and_always_alike() -> None:
    random = Random(3)
    points = [random.randrange(50) for _ in range(20)] + [random.randrange(20, 50) for _ in range(6)]
    assert math.comb(26, 6) > permutation.EXACT_UP_TO
    found = permutation.larger_between(matrix(points), 20)
    permutation._deals.cache_clear()
    assert permutation.larger_between(matrix(points), 20) == found
    groups = list(combinations(range(26), 6))[::23]
    observed = by_definition(points, tuple(range(20, 26)))
    estimate = float(np.mean([by_definition(points, group) >= observed for group in groups]))
    assert 0.01 < estimate < 0.5
    assert found == pytest.approx(estimate, abs=0.03)


def test_a_sampled_p_value_is_never_zero() -> None:
    apart = [0] * 20 + [100] * 6
    assert permutation.larger_between(matrix(apart), 20) == 1 / permutation.EXACT_UP_TO


@pytest.mark.parametrize(("first", "second"), [(5, 5), (4, 5), (1, 4), (20, 3), (3, 20), (20, 1)])
def test_trials_of_a_few_kinds_are_tested_as_any_others(first: int, second: int) -> None:
    random = Random(first * 100 + second)
    for _ in range(40):
        drawn = [random.randrange(random.choice([1, 2, 6])) for _ in range(first)]
        drawn += [random.randrange(random.choice([2, 6])) for _ in range(second)]
        number: dict[int, int] = {}
        places = [number.setdefault(kind, len(number)) for kind in drawn]
        alike = random.random() < 0.3
        apart = [0.25 if alike else random.choice([0.1, 0.5, 1.0]) for _ in combinations(number, 2)]
        of_kinds = dict(zip(combinations(range(len(number)), 2), apart, strict=True))
        full = [[of_kinds.get((min(a, b), max(a, b)), 0.0) for b in places] for a in places]
        for above in (0.1, 1.0):
            expected = permutation.larger_between(full, first, above)
            assert permutation.larger_between_kinds(places, apart, first, above) == expected


def test_a_side_without_trials_is_no_evidence() -> None:
    assert permutation.larger_between(matrix([1, 2]), 2) == 1.0
    assert permutation.larger_between(matrix([1, 2]), 0) == 1.0


words = st.lists(st.sampled_from("abcd"), max_size=7).map(tuple)


def by_recursion(first: tuple[str, ...], second: tuple[str, ...]) -> int:
    @lru_cache(None)
    def cost(a: int, b: int) -> int:
        if not a or not b:
            return a + b
        replaced = cost(a - 1, b - 1) + (first[a - 1] != second[b - 1])
        return min(replaced, cost(a - 1, b) + 1, cost(a, b - 1) + 1)

    return cost(len(first), len(second))


@given(words, words)
@settings(max_examples=examples(300), deadline=None)
def test_the_edit_distance_is_the_cheapest_way(first: tuple[str, ...], second: tuple[str, ...]) -> None:
    longer = max(len(first), len(second), 1)
    assert distances.edit(first, second) == pytest.approx(by_recursion(first, second) / longer)
    assert distances.edit(first, second) == distances.edit(second, first)


def test_distances_by_hand() -> None:
    assert distances.edit((), ()) == 0.0
    assert distances.edit((), ("a",)) == 1.0
    assert distances.edit(("a", "b"), ("b", "a")) == 1.0
    assert distances.jaccard(frozenset("abc"), frozenset("bcd")) == pytest.approx(0.5)
    assert distances.jaccard(frozenset(), frozenset()) == 0.0
    assert distances.shingles(("a", "b", "c")) == {("a", "b"), ("b", "c")}
    assert distances.shingles(("a",)) == {("a",)}
    assert distances.shingles(()) == frozenset()


@given(st.lists(st.lists(st.sampled_from([0, 1, 2, 3, 2**32 - 1]), max_size=9).map(tuple), max_size=7))
@settings(max_examples=examples(300), deadline=None)
def test_texts_as_bits_are_as_far_apart_as_their_shingles(texts: list[tuple[int, ...]]) -> None:
    sets = [distances.shingles(text) for text in texts]
    expected = [distances.jaccard(one, other) for one, other in combinations(sets, 2)]
    assert distances.shingle_jaccards(texts) == pytest.approx(expected)


def test_a_very_long_text_is_compared_too() -> None:
    assert distances.shingle_jaccards([range(6_000), range(3_000, 9_000)]) == pytest.approx(
        [1 - 2_999 / 8_999]
    )
