"""The verdict of a run that was compared with a baseline: what the comparison says, merged with the threshold.

The word, the exit code and the line of text are one object, as in `aegis.results.verdict`, which has the threshold's
part.
"""

from __future__ import annotations

from collections.abc import Sequence

from aegis.regression.drift.findings import Drift
from aegis.regression.findings import Comparison, probability
from aegis.regression.reach import GapKind
from aegis.regression.trials import CaseKey
from aegis.results.verdict import EXIT_CODES, Verdict, percent

_NAMED = 3
"""Cases that a line names; of the others it tells the number."""
_OWN: set[GapKind] = {"lost", "few"}
"""Gaps that are the run's own, whatever the comparison is for."""


def decide(comparison: Comparison, threshold: Verdict | None = None, drift: Drift | None = None) -> Verdict:
    """REGRESSED, BELOW_THRESHOLD, INCONCLUSIVE or PASS, the first of them that is true.

    `threshold` is what `aegis.results.verdict.decide` says of the same run; None when no pass rate is asked for.
    `drift` counts when the policy fails on it. What has regressed for certain is told even if something else could
    not be judged; a run with lost trials, suspects that wait, or nothing to compare never passes. When the policy
    fails on nothing, the comparison can't make a run fail, and only the run's own lost trials keep it from passing.
    """
    regressed = _regressed(comparison, drift)
    open_ends = _open_ends(comparison)
    if regressed:
        word, details = "REGRESSED", regressed
    elif threshold is not None and threshold.verdict == "BELOW_THRESHOLD":
        return threshold
    elif open_ends:
        word, details = "INCONCLUSIVE", open_ends
    elif threshold is not None and threshold.verdict != "PASS":
        return threshold
    else:
        word, details = "PASS", [_passed(comparison)]
    if threshold is not None and threshold.verdict == "BELOW_THRESHOLD":
        details = [*details, "the pass rate is below the threshold too"]
    return _verdict(word, comparison, details)


def without_baseline(why: str, threshold: Verdict | None = None) -> Verdict:
    """The verdict when a comparison was asked for and there is nothing to compare with."""
    if threshold is not None and threshold.verdict == "BELOW_THRESHOLD":
        return threshold
    word = "INCONCLUSIVE"
    return Verdict(word, EXIT_CODES[word], f"{word} no comparison ({why})")


def _regressed(comparison: Comparison, drift: Drift | None) -> list[str]:
    fail_on = comparison.policy.fail_on
    details = []
    if "regression" in fail_on:
        if comparison.regressed:
            keys = [result.key for result in comparison.regressed]
            details.append(f"{_cases(keys)} got worse: {_names(keys)}")
        overall = comparison.overall
        if overall is not None and overall.worse:
            before, now = (f"{100 * rate:.1f} %" for rate in (overall.baseline_rate, overall.candidate_rate))
            details.append(
                f"the suite as a whole got worse, {before} → {now}, p {probability(overall.test.p)}"
            )
    if "new-failure" in fail_on and (failures := comparison.new_failures):
        details.append(f"{_cases(failures)} failed for the first time: {_names(failures)}")
    if "drift" in fail_on and drift is not None and drift.shown:
        keys = list(dict.fromkeys(finding.key for finding in drift.shown if finding.key is not None))
        where = f" in {_names(keys)}" if keys else ""
        details.append(f"the agent's behaviour has drifted{where}")
    return details


def _open_ends(comparison: Comparison) -> list[str]:
    """What keeps the run from passing."""
    informs_only = not comparison.policy.fail_on
    details = []
    if not informs_only and (waiting := comparison.to_confirm):
        details.append(f"{_cases(waiting)} may have got worse, not confirmed: {_names(waiting)}")
    blocked = [
        (result.key, result.gap.why)
        for result in comparison.blocked
        if result.gap is not None
        # A suspect that waits has been named.
        and (result.gap.kind in _OWN or not (informs_only or result.status == "suspect"))
    ]
    keys = [*(key for key, _ in blocked), *comparison.lost_elsewhere]
    if keys:
        why = f" ({blocked[0][1]})" if blocked else ""
        details.append(f"{_cases(keys)} could not be judged: {_names(keys[:1])}{why}{_more(keys[1:])}")
    if not comparison.candidate:
        details.append("no trials were planned")
    elif not informs_only and not comparison.results:
        details.append("no case is the same as in the baseline")
    elif not any(trials.judged for trials in comparison.candidate.values()) and not keys:
        details.append("no trial was judged")
    return details


def _passed(comparison: Comparison) -> str:
    parts = [f"{_cases([result.key for result in comparison.results])} compared, none got worse"]
    if not comparison.policy.fail_on and (comparison.regressed or comparison.suspects):
        parts = ["regressions were not asked to count"]
    if comparison.improved:
        parts.append(f"{len(comparison.improved)} got better")
    return ", ".join(parts)


def _verdict(word: str, comparison: Comparison, details: Sequence[str]) -> Verdict:
    trials = comparison.candidate.values()
    passed, judged = sum(item.passed for item in trials), sum(item.judged for item in trials)
    rate = f", {percent(passed, judged)}" if word == "PASS" and judged else ""
    line = f"{word} {passed}/{sum(item.planned for item in trials)} trials{rate} ({'; '.join(details)})"
    return Verdict(word, EXIT_CODES[word], line)


def _cases(keys: Sequence[CaseKey]) -> str:
    return "1 case" if len(keys) == 1 else f"{len(keys)} cases"


def _names(keys: Sequence[CaseKey]) -> str:
    return ", ".join(map(str, keys[:_NAMED])) + _more(keys[_NAMED:])


def _more(keys: Sequence[CaseKey]) -> str:
    return f" and {len(keys)} more" if keys else ""
