"""Finding the culprit: by what the orders rule out, then by bisection."""

from __future__ import annotations

import asyncio
import random

from hypothesis import given
from hypothesis import strategies as st

from aegis.audit import search
from aegis.audit.model import Seen, Sequence, Trial
from aegis.audit.orders import make_orders


def trials(names: str) -> tuple[Trial, ...]:
    return tuple(Trial(name, 1) for name in names)


def world(
    order: tuple[Trial, ...], victim: Trial, guilty: frozenset[str], usual: bool = False
) -> tuple[Seen, ...]:
    """What is seen when the victim's result changes exactly after all of the guilty."""
    seen, before = [], set()
    for trial in order:
        changed = trial == victim and guilty <= before
        seen.append(Seen(trial, "passed" if (usual != changed if trial == victim else True) else "failed"))
        before.add(trial.case)
    return tuple(seen)


class Asked:
    """A machine in which the victim's result changes after all of the guilty."""

    def __init__(self, guilty: frozenset[str]) -> None:
        self.guilty = guilty
        self.groups: list[tuple[Trial, ...]] = []

    async def __call__(self, before: tuple[Trial, ...]) -> bool:
        self.groups.append(before)
        return self.guilty <= {trial.case for trial in before}


NAMES = "abcdefghijklmnopqrst"


@given(st.integers(0, 19), st.integers(0, 19), st.integers(1, 5), st.integers(0, 1000), st.booleans())
def test_one_culprit_is_found_whoever_it_is(
    culprit: int, at: int, count: int, seed: int, usual: bool
) -> None:
    if culprit == at:
        return
    plan = trials(NAMES)
    victim, guilty = plan[at], frozenset(NAMES[culprit])
    sequences = [
        Sequence("shared", name, world(order, victim, guilty, usual))
        for name, order in make_orders(plan, count, seed).items()
    ]
    suspicion = search.suspicion(victim.case, usual, sequences)
    if suspicion is None:  # it ran before the victim in no order
        assert not any(guilty <= {trial.case for trial in each.before(victim)} for each in sequences)
        return
    assert plan[culprit] in suspicion.suspects
    asked = Asked(guilty)
    found = asyncio.run(search.find_culprits(suspicion, asked, budget=60))
    assert found.trials == (plan[culprit],)
    assert found.minimal
    assert found.probes == len(asked.groups) <= 15


@given(st.sets(st.integers(0, 18), min_size=2, max_size=3), st.integers(0, 1000))
def test_several_that_are_needed_together_are_found(guilty_at: set[int], seed: int) -> None:
    plan = trials(NAMES)
    victim, guilty = plan[19], frozenset(NAMES[index] for index in guilty_at)
    sequences = [
        Sequence("shared", name, world(order, victim, guilty))
        for name, order in make_orders(plan, 4, seed).items()
    ]
    suspicion = search.suspicion(victim.case, False, sequences)
    assert suspicion is not None
    found = asyncio.run(search.find_culprits(suspicion, Asked(guilty), budget=500))
    assert {trial.case for trial in found.trials} == guilty
    assert found.minimal


def test_two_orders_halve_the_suspects() -> None:
    plan = trials("abcdVefgh")
    victim = plan[4]
    sequences = [
        Sequence("shared", name, world(order, victim, frozenset("c")))
        for name, order in make_orders(plan, 2, 0).items()
    ]
    suspicion = search.suspicion("V", False, sequences)
    assert suspicion is not None
    assert suspicion.suspects == trials("abcd")


def test_a_case_can_be_its_own_culprit() -> None:
    first, second = Trial("a", 1), Trial("a", 2)
    sequence = Sequence("shared", "as written", (Seen(first, "passed"), Seen(second, "failed")))
    suspicion = search.suspicion("a", True, [sequence])
    assert suspicion is not None
    assert (suspicion.victim, suspicion.before) == (second, (first,))


def test_a_result_that_changed_with_nothing_before_it_is_nobodys_doing() -> None:
    sequence = Sequence(
        "shared", "as written", (Seen(Trial("a", 1), "failed"), Seen(Trial("b", 1), "passed"))
    )
    assert search.suspicion("a", True, [sequence]) is None


def test_a_change_that_does_not_come_again_has_no_culprit_and_costs_two_probes() -> None:
    suspicion = search.Suspicion(Trial("v", 1), "as written", trials("abcd"), trials("ab"))
    found = asyncio.run(search.find_culprits(suspicion, Asked(frozenset("never")), budget=60))
    assert found.trials == ()
    assert found.probes == 2


@given(st.integers(0, 12), st.integers(0, 1000))
def test_no_more_is_asked_than_allowed(budget: int, seed: int) -> None:
    guilty = frozenset(random.Random(seed).sample(NAMES, 4))
    suspicion = search.Suspicion(Trial("v", 1), "as written", trials(NAMES), ())
    asked = Asked(guilty)
    found = asyncio.run(search.find_culprits(suspicion, asked, budget=budget))
    assert len(asked.groups) == found.probes <= budget
    assert guilty <= {trial.case for trial in found.trials} or not budget
    assert not found.minimal
