"""The verdict of a compared run: never green when something could not be judged."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.regression import verdict
from aegis.regression.compare import compare
from aegis.regression.drift.findings import Drift, Finding
from aegis.regression.findings import Comparison
from aegis.regression.policy import FAIL_ON, Policy
from aegis.regression.trials import CaseKey, Trials
from aegis.results import verdict as threshold
from aegis.results.verdict import Verdict
from support.fuzzing import examples

A, B = CaseKey("a"), CaseKey("b")
SOLID = Trials(20)
NEVER = Policy(fail_on=frozenset())

NEW_HOST = Finding(A, "hosts", "new host evil.example", "", "1 of 3 trials", "always")
UNTESTED = Finding(A, "tools", "tool calls", "x", "y", "untested")


def run(now: Trials, policy: Policy | None = None, fresh: Trials | None = None) -> Comparison:
    """Case a as given, beside a case b that is fine."""
    baseline, candidate = {A: SOLID, B: SOLID}, {A: now, B: Trials(3)}
    confirmation = None if fresh is None else {A: fresh}
    return compare(baseline, candidate, policy or Policy(), confirmation=confirmation)


def by_rate(found: Comparison, fail_under: float) -> Verdict:
    trials = list(found.candidate.values())
    counts = {
        "passed": sum(item.passed for item in trials),
        "failed": sum(item.failed for item in trials),
        "error": sum(item.errors for item in trials),
    }
    return threshold.decide(counts, sum(item.planned for item in trials), fail_under)


def test_nothing_changed() -> None:
    assert verdict.decide(run(Trials(3))) == Verdict(
        "PASS", 0, "PASS 6/6 trials, 100.0 % (2 cases compared, none got worse)"
    )


def test_a_confirmed_regression_names_its_case() -> None:
    found = verdict.decide(run(Trials(2, 1), fresh=Trials(2, 8)))
    assert (found.verdict, found.exit_code) == ("REGRESSED", 1)
    assert found.line == "REGRESSED 5/6 trials (1 case got worse: a)"


def test_a_cleared_suspect_passes_though_a_trial_failed() -> None:
    assert verdict.decide(run(Trials(2, 1), fresh=Trials(10))).verdict == "PASS"


def test_a_suspect_that_waits_does_not_pass() -> None:
    found = verdict.decide(run(Trials(2, 1)))
    assert (found.verdict, found.exit_code) == ("INCONCLUSIVE", 3)
    assert "1 case may have got worse, not confirmed: a" in found.line


@pytest.mark.parametrize(
    "lost", [Trials(2, errors=1), Trials(2, missing=1), Trials(errors=3), Trials(missing=3)]
)
@pytest.mark.parametrize("policy", [Policy(), Policy().strict(), Policy(confirm=0), NEVER])
def test_a_lost_trial_never_passes(lost: Trials, policy: Policy) -> None:
    found = verdict.decide(run(lost, policy))
    assert (found.verdict, found.exit_code) == ("INCONCLUSIVE", 3)
    assert re.search("infrastructure error|not run", found.line)


def test_a_lost_trial_of_a_new_case_never_passes() -> None:
    found = compare({A: SOLID}, {A: Trials(3), B: Trials(2, errors=1)})
    assert verdict.decide(found).verdict == "INCONCLUSIVE"


def test_a_regression_is_told_though_something_else_was_lost() -> None:
    baseline, candidate = {A: SOLID, B: SOLID}, {A: Trials(0, 3), B: Trials(2, errors=1)}
    found = compare(baseline, candidate, confirmation={A: Trials(0, 10)})
    assert verdict.decide(found).verdict == "REGRESSED"


def test_incomplete_confirmation_does_not_pass() -> None:
    found = verdict.decide(run(Trials(2, 1), fresh=Trials(9, errors=1)))
    assert found.verdict == "INCONCLUSIVE"


def test_the_threshold_comes_after_regressions_and_before_gaps() -> None:
    worse = run(Trials(0, 3), fresh=Trials(0, 10))
    below = verdict.decide(worse, by_rate(worse, 95))
    assert below.verdict == "REGRESSED"
    assert "the pass rate is below the threshold too" in below.line
    cleared = run(Trials(2, 1), fresh=Trials(10))
    assert verdict.decide(cleared, by_rate(cleared, 95)) == by_rate(cleared, 95)
    assert verdict.decide(cleared, by_rate(cleared, 80)).verdict == "PASS"
    lost = compare({A: SOLID, B: SOLID}, {A: Trials(0, 3), B: Trials(2, errors=1)}, NEVER)
    assert verdict.decide(lost, by_rate(lost, 95)).verdict == "BELOW_THRESHOLD"


def test_the_thresholds_doubt_is_kept() -> None:
    doubt = Verdict("INCONCLUSIVE", 3, "INCONCLUSIVE 0/0 trials (something)")
    assert verdict.decide(run(Trials(3)), doubt) is doubt


def test_the_whole_suite_alone_can_make_it_regressed() -> None:
    keys = [CaseKey(str(number)) for number in range(60)]
    baseline = {key: Trials(18, 2) for key in keys}
    candidate = {key: Trials(3 - number % 2, number % 2) for number, key in enumerate(keys)}
    found = verdict.decide(compare(baseline, candidate))
    assert found.verdict == "REGRESSED"
    assert "the suite as a whole got worse, 90.0 % → 83.3 %, p = " in found.line


def test_failing_on_nothing_informs_only() -> None:
    found = verdict.decide(run(Trials(0, 3), NEVER, fresh=Trials(0, 10)))
    assert (found.verdict, found.exit_code) == ("PASS", 0)
    assert "regressions were not asked to count" in found.line
    assert verdict.decide(compare({}, {A: Trials(3)}, NEVER)).verdict == "PASS"


def test_new_failures_count_where_they_are_asked_to() -> None:
    policy = Policy(fail_on=frozenset({"new-failure"}))
    found = verdict.decide(run(Trials(2, 1), policy, fresh=Trials(10)))
    assert found.line == "REGRESSED 5/6 trials (1 case failed for the first time: a)"
    assert verdict.decide(run(Trials(2, 1), fresh=Trials(10))).verdict == "PASS"


def test_drift_counts_where_it_is_asked_to_and_only_what_is_shown() -> None:
    policy = Policy(fail_on=frozenset({"regression", "drift"}))
    found = verdict.decide(run(Trials(3), policy), drift=Drift((NEW_HOST,), {}))
    assert found.line == "REGRESSED 6/6 trials (the agent's behaviour has drifted in a)"
    assert verdict.decide(run(Trials(3), policy), drift=Drift((UNTESTED,), {})).verdict == "PASS"
    assert verdict.decide(run(Trials(3)), drift=Drift((NEW_HOST,), {})).verdict == "PASS"


@pytest.mark.parametrize(
    ("baseline", "candidate", "reason"),
    [
        ({}, {}, "no trials were planned"),
        ({A: SOLID}, {}, "no trials were planned"),
        ({A: SOLID}, {B: Trials(3)}, "no case is the same as in the baseline"),
        ({A: Trials(9, content="1")}, {A: Trials(3, content="2")}, "no case is the same as in the baseline"),
        ({A: SOLID}, {A: Trials()}, "0 trials judged, and 1 are asked for"),
    ],
)
def test_a_gate_that_compared_nothing_is_not_green(
    baseline: dict[CaseKey, Trials], candidate: dict[CaseKey, Trials], reason: str
) -> None:
    found = verdict.decide(compare(baseline, candidate))
    assert (found.verdict, found.exit_code) == ("INCONCLUSIVE", 3)
    assert reason in found.line


def test_without_a_baseline() -> None:
    assert verdict.without_baseline("main has no complete run").line == (
        "INCONCLUSIVE no comparison (main has no complete run)"
    )
    below = Verdict("BELOW_THRESHOLD", 1, "BELOW_THRESHOLD …")
    assert verdict.without_baseline("none", below) is below


def test_a_line_names_a_few_cases_and_counts_the_others() -> None:
    keys = [CaseKey(f"case-{number}") for number in range(6)]
    found = compare(
        dict.fromkeys(keys, SOLID),
        dict.fromkeys(keys, Trials(0, 3)),
        confirmation=dict.fromkeys(keys, Trials(0, 10)),
    )
    assert "6 cases got worse: case-0, case-1, case-2 and 3 more" in verdict.decide(found).line


counts = st.builds(Trials, st.integers(0, 6), st.integers(0, 3), st.integers(0, 1), st.integers(0, 1))
suites = st.dictionaries(st.sampled_from([CaseKey(name) for name in "abcd"]), counts)


@given(suites, suites, suites, st.sets(st.sampled_from(FAIL_ON)), st.sampled_from([0, 10]), st.floats(0, 100))
@settings(max_examples=examples(500), deadline=None)
def test_only_a_run_that_is_wholly_judged_passes(
    baseline: dict[CaseKey, Trials],
    candidate: dict[CaseKey, Trials],
    fresh: dict[CaseKey, Trials],
    fail_on: set,
    confirm: int,
    fail_under: float,
) -> None:
    found = compare(
        baseline, candidate, Policy(fail_on=frozenset(fail_on), confirm=confirm), confirmation=fresh
    )
    decided = verdict.decide(found, by_rate(found, fail_under))
    assert decided.line.startswith(decided.verdict + " ")
    assert decided.exit_code == threshold.EXIT_CODES[decided.verdict]
    if decided.verdict == "PASS":
        assert candidate
        assert not any(trials.lost for trials in candidate.values())
        assert any(trials.judged for trials in candidate.values())
        if fail_on:
            assert not found.blocked
            assert not found.to_confirm
        if "regression" in fail_on:
            assert not found.regressed
