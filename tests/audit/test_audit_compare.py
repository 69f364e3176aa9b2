"""Orders, rates and which cases differ: functions of values."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from aegis.audit import compare
from aegis.audit.model import Seen, Sequence, Tally, Trial, tally
from aegis.audit.orders import AS_WRITTEN, REVERSED, make_orders

plans = st.lists(st.integers(0, 30), unique=True, max_size=12).map(
    lambda numbers: tuple(Trial(f"case-{number}", 1) for number in numbers)
)


@given(plans, st.integers(1, 8), st.integers(0, 2**32))
def test_orders_are_different_permutations_and_the_first_is_as_written(
    plan: tuple[Trial, ...], count: int, seed: int
) -> None:
    orders = make_orders(plan, count, seed)
    assert orders[AS_WRITTEN] == plan
    assert all(sorted(order) == sorted(plan) for order in orders.values())
    assert len(set(orders.values())) == len(orders) <= count
    assert orders == make_orders(plan, count, seed)
    if count > 1 and len(plan) > 1:
        assert orders[REVERSED] == plan[::-1]


def test_a_short_plan_has_all_the_orders_that_there_are() -> None:
    plan = tuple(Trial(name, 1) for name in "abc")
    assert len(make_orders(plan, 6, 1)) >= 4
    assert make_orders(plan[:1], 5, 1) == {AS_WRITTEN: plan[:1]}


def seen(case: str, *outcomes: str) -> list[Seen]:
    return [Seen(Trial(case, number), outcome) for number, outcome in enumerate(outcomes, 1)]


def in_order(mode: str, *trials: Seen) -> Sequence:
    return Sequence("reset" if mode == "reset" else "shared", "as written", trials)


@given(st.integers(0, 12), st.integers(1, 12), st.integers(0, 12), st.integers(1, 12))
def test_the_two_sided_value_is_twice_the_smaller_tail(a: int, n: int, b: int, m: int) -> None:
    a, b = min(a, n), min(b, m)
    table = [[a, n - a], [b, m - b]]
    tails = [stats.fisher_exact(table, alternative=side)[1] for side in ("less", "greater")]
    assert compare.two_sided(Tally(a, n), Tally(b, m)) == pytest.approx(min(1.0, 2 * min(tails)))


def test_what_was_not_judged_is_in_no_rate() -> None:
    rate = compare.rate([*seen("a", "passed", "failed"), *seen("b", "error", "timeout")])
    assert (rate.passed, rate.judged, rate.errors) == (1, 3, 1)
    assert rate.value == pytest.approx(1 / 3)
    assert rate.low < 1 / 3 < rate.high
    assert compare.rate([]).value is None


def test_candidates_are_cases_that_once_ended_otherwise_than_alone() -> None:
    fresh = [
        *seen("same", "passed"),
        *seen("masked", "failed"),
        *seen("broken", "passed"),
        *seen("lost", "error"),
    ]
    shared = in_order(
        "shared",
        *seen("same", "passed"),
        *seen("masked", "passed"),
        *seen("broken", "timeout"),
        *seen("lost", "passed"),
    )
    assert compare.candidates(fresh, [shared]) == ["masked", "broken"]


def test_an_error_in_a_shared_machine_is_no_difference() -> None:
    assert compare.candidates(seen("a", "passed"), [in_order("shared", *seen("a", "error"))]) == []


def test_case_values_are_adjusted_for_the_cases_that_can_differ() -> None:
    fresh = [
        *seen("leaks", *["failed"] * 6),
        *seen("flaky", "passed", "failed"),
        *seen("steady", *["passed"] * 6),
    ]
    after = [
        *seen("leaks", *["passed"] * 6),
        *seen("flaky", "failed", "failed"),
        *seen("steady", *["passed"] * 6),
    ]
    values = compare.case_values(fresh, after)
    alone = compare.two_sided(Tally(0, 6), Tally(6, 6))
    assert values["steady"] == values["flaky"] == 1.0
    assert values["leaks"] == pytest.approx(alone)  # the others cannot differ, so they are not counted


def test_the_value_of_the_suite_sees_many_small_differences_of_one_direction() -> None:
    fresh = [one for case in range(12) for one in seen(f"case-{case}", "failed")]
    after = [one for case in range(12) for one in seen(f"case-{case}", "passed")]
    assert compare.suite_value(fresh, after) == pytest.approx(2 / 2**12)
    assert compare.suite_value(fresh, fresh) == 1.0
    assert max(compare.case_values(fresh, after).values()) == 1.0


@given(st.integers(1, 40))
def test_repeats_reach_the_level_of_their_experiment(experiments: int) -> None:
    repeats = compare.repeats(experiments)
    assert repeats.least == pytest.approx(1 / math.comb(repeats.alone + repeats.after, repeats.after))
    assert repeats.least <= compare.LEVEL / 2 / experiments
    all_pass, none = Tally(repeats.alone, repeats.alone), Tally(0, repeats.after)
    sure, value = compare.confirmed(True, all_pass, none, experiments)
    assert sure
    assert value == pytest.approx(repeats.least)
    assert compare.confirmed(False, none, all_pass, experiments)[0]


def test_one_run_that_does_not_agree_confirms_nothing() -> None:
    repeats = compare.repeats(1)
    one_off = Tally(1, repeats.after)
    assert not compare.confirmed(True, Tally(repeats.alone, repeats.alone), one_off, 1)[0]
    # The wrong direction is no confirmation either.
    assert not compare.confirmed(False, Tally(repeats.alone, repeats.alone), Tally(0, repeats.after), 1)[0]
    assert not compare.confirmed(True, Tally(0, 0), Tally(0, 0), 1)[0]


@settings(max_examples=30)
@given(st.integers(0, 2**32))
def test_coins_are_rarely_taken_for_leaks(seed: int) -> None:
    """Twenty coin flips of agents, one order: nothing of that is evidence about a case by itself."""
    import random

    draw = random.Random(seed)
    flip = [draw.choice(("passed", "failed")) for _ in range(40)]
    fresh = [one for case in range(20) for one in seen(f"case-{case}", flip[case])]
    after = [one for case in range(20) for one in seen(f"case-{case}", flip[20 + case])]
    assert (
        max(compare.case_values(fresh, after).values())
        == 1.0
        == min(compare.case_values(fresh, after).values())
    )


def test_a_tie_counts_as_a_failure() -> None:
    assert not tally(seen("a", "passed", "failed")).majority
    assert tally(seen("a", "passed", "passed", "failed")).majority
