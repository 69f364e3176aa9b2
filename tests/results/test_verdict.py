from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.errors import UsageError
from aegis.results.verdict import EXIT_CODES, decide, describe, pass_rate, percent

NAMES = ("passed", "failed", "timeout", "error", "cancelled")
RANK = {"BELOW_THRESHOLD": 0, "INCONCLUSIVE": 1, "PASS": 2}

counts_strategy = st.fixed_dictionaries({name: st.integers(0, 40) for name in NAMES})
threshold_strategy = st.none() | st.integers(0, 100) | st.floats(0, 100)


@pytest.mark.parametrize(
    ("counts", "planned", "fail_under", "word", "code"),
    [
        ({"passed": 24}, 24, 100, "PASS", 0),
        ({"passed": 23, "failed": 1}, 24, 100, "BELOW_THRESHOLD", 1),
        # No rate is asked for.
        ({"passed": 23, "failed": 1}, 24, None, "PASS", 0),
        ({"passed": 23, "error": 1}, 24, None, "INCONCLUSIVE", 3),
        ({"passed": 19, "failed": 1}, 20, 95, "PASS", 0),
        ({"passed": 19, "timeout": 1}, 20, 95.0, "PASS", 0),
        ({"passed": 999, "failed": 1}, 1000, 99.9, "PASS", 0),
        ({"passed": 998, "failed": 2}, 1000, 99.9, "BELOW_THRESHOLD", 1),
        ({"passed": 29, "failed": 71}, 100, 29.0, "PASS", 0),
        ({"passed": 22, "error": 2}, 24, 50, "INCONCLUSIVE", 3),
        ({"passed": 22, "cancelled": 2}, 24, 50, "INCONCLUSIVE", 3),
        ({"passed": 22}, 24, 50, "INCONCLUSIVE", 3),
        # Certain already: even with both errors passed it would be 3 of 4.
        ({"passed": 1, "failed": 1, "error": 2}, 4, 95, "BELOW_THRESHOLD", 1),
        # Not certain: it could still be exactly 75 %.
        ({"passed": 1, "failed": 1, "error": 2}, 4, 75, "INCONCLUSIVE", 3),
        ({"error": 4}, 4, 0, "INCONCLUSIVE", 3),
        ({}, 4, 0, "INCONCLUSIVE", 3),
        ({}, 0, 0, "INCONCLUSIVE", 3),
        ({}, 0, None, "INCONCLUSIVE", 3),
        ({"failed": 4}, 4, 0, "PASS", 0),
    ],
)
def test_rules(counts: dict[str, int], planned: int, fail_under: float | None, word: str, code: int) -> None:
    verdict = decide(counts, planned, fail_under)
    assert (verdict.verdict, verdict.exit_code) == (word, code)


@pytest.mark.parametrize(
    ("counts", "planned", "fail_under", "line"),
    [
        ({"passed": 24}, 24, 95, "PASS 24/24 trials (100.0 %)"),
        ({"passed": 20, "failed": 4}, 24, 95.0, "BELOW_THRESHOLD 20/24 trials (83.3 %, below 95 %)"),
        (
            {"passed": 1, "failed": 1, "error": 1},
            3,
            99.5,
            "BELOW_THRESHOLD 1/3 trials (50.0 %, below 99.5 % even if the 1 unjudged trial had passed)",
        ),
        (
            {"passed": 22, "error": 2},
            24,
            95,
            "INCONCLUSIVE 22/24 trials (2 trials could not be judged: infrastructure errors)",
        ),
        (
            {"passed": 20, "error": 1, "cancelled": 1},
            24,
            50,
            "INCONCLUSIVE 20/24 trials "
            "(1 trial could not be judged: infrastructure errors; 3 trials were not run)",
        ),
        ({}, 0, 95, "INCONCLUSIVE 0/0 trials (no trials were planned)"),
    ],
)
def test_line_says_why(counts: dict[str, int], planned: int, fail_under: float, line: str) -> None:
    assert decide(counts, planned, fail_under).line == line


def test_a_verdict_of_another_maker_is_described() -> None:
    assert describe("REGRESSED", {"passed": 9, "failed": 1}, 10, 50) == "REGRESSED 9/10 trials (90.0 %)"
    # Every trial judged, and yet inconclusive (a baseline is missing): the rate stands in the brackets.
    assert describe("INCONCLUSIVE", {"passed": 10}, 10, 50) == "INCONCLUSIVE 10/10 trials (100.0 %)"


@pytest.mark.parametrize("fail_under", [-0.1, 100.1, float("nan"), float("inf")])
def test_threshold_out_of_range_is_refused(fail_under: float) -> None:
    with pytest.raises(UsageError, match="between 0 and 100"):
        decide({"passed": 1}, 1, fail_under)


@pytest.mark.parametrize(("counts", "planned"), [({"passed": 2}, 1), ({"failed": -1}, 1), ({}, -1)])
def test_impossible_counts_are_refused(counts: dict[str, int], planned: int) -> None:
    with pytest.raises(ValueError):
        decide(counts, planned)


def test_pass_rate_leaves_errors_out() -> None:
    assert pass_rate({"passed": 3, "failed": 1, "error": 4, "cancelled": 4}) == 0.75
    assert pass_rate({"error": 4}) is None


def test_percent_never_flatters() -> None:
    assert percent(9999, 10_000) == "99.9 %"
    assert percent(10_000, 10_000) == "100.0 %"
    assert percent(0, 3) == "0.0 %"
    assert percent(29, 100) == "29.0 %"


@given(counts_strategy, st.integers(0, 5), threshold_strategy)
def test_word_and_exit_code_agree(counts: dict[str, int], missing: int, fail_under: float | None) -> None:
    planned = sum(counts.values()) + missing
    verdict = decide(counts, planned, fail_under)
    assert verdict.exit_code == EXIT_CODES[verdict.verdict]
    assert verdict.line.split()[0] == verdict.verdict
    judged = counts["passed"] + counts["failed"] + counts["timeout"]
    if verdict.verdict == "PASS":
        assert judged == planned > 0
    if judged == planned > 0:
        assert verdict.verdict != "INCONCLUSIVE"


@given(
    counts_strategy.filter(lambda counts: counts["passed"] > 0),
    st.sampled_from(["failed", "timeout", "error", "cancelled", "missing"]),
    st.integers(0, 5),
    threshold_strategy,
)
def test_losing_a_pass_never_improves_the_verdict(
    counts: dict[str, int], to: str, missing: int, fail_under: float | None
) -> None:
    planned = sum(counts.values()) + missing
    worse = counts | {"passed": counts["passed"] - 1, to: counts.get(to, 0) + 1}
    worse.pop("missing", None)
    before, after = decide(counts, planned, fail_under), decide(worse, planned, fail_under)
    assert RANK[after.verdict] <= RANK[before.verdict]


@given(counts_strategy, threshold_strategy, st.data())
def test_below_threshold_stands_whatever_the_unjudged_would_have_been(
    counts: dict[str, int], fail_under: float | None, data: st.DataObject
) -> None:
    planned = sum(counts.values())
    if decide(counts, planned, fail_under).verdict == "BELOW_THRESHOLD":
        unjudged = counts["error"] + counts["cancelled"]
        passed = data.draw(st.integers(0, unjudged))
        settled = {
            "passed": counts["passed"] + passed,
            "failed": counts["failed"] + unjudged - passed,
            "timeout": counts["timeout"],
        }
        assert decide(settled, planned, fail_under).verdict == "BELOW_THRESHOLD"
