"""What the audit found out about one case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from aegis.audit.carriers import Carrier
from aegis.audit.model import Mode, Seen, Tally, Trial, by_case, tally
from aegis.audit.model import Sequence as Ran

Why = Literal["", "chance", "budget", "errors"]


@dataclass(frozen=True, slots=True)
class Experiment:
    """New runs, made after the suspicion: alone, and right after the culprits."""

    alone: Tally
    after: Tally
    value: float
    """p-value (Fisher's exact test, one-sided)."""
    level: float
    """What it must not exceed."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One case whose result was once another one after others than alone."""

    case: str
    usual: bool
    """Whether it passes in fresh machines."""
    dependent: bool
    """Whether that is more than its own chance."""
    why: Why = ""
    """Why not, or why nobody can tell: its own `chance`, the `budget` ended before, or `errors`."""
    value: float = 1.0
    """p-value of the comparison of all orders with fresh machines, adjusted for all cases."""
    victim: Trial | None = None
    culprits: tuple[Trial, ...] = ()
    minimal: bool = False
    experiment: Experiment | None = None
    carriers: tuple[Carrier, ...] = ()
    carriers_note: str = ""
    """Why they are not known, or not confirmed; "" when they are."""
    probes: int = 0
    cleaned: bool | None = None
    """Whether the usual result is back when the reset steps of the culprits run before it; None: not tried."""

    @property
    def effect(self) -> str:
        """`masked`: fails alone, passes after others. `broken`: passes alone, fails after others."""
        return "broken" if self.usual else "masked"


@dataclass(frozen=True, slots=True)
class Report:
    """All that an audit has seen."""

    fresh: tuple[Seen, ...]
    shared: tuple[Ran, ...]
    reset: tuple[Ran, ...]
    """Empty when no case has reset steps."""
    as_mode: Mode
    studied: Mode
    """Whose orders the findings are about: `shared` or `reset`."""
    findings: tuple[Finding, ...]
    suite_value: float
    """p-value of "the suite passes as often as in fresh machines" in the studied mode."""
    probes: int
    max_probes: int
    notes: tuple[str, ...] = ()

    def sequences(self, mode: Mode) -> tuple[Ran, ...]:
        return {"fresh": (), "shared": self.shared, "reset": self.reset}[mode]

    @property
    def dependent(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.dependent)

    @property
    def cases(self) -> int:
        return len(by_case(self.fresh))

    def errors(self) -> int:
        """Trials that could not be judged, in fresh machines and in the mode that the suite is run in."""
        seen: Sequence[Seen] = [
            *self.fresh,
            *(each for ran in self.sequences(self.as_mode) for each in ran.seen),
        ]
        return tally(seen).errors
