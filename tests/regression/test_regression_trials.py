"""Counting the trials of runs, and adding runs up to a baseline."""

from __future__ import annotations

import pytest

from aegis.regression.trials import CaseKey, Trials, from_document, from_outcomes, pool

KEY = CaseKey("refund")


def test_each_outcome_is_counted_for_what_it_is() -> None:
    outcomes = ["passed", "failed", "timeout", "error", "cancelled", "passed"]
    trials = from_outcomes(outcomes, content="digest")
    assert trials == Trials(passed=2, failed=2, errors=1, missing=1, content="digest")
    assert (trials.judged, trials.lost, trials.planned) == (4, 2, 6)


def test_planned_trials_without_an_outcome_are_missing() -> None:
    assert from_outcomes(["passed"], planned=3) == Trials(passed=1, missing=2)
    assert from_outcomes(["passed"], planned=1) == Trials(passed=1)


def test_an_unknown_outcome_is_refused() -> None:
    with pytest.raises(KeyError):
        from_outcomes(["fine"])


def test_trials_cannot_be_negative() -> None:
    with pytest.raises(ValueError, match="negative"):
        Trials(passed=-1)


def test_variants_of_a_case_are_cases_of_their_own() -> None:
    document = {
        "trials": [
            {"case": "refund", "variant": "baseline", "outcome": "passed"},
            {"case": "refund", "variant": "long", "outcome": "failed"},
            {"case": "refund", "variant": "baseline", "outcome": "error"},
        ]
    }
    assert from_document(document, {KEY: "digest"}) == {
        KEY: Trials(passed=1, errors=1, content="digest"),
        CaseKey("refund", "long"): Trials(failed=1),
    }
    assert [str(key) for key in from_document(document)] == ["refund", "refund (long)"]


@pytest.mark.parametrize(
    ("passed", "failed", "flaky"), [(3, 0, False), (0, 3, False), (2, 1, True), (0, 0, False)]
)
def test_flaky_is_what_both_passed_and_failed(passed: int, failed: int, flaky: bool) -> None:
    assert Trials(passed, failed, errors=1).flaky is flaky


def test_a_baseline_adds_runs_up_until_there_are_enough_judged_trials() -> None:
    run = {KEY: Trials(passed=6, failed=1, errors=3)}
    assert pool([run] * 5)[KEY].judged == 21
    assert pool([run] * 2)[KEY] == Trials(passed=12, failed=2, errors=6)
    assert pool([run] * 5, enough=7)[KEY].judged == 7
    assert pool([]) == {}


def test_a_baseline_has_the_cases_of_its_newest_run_only() -> None:
    gone = CaseKey("gone")
    assert pool([{KEY: Trials(1)}, {KEY: Trials(1), gone: Trials(1)}]) == {KEY: Trials(2)}


def test_trials_of_another_content_are_not_added() -> None:
    runs = [{KEY: Trials(2, content="new")}, {KEY: Trials(5, content="old")}, {KEY: Trials(1, content="new")}]
    assert pool(runs)[KEY] == Trials(3, content="new")
