"""The tests of one table and of many, against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as oracle

from aegis.regression.stats import fisher, multiple, predictive, stratified
from aegis.regression.stats.discrete import hypergeometric
from support.fuzzing import examples


@st.composite
def tables(draw: st.DrawFn, largest: int = 40) -> tuple[int, int, int, int]:
    trials, baseline = draw(st.integers(0, largest)), draw(st.integers(0, largest))
    return draw(st.integers(0, trials)), trials, draw(st.integers(0, baseline)), baseline


def by_scipy(table: tuple[int, int, int, int], alternative: str) -> float:
    passed, trials, baseline_passed, baseline = table
    rows = [[passed, trials - passed], [baseline_passed, baseline - baseline_passed]]
    return oracle.fisher_exact(rows, alternative=alternative).pvalue


@given(tables())
@settings(max_examples=examples(500), deadline=None)
def test_fishers_test_is_scipys(table: tuple[int, int, int, int]) -> None:
    assert fisher.lower(*table) == pytest.approx(by_scipy(table, "less"), rel=1e-9)
    assert fisher.higher(*table) == pytest.approx(by_scipy(table, "greater"), rel=1e-9)


@given(tables(15))
@settings(max_examples=examples(200), deadline=None)
def test_the_least_p_value_is_that_of_the_most_uneven_table(table: tuple[int, int, int, int]) -> None:
    passed, trials, baseline_passed, baseline = table
    together = passed + baseline_passed
    possible = [
        fisher.lower(x, trials, together - x, baseline)
        for x in range(trials + 1)
        if 0 <= together - x <= baseline
    ]
    assert fisher.least(*table) == pytest.approx(min(possible))


def test_a_table_of_fifty_thousand_trials_is_exact_in_its_tail() -> None:
    table = (24_400, 25_000, 24_600, 25_000)
    total, passed = 50_000, 49_000
    expected = oracle.hypergeom.cdf(24_400, total, passed, 25_000)
    assert expected < 1e-9
    assert fisher.lower(*table) == pytest.approx(expected, rel=1e-6)


@given(tables())
@settings(max_examples=examples(500), deadline=None)
def test_the_predictive_probability_is_beta_binomial(table: tuple[int, int, int, int]) -> None:
    passed, trials, baseline_passed, baseline = table
    a, b = baseline_passed + 0.5, baseline - baseline_passed + 0.5
    expected = oracle.betabinom.cdf(passed, trials, a, b)
    assert predictive.at_most(*table) == pytest.approx(expected, rel=1e-8, abs=1e-12)


def test_the_predictive_probability_of_many_trials() -> None:
    expected = oracle.betabinom.cdf(4_000, 5_000, 41_000.5, 9_000.5)
    assert predictive.at_most(4_000, 5_000, 41_000, 50_000) == pytest.approx(expected, rel=1e-6)


def overall_by_numpy(given_tables: list[tuple[int, int, int, int]]) -> float:
    chances, observed = np.ones(1), 0
    for passed, trials, baseline_passed, baseline in given_tables:
        spread = oracle.hypergeom.pmf(
            np.arange(trials + 1), trials + baseline, passed + baseline_passed, trials
        )
        chances = np.convolve(chances, np.nan_to_num(spread, nan=1.0))
        observed += passed
    return float(chances[: observed + 1].sum())


@given(st.lists(tables(12), max_size=25))
@settings(max_examples=examples(300), deadline=None)
def test_the_overall_test_is_the_convolution_of_all_cases(
    given_tables: list[tuple[int, int, int, int]],
) -> None:
    found = stratified.lower(given_tables)
    assert found.p == pytest.approx(overall_by_numpy(given_tables), rel=1e-8, abs=1e-14)
    assert found.observed == sum(table[0] for table in given_tables)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), max_size=60))
@settings(max_examples=examples(300), deadline=None)
def test_with_one_trial_a_side_it_is_mcnemars_exact_test(pairs: list[tuple[int, int]]) -> None:
    broke = sum(before > now for before, now in pairs)
    fixed = sum(before < now for before, now in pairs)
    expected = oracle.binomtest(fixed, broke + fixed, alternative="less").pvalue if broke + fixed else 1.0
    found = stratified.lower([(now, 1, before, 1) for before, now in pairs])
    assert found.p == pytest.approx(expected)
    assert found.strata == broke + fixed


def test_one_case_alone_is_fishers_test() -> None:
    assert stratified.lower([(1, 3, 19, 20)]).p == pytest.approx(fisher.lower(1, 3, 19, 20))


def test_no_case_and_cases_that_cannot_speak_are_no_evidence() -> None:
    assert stratified.lower([]) == stratified.Stratified(1.0, 0, 0.0, 0)
    silent = stratified.lower([(3, 3, 20, 20), (0, 3, 0, 20), (0, 0, 5, 20)])
    assert (silent.p, silent.strata) == (1.0, 0)


@pytest.mark.parametrize("shift", [-3.0, -1.0, 0.0, 2.0])
def test_ten_thousand_cases_agree_with_the_normal_approximation(shift: float) -> None:
    """Long distributions are trimmed at their ends; what is left has to be right in the middle and in the tails."""
    shapes = [(18, 23, 3), (22, 25, 5), (10, 20, 4), (24, 25, 5)]
    counts = 2_500
    mean = sum(counts * drawn * successes / total for successes, total, drawn in shapes)
    variance = sum(
        counts * drawn * successes / total * (1 - successes / total) * (total - drawn) / (total - 1)
        for successes, total, drawn in shapes
    )
    observed = round(mean + shift * math.sqrt(variance))
    left, given_tables = observed, []
    for successes, total, drawn in shapes * counts:
        passed = min(drawn, successes, left)
        left -= passed
        given_tables.append((passed, drawn, successes - passed, total - drawn))
    assert left == 0
    found = stratified.lower(given_tables)
    expected = oracle.norm.cdf((observed + 0.5 - mean) / math.sqrt(variance))
    assert found.expected == pytest.approx(mean)
    assert found.p == pytest.approx(expected, rel=0.02)


@given(st.integers(0, 60), st.integers(1, 60), st.integers(0, 60))
@settings(max_examples=examples(200), deadline=None)
def test_probabilities_are_the_hypergeometric_ones(successes: int, failures: int, drawn: int) -> None:
    drawn = min(drawn, successes + failures)
    low, chances = hypergeometric(successes, successes + failures, drawn)
    expected = oracle.hypergeom.pmf(range(low, low + len(chances)), successes + failures, successes, drawn)
    assert chances == pytest.approx(list(expected), rel=1e-8)


p_values = st.lists(st.floats(0, 1), max_size=40)


@given(p_values)
@settings(max_examples=examples(200), deadline=None)
def test_benjamini_and_hochberg_is_scipys(values: list[float]) -> None:
    expected = list(oracle.false_discovery_control(values)) if values else []
    assert multiple.benjamini_hochberg(values) == pytest.approx(expected)


@given(p_values, st.floats(0.001, 0.5))
@settings(max_examples=examples(200), deadline=None)
def test_holm_rejects_what_its_procedure_rejects(values: list[float], level: float) -> None:
    rejected: set[int] = set()
    for rank, index in enumerate(sorted(range(len(values)), key=lambda at: values[at])):
        if (len(values) - rank) * values[index] > level:
            break
        rejected.add(index)
    adjusted = multiple.holm(values)
    assert {index for index, value in enumerate(adjusted) if value <= level} == rejected


def test_holm_by_hand() -> None:
    assert multiple.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert multiple.holm([0.9, 0.8]) == [1.0, 1.0]
