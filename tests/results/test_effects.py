"""What each kind of stress costs."""

from __future__ import annotations

import pytest

from aegis.results.effects import effects, interval


def trials(case: str, variant: str, *outcomes: str) -> list[dict[str, object]]:
    return [
        {"case": case, "variant": variant, "number": number, "outcome": outcome}
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
