"""Which cases got worse, which are suspected of it, and what can't be told."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.regression.compare import compare
from aegis.regression.findings import CaseResult, Comparison, probability
from aegis.regression.policy import Policy
from aegis.regression.stats import fisher
from aegis.regression.trials import CaseKey, Trials
from support.fuzzing import examples

SOLID = Trials(20)
CASE = CaseKey("case")


def suite(**cases: Trials) -> dict[CaseKey, Trials]:
    return {CaseKey(name): trials for name, trials in cases.items()}


def one(before: Trials, now: Trials, policy: Policy | None = None, fresh: Trials | None = None) -> CaseResult:
    confirmation = None if fresh is None else {CASE: fresh}
    found = compare({CASE: before}, {CASE: now}, policy or Policy(), confirmation=confirmation)
    (result,) = found.results
    return result


def names(results: tuple[CaseResult, ...]) -> list[str]:
    return [str(result.key) for result in results]


def test_a_solid_case_that_fails_once_is_suspect_and_nothing_more() -> None:
    found = compare({CASE: SOLID}, {CASE: Trials(2, 1)})
    assert found.to_confirm == (CASE,)
    assert found.regressed == ()


def test_fresh_trials_that_fail_confirm_it() -> None:
    result = one(SOLID, Trials(2, 1), fresh=Trials(3, 7))
    assert result.status == "regressed"
    assert str(result) == "case: passed 20 of 20 before, 2 of 3 now, 3 of 10 when tried again (p < 0.0001)"


def test_fresh_trials_that_pass_clear_it() -> None:
    result = one(SOLID, Trials(2, 1), fresh=Trials(10))
    assert (result.status, result.gap) == ("cleared", None)


def test_only_the_fresh_trials_decide() -> None:
    """With the three failures of the first look they would be significant; without, they are not."""
    result = one(Trials(18, 2), Trials(0, 3), fresh=Trials(7, 3))
    assert fisher.lower(0 + 7, 3 + 10, 18, 20) < 0.05
    assert result.p == fisher.lower(7, 10, 18, 20)
    assert result.status == "cleared"


def test_what_confirmation_holds_of_other_cases_is_not_looked_at() -> None:
    baseline = suite(a=SOLID, b=SOLID)
    candidate = suite(a=Trials(3), b=Trials(2, 1))
    found = compare(baseline, candidate, confirmation=suite(a=Trials(0, 10), b=Trials(10)))
    assert found.regressed == ()


def test_a_flaky_case_that_fails_as_it_used_to_is_not_suspect() -> None:
    assert one(Trials(9, 11), Trials(1, 2)).status == "steady"


def test_more_suspects_make_each_harder_to_confirm() -> None:
    fresh = Trials(7, 3)
    alone = compare(suite(a=SOLID), suite(a=Trials(2, 1)), confirmation=suite(a=fresh))
    assert names(alone.regressed) == ["a"]
    baseline = suite(a=SOLID, b=SOLID, c=SOLID)
    candidate = suite(a=Trials(2, 1), b=Trials(2, 1), c=Trials(2, 1))
    three = compare(baseline, candidate, confirmation=suite(a=fresh, b=Trials(10), c=Trials(10)))
    assert three.regressed == ()
    assert names(three.cleared) == ["a", "b", "c"]


def test_strict_confirms_less() -> None:
    assert one(SOLID, Trials(2, 1), fresh=Trials(7, 3)).status == "regressed"
    assert one(SOLID, Trials(2, 1), Policy().strict(), fresh=Trials(7, 3)).status == "cleared"
    assert one(SOLID, Trials(2, 1), Policy().strict(), fresh=Trials(5, 5)).status == "regressed"


def test_regressions_are_listed_with_the_surest_first() -> None:
    baseline = suite(a=SOLID, b=SOLID)
    candidate = suite(a=Trials(2, 1), b=Trials(2, 1))
    found = compare(baseline, candidate, confirmation=suite(a=Trials(4, 6), b=Trials(0, 10)))
    assert names(found.regressed) == ["b", "a"]


def test_a_silent_swap_is_found_though_the_rate_went_up() -> None:
    baseline = suite(breaks=SOLID, **{f"fixed{number}": Trials(4, 16) for number in range(4)})
    candidate = suite(breaks=Trials(0, 3), **{f"fixed{number}": Trials(3) for number in range(4)})
    first = compare(baseline, candidate)
    assert first.to_confirm == (CaseKey("breaks"),)
    found = compare(baseline, candidate, confirmation=suite(breaks=Trials(0, 10)))
    assert names(found.regressed) == ["breaks"]
    assert found.overall is not None
    assert found.overall.delta > 0
    assert not found.overall.worse
    assert names(found.improved) == [f"fixed{number}" for number in range(4)]


def test_many_cases_a_little_worse_are_found_together() -> None:
    baseline = {CaseKey(str(number)): Trials(18, 2) for number in range(60)}
    candidate = {CaseKey(str(number)): Trials(3 - number % 2, number % 2) for number in range(60)}
    overall = compare(baseline, candidate).overall
    assert overall is not None
    assert overall.worse
    assert (overall.baseline_rate, overall.candidate_rate) == pytest.approx((0.9, 150 / 180))


def test_the_rates_of_both_sides_are_of_the_same_mix_of_cases() -> None:
    baseline = suite(hard=Trials(2, 18), easy=Trials(5))
    candidate = suite(hard=Trials(1, 9), easy=Trials(2))
    overall = compare(baseline, candidate).overall
    assert overall is not None
    assert overall.delta == pytest.approx(0.0)


def test_errors_are_not_failures_on_either_side() -> None:
    result = one(Trials(20, errors=9), Trials(3, errors=1))
    assert (result.status, result.screen_p) == ("steady", 1.0)
    assert result.gap is not None
    assert (result.gap.kind, result.gap.why) == ("lost", "1 of 4 trials ended in an infrastructure error")


def test_a_case_that_only_had_errors_is_neither_worse_nor_judged() -> None:
    result = one(SOLID, Trials(errors=2, missing=1))
    assert result.status == "steady"
    assert result.gap is not None
    assert result.gap.why == "2 of 3 trials ended in an infrastructure error, 1 of 3 trials was not run"
    assert compare({CASE: SOLID}, {CASE: Trials(errors=3)}).overall is None


def test_fewer_trials_than_asked_for_are_a_gap() -> None:
    result = one(SOLID, Trials(3), Policy(min_trials=5))
    assert result.gap is not None
    assert result.gap.why == "3 trials judged, and 5 are asked for"


@pytest.mark.parametrize(
    ("before", "now", "why"),
    [
        (Trials(), Trials(3), "the baseline has no judged trial of it"),
        (Trials(errors=4), Trials(3), "the baseline has no judged trial of it"),
        (Trials(2), Trials(1), "the baseline has 2 trials of it, and 3 are needed to see it break"),
        (Trials(1), Trials(3), "the baseline has 1 trial of it, and 2 are needed to see it break"),
    ],
)
def test_a_baseline_that_could_not_show_a_break_is_a_gap(before: Trials, now: Trials, why: str) -> None:
    result = one(before, now)
    assert result.gap is not None
    assert (result.gap.kind, result.gap.blocks, result.gap.why) == ("baseline", True, why)


@pytest.mark.parametrize(
    ("before", "why"),
    [
        (Trials(0, 20), "it failed all 20 trials in the baseline already"),
        (Trials(2, 18), "it passed 2 of 20 in the baseline: too seldom for a drop to be told"),
    ],
)
def test_a_case_that_hardly_passed_before_is_told_and_blocks_nothing(before: Trials, why: str) -> None:
    found = compare({CASE: before}, {CASE: Trials(0, 3)})
    (result,) = found.unjudged
    assert result.gap is not None
    assert result.gap.why == why
    assert found.blocked == ()


@given(st.integers(1, 40), st.integers(1, 6), st.integers(0, 12), st.sampled_from([0.01, 0.05]))
@settings(max_examples=examples(200), deadline=None)
def test_without_a_gap_a_break_is_always_found(before: int, trials: int, confirm: int, alpha: float) -> None:
    """What `reach` promises: a solid case without a gap that now always fails is named; one with a gap is not."""
    policy = Policy(confirm=confirm, case_alpha=alpha)
    gap = one(Trials(before), Trials(trials), policy).gap
    result = one(Trials(before), Trials(0, trials), policy, fresh=Trials(0, confirm))
    assert (result.status == "regressed") == (gap is None)


def test_incomplete_confirmation_is_a_gap_unless_it_is_certain_already() -> None:
    result = one(SOLID, Trials(2, 1), fresh=Trials(7, errors=3))
    assert result.gap is not None
    assert result.gap.why == "it looks worse, and 7 of 10 trials to confirm that were judged"
    assert one(SOLID, Trials(2, 1), fresh=Trials(0, 7, errors=3)).status == "regressed"


def test_a_suspect_that_was_not_tried_again_is_a_gap() -> None:
    found = compare({CASE: SOLID}, {CASE: Trials(2, 1)}, confirmation={})
    assert [result.gap is not None and result.gap.kind for result in found.blocked] == ["confirmation"]


def test_new_removed_and_changed_cases_are_listed_apart() -> None:
    baseline = suite(same=SOLID, gone=SOLID, edited=Trials(20, content="1"))
    candidate = suite(same=Trials(3), fresh=Trials(0, 3), edited=Trials(0, 3, content="2"))
    found = compare(baseline, candidate)
    assert [str(key) for key in (*found.new, *found.removed, *found.changed)] == ["fresh", "gone", "edited"]
    assert names(found.results) == ["same"]


def test_content_that_is_not_known_is_compared() -> None:
    assert compare({CASE: Trials(20, content="1")}, {CASE: Trials(3)}).changed == ()


def test_a_case_that_never_failed_cannot_improve_and_one_that_always_failed_can() -> None:
    baseline = suite(a=SOLID, b=Trials(0, 20))
    found = compare(baseline, suite(a=Trials(3), b=Trials(3)))
    assert names(found.improved) == ["b"]


def test_new_failures_are_cases_that_never_failed_and_new_ones_that_do() -> None:
    baseline = suite(solid=SOLID, flaky=Trials(19, 1), fine=SOLID)
    candidate = suite(
        solid=Trials(2, 1), flaky=Trials(0, 3), fine=Trials(3), fresh=Trials(0, 1), good=Trials(1)
    )
    assert [str(key) for key in compare(baseline, candidate).new_failures] == ["solid", "fresh"]


def test_flaky_cases_are_named() -> None:
    assert names(compare(suite(a=SOLID, b=Trials(19, 1)), suite(a=Trials(3), b=Trials(3))).flaky) == ["b"]


def test_without_confirmation_the_trials_at_hand_decide() -> None:
    policy = Policy(confirm=0)
    found = compare(suite(a=SOLID, b=SOLID), suite(a=Trials(0, 3), b=Trials(3)), policy)
    assert found.to_confirm == ()
    assert names(found.regressed) == ["a"]
    assert one(SOLID, Trials(2, 1), policy).status == "steady"


def test_without_confirmation_solid_cases_do_not_weigh_on_the_others() -> None:
    solid = {f"solid{number}": SOLID for number in range(200)}
    passing = {f"solid{number}": Trials(3) for number in range(200)}
    found = compare(suite(a=SOLID, **solid), suite(a=Trials(0, 3), **passing), Policy(confirm=0))
    assert names(found.regressed) == ["a"]


def test_nothing_against_nothing() -> None:
    found = compare({}, {})
    assert (found.results, found.overall, found.to_confirm) == ((), None, ())
    assert found.interval() == (0.0, 1.0)


@pytest.mark.parametrize(
    "wrong",
    [{"case_alpha": 0}, {"overall_alpha": 1.0}, {"screen": -1}, {"confirm": -1}, {"min_trials": 0}],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        Policy(**wrong)  # type: ignore[arg-type]


def test_an_unknown_reason_to_fail_is_refused() -> None:
    with pytest.raises(ValueError, match="not weather"):
        Policy(fail_on=frozenset({"weather"}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("p", "text"), [(0.00002, "< 0.0001"), (0.0004, "= 0.0004"), (0.03, "= 0.03"), (1.0, "= 1.00")]
)
def test_p_values_are_written_with_what_matters(p: float, text: str) -> None:
    assert probability(p) == text


@st.composite
def sides(draw: st.DrawFn) -> tuple[dict[CaseKey, Trials], dict[CaseKey, Trials]]:
    few = st.integers(0, 4)
    trials = st.builds(
        Trials, st.integers(0, 20), st.integers(0, 5), few, few, st.sampled_from([None, "a", "b"])
    )
    cases = st.dictionaries(st.sampled_from([CaseKey(name) for name in "abcdef"]), trials)
    return draw(cases), draw(cases)


@given(sides(), st.integers(0, 10), st.booleans())
@settings(max_examples=examples(300), deadline=None)
def test_every_case_is_in_one_place(
    given_sides: tuple[dict[CaseKey, Trials], dict[CaseKey, Trials]], confirm: int, confirmed: bool
) -> None:
    baseline, candidate = given_sides
    random = Random(confirm)
    policy = Policy(confirm=confirm)
    found = compare(baseline, candidate, policy)
    if confirmed:
        fresh = {key: Trials(random.randrange(5), random.randrange(6)) for key in found.to_confirm}
        found = compare(baseline, candidate, policy, confirmation=fresh)
    everything = [*(result.key for result in found.results), *found.new, *found.changed]
    assert sorted(everything) == sorted(candidate)
    assert set(found.removed) == set(baseline) - set(candidate)
    check_results(found)


def check_results(found: Comparison) -> None:
    for result in found.results:
        if result.candidate.lost and result.status != "regressed":
            assert result.gap is not None
        if result.status == "regressed":
            assert result.p is not None
            assert result.adjusted_p is not None
            assert result.p <= result.adjusted_p <= found.policy.case_alpha
