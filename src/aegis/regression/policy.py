"""How strict a comparison is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

FailOn = Literal["regression", "drift", "new-failure"]
FAIL_ON: tuple[FailOn, ...] = ("regression", "drift", "new-failure")


@dataclass(frozen=True, slots=True)
class Policy:
    """The defaults are those of docs/regression.md, whose table says what they find and how often they are wrong."""

    overall_alpha: float = 0.01
    """The suite as a whole is worse when the overall test's p-value is at most this."""
    case_alpha: float = 0.05
    """A case is worse when its p-value, after Holm's correction, is at most this."""
    screen: float = 0.15
    """A case is suspect when so few passes had at most this probability, after its baseline."""
    confirm: int = 10
    """Fresh trials of each suspect, which alone decide. 0: there are none, the candidate's trials decide at once."""
    min_trials: int = 1
    """Judged trials that each case needs."""
    improved_q: float = 0.10
    """Cases that got better are named so that at most this share of them is expected to be chance."""
    fail_on: frozenset[FailOn] = frozenset({"regression"})
    """What makes the verdict REGRESSED. Nothing: the comparison only informs."""

    def __post_init__(self) -> None:
        for name in ("overall_alpha", "case_alpha", "screen", "improved_q"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} must be between 0 and 1, not {getattr(self, name)}")
        if self.confirm < 0 or self.min_trials < 1:
            raise ValueError("confirm cannot be negative, and min_trials must be at least 1")
        if unknown := self.fail_on - set(FAIL_ON):
            raise ValueError(f"fail_on knows {', '.join(FAIL_ON)}, not {', '.join(sorted(unknown))}")

    def strict(self) -> Policy:
        """Both levels at 0.01: fewer false alarms, and more regressions that stay unseen."""
        return replace(self, overall_alpha=0.01, case_alpha=0.01)
