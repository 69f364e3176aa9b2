"""Which trials a run has, and in which order."""

from __future__ import annotations

import random

import pytest
from engine_values import case, suite

from aegis.engine.plan import make_plan, select, shuffled
from aegis.errors import NothingSelectedError, UsageError

SUITE = suite(case("a", tags=("x",)), case("b", trials=3), case("c", tags=("x",)), trials=2)


def test_each_case_runs_as_often_as_it_says() -> None:
    plan = make_plan(SUITE, SUITE.cases, trials=None)
    assert list(plan) == [
        ("a", "baseline", 1),
        ("a", "baseline", 2),
        ("b", "baseline", 1),
        ("b", "baseline", 2),
        ("b", "baseline", 3),
        ("c", "baseline", 1),
        ("c", "baseline", 2),
    ]


def test_the_override_beats_the_case() -> None:
    assert len(make_plan(SUITE, SUITE.cases, trials=5)) == 15


def test_the_order_of_execution_depends_on_the_seed_alone() -> None:
    plan = make_plan(SUITE, SUITE.cases, trials=10)
    first = shuffled(plan, 7)
    random.seed(3)
    assert shuffled(plan, 7) == first
    assert shuffled(plan, 8) != first
    assert sorted(shuffled(plan, 8)) == sorted(plan)


@pytest.mark.parametrize("trials", [0, -1, 10_000_000])
def test_a_senseless_number_of_trials_is_refused(trials: int) -> None:
    with pytest.raises(UsageError):
        make_plan(SUITE, SUITE.cases, trials=trials)


def test_selection_by_keyword_and_by_name() -> None:
    assert [item.id for item in select(SUITE, keyword="x")] == ["a", "c"]
    assert [item.id for item in select(SUITE, only={"b", "c"})] == ["b", "c"]
    assert [item.id for item in select(SUITE, keyword="x", only={"b", "c"})] == ["c"]


def test_nothing_selected_says_what_matched_nothing() -> None:
    with pytest.raises(NothingSelectedError, match=r"-k 'zzz' matches none of the 3 cases"):
        select(SUITE, keyword="zzz")
    with pytest.raises(NothingSelectedError):
        select(SUITE, only=set())
