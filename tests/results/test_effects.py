"""What each kind of stress costs."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.results.effects import effects, interval
from support.fuzzing import examples


def trials(case: str, variant: str, *outcomes: str, rewritten: int | None = None) -> list[dict[str, object]]:
    return [
        {"case": case, "variant": variant, "number": number, "outcome": outcome, "rewritten": rewritten}
        for number, outcome in enumerate(outcomes, 1)
    ]


P, F, E, T = "passed", "failed", "error", "timeout"


def test_each_variant_is_compared_with_the_case_as_written() -> None:
    found = effects(
        [
            *trials("a", "baseline", P, P),
            *trials("a", "typos.5", P, F),
            *trials("b", "baseline", P, F),
            *trials("b", "typos.5", F, F),
            *trials("a", "deep", P, P),
        ]
    )
    typos, deep = found
    assert (typos["variant"], typos["transform"], typos["level"]) == ("typos.5", "typos", "5")
    assert (typos["cases"], typos["pairs"]) == (2, 4)
    assert (typos["reference_rate"], typos["rate"], typos["change"]) == (0.75, 0.25, -0.5)
    assert typos["broken"] == ["a", "b"]
    assert (deep["level"], deep["change"], deep["broken"]) == ("", 0.0, [])
    assert deep["interval"][0] < 0 < deep["interval"][1]


def test_a_case_counts_once_however_often_it_ran() -> None:
    once = [
        *trials("a", "baseline", P),
        *trials("a", "x", F),
        *trials("b", "baseline", P),
        *trials("b", "x", P),
    ]
    few = effects(once)
    many = effects(
        [
            *trials("a", "baseline", *[P] * 50),
            *trials("a", "x", *[F] * 50),
            *trials("b", "baseline", *[P] * 50),
            *trials("b", "x", *[P] * 50),
        ]
    )
    assert few[0]["interval"] == many[0]["interval"]
    assert few[0]["change"] == many[0]["change"] == -0.5


def test_both_rates_and_their_difference_are_means_over_cases() -> None:
    (found,) = effects(
        [
            *trials("a", "baseline", P, P, P),
            *trials("a", "x", F, F, F),
            *trials("b", "baseline", P),
            *trials("b", "x", P),
        ]
    )
    assert (found["reference_rate"], found["rate"], found["change"]) == (1.0, 0.5, -0.5)


Outcomes = st.lists(st.sampled_from((P, F, E, T)), min_size=1, max_size=5)


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(st.tuples(Outcomes, Outcomes), min_size=1, max_size=8))
def test_the_figures_of_any_run_fit_together(cases: list[tuple[list[str], list[str]]]) -> None:
    (found,) = effects(
        trial
        for number, (before, after) in enumerate(cases)
        for trial in (*trials(f"{number}", "baseline", *before), *trials(f"{number}", "x", *after))
    )
    if found["change"] is None:
        assert found["pairs"] == 0
        return
    assert found["change"] == found["rate"] - found["reference_rate"]
    assert 0 <= found["rate"] <= 1
    assert 0 <= found["reference_rate"] <= 1
    low, high = found["interval"]
    assert low - 1e-9 <= found["change"] <= high + 1e-9


def test_pairs_in_which_the_rewrite_reached_nothing_are_left_out_and_told() -> None:
    (found,) = effects(
        [
            *trials("a", "baseline", P, P),
            *trials("a", "bloat", F, F, rewritten=3),
            *trials("b", "baseline", P, P),
            *trials("b", "bloat", P, P, rewritten=0),
        ]
    )
    assert (found["trials"], found["unreached"]) == (4, 2)
    assert (found["cases"], found["pairs"], found["change"]) == (1, 2, -1.0)


def test_a_variant_that_reached_nothing_has_no_figure() -> None:
    (found,) = effects([*trials("a", "baseline", P), *trials("a", "bloat", P, E, rewritten=0)])
    assert (found["trials"], found["unreached"], found["cases"]) == (1, 1, 0)
    assert (found["change"], found["interval"], found["rate"]) == (None, None, None)


def test_what_was_not_judged_both_ways_is_no_pair() -> None:
    (found,) = effects(
        [*trials("a", "baseline", P, E, P), *trials("a", "x", F, F, E), *trials("only", "x", F)]
    )
    assert (found["cases"], found["pairs"], found["change"]) == (1, 1, -1.0)
    (nothing,) = effects([*trials("a", "baseline", E), *trials("a", "x", P)])
    assert (nothing["cases"], nothing["change"], nothing["interval"]) == (0, None, None)


def test_a_timeout_is_a_failure() -> None:
    (found,) = effects([*trials("a", "baseline", P), *trials("a", "x", T)])
    assert found["change"] == -1.0


def test_no_variants_no_effects() -> None:
    assert effects(trials("a", "baseline", P, F)) == []


@pytest.mark.parametrize(
    ("won", "lost", "count", "low", "high"),
    [
        # By hand, from the formula: (w+1 − l−1)/(n+2) ± z·sqrt((p+q−(p−q)²)/(n+2)).
        (0, 0, 10, -0.2310, 0.2310),
        (0, 5, 10, -0.7788, -0.0545),
        (10, 0, 10, 0.5206, 1.0),
    ],
)
def test_the_interval(won: float, lost: float, count: int, low: float, high: float) -> None:
    found = interval(won, lost, count)
    assert found == pytest.approx((low, high), abs=0.0002)


def test_what_expects_something_else_is_compared_with_nothing() -> None:
    run = [
        *trials("a", "baseline", P, F),
        *trials("a", "empty-and-huge.blank", P, F),
        *trials("b", "empty-and-huge.blank", P, E),
    ]
    (found,) = effects(run, {"empty-and-huge"})
    assert found["own_oracle"]
    assert (found["reference_rate"], found["change"], found["interval"]) == (None, None, None)
    assert (found["rate"], found["cases"], found["broken"]) == (0.75, 2, ["a"])
    (compared,) = effects(run)
    assert not compared["own_oracle"]
    assert compared["change"] == 0
