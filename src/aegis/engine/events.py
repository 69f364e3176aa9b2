"""What the engine tells its listener while it works. Listeners are called on the event loop and must be
quick."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aegis.engine.spec import PlannedTrial, TrialResult


@dataclass(frozen=True, slots=True)
class TrialStarted:
    """An attempt begins; `epoch` is 1 for the first one of the trial."""

    trial: PlannedTrial
    epoch: int


@dataclass(frozen=True, slots=True)
class TrialRetrying:
    """An attempt ended in an infrastructure error and the trial goes to a fresh sandbox."""

    trial: PlannedTrial
    reason: str
    retries_left: int


@dataclass(frozen=True, slots=True)
class TrialFinished:
    """The trial has its final result."""

    trial: PlannedTrial
    result: TrialResult


@dataclass(frozen=True, slots=True)
class Message:
    """A present-tense line about slow or unusual work."""

    text: str


Event = TrialStarted | TrialRetrying | TrialFinished | Message
Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The listener of those who need none."""
