"""Two sides, case by case: what got worse, what got better, what can't be told.

The suite is fixed, so the question is not what the pass rate is, but whether any case's rate has changed. Looking at
every case once gives false alarms nearly always; so a case is first suspected, then tried afresh, and the fresh
trials alone decide. The method and its figures: docs/regression.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from aegis.regression import reach
from aegis.regression.findings import CaseResult, Comparison, Overall
from aegis.regression.policy import Policy
from aegis.regression.reach import Gap
from aegis.regression.stats import fisher, predictive, stratified
from aegis.regression.stats.multiple import benjamini_hochberg, holm
from aegis.regression.trials import CaseKey, CaseTrials, Trials

_DEFAULT = Policy()


def compare(
    baseline: CaseTrials,
    candidate: CaseTrials,
    policy: Policy = _DEFAULT,
    *,
    confirmation: CaseTrials | None = None,
) -> Comparison:
    """Compare the candidate's trials with the baseline's.

    Without `confirmation`, and with `policy.confirm` above 0, cases that look worse are `suspect`: run
    `policy.confirm` fresh trials of each in `to_confirm` and call again with the same arguments and those trials. What
    they hold of other cases is not looked at. Fresh trials are never added to the candidate's own, which made the case
    suspect; that would count the same bad luck twice.
    """
    results, changed = [], []
    for key, now in candidate.items():
        before = baseline.get(key)
        if before is None:
            continue
        if before.content is not None and now.content is not None and before.content != now.content:
            changed.append(key)
        else:
            results.append(_first_look(key, before, now, policy))
    results = _judge(results, policy, confirmation)
    return Comparison(
        policy,
        candidate,
        results=tuple(_name_improved(results, policy)),
        overall=_overall(results, policy),
        new=tuple(key for key in candidate if key not in baseline),
        removed=tuple(key for key in baseline if key not in candidate),
        changed=tuple(changed),
    )


def _first_look(key: CaseKey, before: Trials, now: Trials, policy: Policy) -> CaseResult:
    surprise = predictive.at_most(now.passed, now.judged, before.passed, before.judged)
    suspect = policy.confirm > 0 and before.judged > 0 and now.judged > 0 and surprise <= policy.screen
    gap = reach.find(before, now, policy)
    return CaseResult(key, before, now, "suspect" if suspect else "steady", surprise, gap=gap)


def _judge(results: list[CaseResult], policy: Policy, confirmation: CaseTrials | None) -> list[CaseResult]:
    """Test the suspects by their fresh trials, or, where none are to be had, all cases by the trials there are."""
    if policy.confirm:
        if confirmation is None:
            return results
        fresh = {
            index: confirmation.get(result.key, Trials())
            for index, result in enumerate(results)
            if result.status == "suspect"
        }
    else:
        fresh = {index: result.candidate for index, result in enumerate(results)}
    judged = list(results)
    for index, p, adjusted in _tested(results, fresh, policy):
        result = replace(results[index], p=p, adjusted_p=adjusted)
        judged[index] = _concluded(result, fresh[index], policy)
    return judged


def _tested(
    results: list[CaseResult], fresh: dict[int, Trials], policy: Policy
) -> list[tuple[int, float, float]]:
    """(index, p, adjusted p) of each case with fresh trials.

    Where the whole suite is tested at once, cases whose numbers could not have been significant whatever came out are
    left out of the correction; with few trials each, most of a suite's would be. Suspects are all counted: they are
    few, and the correction makes up for their baseline having been lucky, which is one reason to become a suspect.
    """
    tables = {
        index: (trials.passed, trials.judged, results[index].baseline.passed, results[index].baseline.judged)
        for index, trials in fresh.items()
    }
    values = {index: fisher.lower(*table) for index, table in tables.items()}
    counted = [
        index for index in tables if policy.confirm or fisher.least(*tables[index]) <= policy.case_alpha
    ]
    adjusted = dict(zip(counted, holm([values[index] for index in counted]), strict=True))
    return [(index, p, adjusted.get(index, 1.0)) for index, p in values.items()]


def _concluded(result: CaseResult, fresh: Trials, policy: Policy) -> CaseResult:
    worse = result.adjusted_p is not None and result.adjusted_p <= policy.case_alpha
    if not policy.confirm:
        return replace(result, status="regressed", gap=None) if worse else result
    result = replace(result, confirmation=fresh)
    if worse:
        return replace(result, status="regressed", gap=None)
    if fresh.judged < policy.confirm:
        why = f"it looks worse, and {fresh.judged} of {policy.confirm} trials to confirm that were judged"
        return replace(result, gap=Gap("confirmation", why))
    return replace(result, status="cleared")


def _name_improved(results: Sequence[CaseResult], policy: Policy) -> list[CaseResult]:
    """Those that pass more often, by the candidate's trials alone: nothing depends on it, so none is tried afresh."""
    tables = {
        index: (
            result.candidate.passed,
            result.candidate.judged,
            result.baseline.passed,
            result.baseline.judged,
        )
        for index, result in enumerate(results)
        # What never failed can't get better.
        if result.status == "steady" and result.baseline.failed and result.candidate.judged
    }
    values = [fisher.higher(*table) for table in tables.values()]
    named = list(results)
    for index, p, adjusted in zip(tables, values, benjamini_hochberg(values), strict=True):
        if adjusted <= policy.improved_q:
            named[index] = replace(results[index], status="improved", p=p, adjusted_p=adjusted)
    return named


def _overall(results: Sequence[CaseResult], policy: Policy) -> Overall | None:
    both = [result for result in results if result.baseline.judged and result.candidate.judged]
    if not both:
        return None
    test = stratified.lower(
        (result.candidate.passed, result.candidate.judged, result.baseline.passed, result.baseline.judged)
        for result in both
    )
    trials = sum(result.candidate.judged for result in both)
    before = math.fsum(
        result.candidate.judged * result.baseline.passed / result.baseline.judged for result in both
    )
    return Overall(test, test.p <= policy.overall_alpha, before / trials, test.observed / trials)
