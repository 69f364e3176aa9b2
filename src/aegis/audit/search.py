"""Who polluted whom: from the orders that were run, and from a few more runs of parts of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from aegis.audit.model import Sequence as Ran
from aegis.audit.model import Trial
from aegis.engine.shrink import smallest

Flips = Callable[[tuple[Trial, ...]], Awaitable[bool]]
"""Whether the victim's result is another one than alone when these trials, in this order, ran before it."""


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A victim's trial whose result was another one than alone, and what ran before it there."""

    victim: Trial
    order: str
    before: tuple[Trial, ...]
    suspects: tuple[Trial, ...]
    """Those of them that ran before it in no order in which its result was the usual one. Empty when the orders rule
    out every single one: then it takes several, or their order, or chance."""


@dataclass(frozen=True, slots=True)
class Culprits:
    trials: tuple[Trial, ...]
    """A smallest set found, in the order in which they ran; empty when the result did not change again."""
    minimal: bool
    """Whether each of them was shown to be needed; False when the budget ended before."""
    probes: int


def suspicion(case: str, usual: bool, sequences: Sequence[Ran]) -> Suspicion | None:
    """The best place to begin for this case, whose trials alone mostly pass (`usual`) or not: the changed result with
    the fewest suspects before it. None when no result changed after anything."""
    innocent: set[str] = set()
    changed: list[tuple[str, Trial, tuple[Trial, ...]]] = []
    for sequence in sequences:
        for seen in sequence.seen:
            if seen.trial.case != case or not seen.judged:
                continue
            before = sequence.before(seen.trial)
            if seen.passed == usual:
                innocent |= {trial.case for trial in before}
            elif before:
                changed.append((sequence.order, seen.trial, before))
    found = [
        Suspicion(victim, order, before, tuple(trial for trial in before if trial.case not in innocent))
        for order, victim, before in changed
    ]
    # Without suspects the shortest history is the best place.
    return min(found, key=lambda each: (not each.suspects, len(each.suspects or each.before)), default=None)


async def find_culprits(suspicion: Suspicion, flips: Flips, *, budget: int) -> Culprits:
    """A smallest set of trials after which the victim's result changes. `flips` is asked at most `budget` times.

    First the suspects alone; when they are not enough, everything that ran before. Either is then made smaller by
    delta debugging, which for a single culprit is a bisection.
    """
    used = 0
    for group in _groups(suspicion):
        if used >= budget:
            break
        used += 1
        if await flips(group):
            found = await smallest(group, flips, budget=budget - used)
            return Culprits(found.kept, found.minimal, used + found.tests)
    return Culprits((), False, used)


def _groups(suspicion: Suspicion) -> list[tuple[Trial, ...]]:
    both = (suspicion.suspects, suspicion.before)
    return list(dict.fromkeys(group for group in both if group))
