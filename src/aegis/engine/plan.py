"""Which trials a run has, and in which order."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence

from aegis.engine.keyword import compile_keyword
from aegis.engine.spec import BASELINE, PlannedTrial
from aegis.errors import NothingSelectedError, UsageError
from aegis.suite.model import Case, Suite

MAX_TRIALS = 1_000_000


def select(
    suite: Suite, *, keyword: str | None = None, only: Collection[str] | None = None
) -> tuple[Case, ...]:
    """The cases to run: those that match the `-k` expression and, when `only` is given, whose id is in it.

    Raises `UsageError` for a broken expression and `NothingSelectedError` when no case is left.
    """
    cases = suite.cases
    if only is not None:
        cases = tuple(case for case in cases if case.id in only)
    if keyword is not None:
        matches = compile_keyword(keyword)
        cases = tuple(case for case in cases if matches(case))
    if not cases:
        raise NothingSelectedError(
            _why_nothing(suite, keyword), fix=f"aegis suite list {suite.suite} shows its cases and their tags"
        )
    return cases


def _why_nothing(suite: Suite, keyword: str | None) -> str:
    if not suite.cases:
        return f"suite {suite.suite} has no cases"
    if keyword is None:
        return f"none of the {len(suite.cases)} cases of suite {suite.suite} is selected"
    return f"-k {keyword!r} matches none of the {len(suite.cases)} cases of suite {suite.suite}"


def trial_count(case: Case, suite: Suite, override: int | None) -> int:
    """How often a case runs: `--trials`, else the case's own number, else the suite's."""
    return override or case.trials or suite.trials


def no_variants(case: Case) -> tuple[str, ...]:
    return ()


def make_plan(
    suite: Suite,
    cases: Sequence[Case],
    *,
    trials: int | None,
    variants: Callable[[Case], Sequence[str]] = no_variants,
) -> tuple[PlannedTrial, ...]:
    """Every trial of the cases, each beside its variants, in the order of the suite. The order of execution is
    `shuffled`. `variants` names those of a case, besides the case as written.

    Raises `UsageError` when `trials` is below 1 or the plan has more than `MAX_TRIALS` trials.
    """
    if trials is not None and trials < 1:
        raise UsageError(f"the number of trials must be at least 1, not {trials}")
    made = {case.id: (BASELINE, *variants(case)) for case in cases}
    total = sum(trial_count(case, suite, trials) * len(made[case.id]) for case in cases)
    if total > MAX_TRIALS:
        raise UsageError(
            f"the plan has {total:,} trials; the most is {MAX_TRIALS:,}", fix="lower --trials or narrow -k"
        )
    return tuple(
        PlannedTrial(case.id, variant, number)
        for case in cases
        for variant in made[case.id]
        for number in range(1, trial_count(case, suite, trials) + 1)
    )


def shuffled(plan: Sequence[PlannedTrial], seed: int) -> tuple[PlannedTrial, ...]:
    """The plan in the order in which it is run, which only `seed` and the plan itself decide: trials that would hide a
    dependency by their order meet in another one at the next run."""
    order = list(plan)
    # A generator of its own: the order must not depend on who else has drawn from the global one.
    random.Random(seed).shuffle(order)
    return tuple(order)
