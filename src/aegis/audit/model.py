"""What an audit has seen: values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

Mode = Literal["fresh", "shared", "reset"]
"""Each trial in a fresh machine; one after another in one machine; the same with the world's reset steps between."""
MODES: tuple[Mode, ...] = ("fresh", "shared", "reset")


class Trial(NamedTuple):
    """One trial of the plan."""

    case: str
    number: int
    """From 1."""

    def __str__(self) -> str:
        return f"{self.case}#{self.number}"


@dataclass(frozen=True, slots=True)
class Seen:
    """How one trial ended."""

    trial: Trial
    outcome: str
    """`passed`, `failed`, `timeout` or `error`. A world that could not be set up in a machine in which others had run
    before is `failed`: whoever shares machines has lost that trial."""
    reason: str = ""

    @property
    def judged(self) -> bool:
        return self.outcome in ("passed", "failed", "timeout")

    @property
    def passed(self) -> bool:
        return self.outcome == "passed"


@dataclass(frozen=True, slots=True)
class Sequence:
    """Trials that ran one after another in one machine."""

    mode: Mode
    order: str
    """For people: `as written`, `reversed`, `shuffled 1`."""
    seen: tuple[Seen, ...]
    """In the order in which they ran."""

    def before(self, trial: Trial) -> tuple[Trial, ...]:
        """What ran before this trial. Raises `ValueError` for one that is not in it."""
        order = [each.trial for each in self.seen]
        return tuple(order[: order.index(trial)])


@dataclass(frozen=True, slots=True)
class Tally:
    """Of one case, or of all."""

    passed: int
    judged: int
    errors: int = 0

    @property
    def majority(self) -> bool:
        """Whether it passes rather than not; a tie is a failure."""
        return 2 * self.passed > self.judged


def tally(seen: Iterable[Seen]) -> Tally:
    found = list(seen)
    judged = [each for each in found if each.judged]
    return Tally(sum(each.passed for each in judged), len(judged), len(found) - len(judged))


def by_case(seen: Iterable[Seen]) -> dict[str, list[Seen]]:
    """In the order in which the cases first appear."""
    found: dict[str, list[Seen]] = {}
    for each in seen:
        found.setdefault(each.trial.case, []).append(each)
    return found
