"""What has drifted, in words that can be shown side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from aegis.regression.trials import CaseKey

Aspect = Literal["tools", "arguments", "hosts", "writes", "answer", "tokens", "cost", "latency", "resilience"]
Grade = Literal["always", "significant", "untested"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference."""

    key: CaseKey | None
    """None: it is about the suite as a whole."""
    aspect: Aspect
    what: str
    """`order of tool calls`, `lookup_order $.order_id`, `new host evil.example`, `tokens`."""
    before: str
    now: str
    """The two sides; "" where there was nothing."""
    grade: Grade
    """`always`: shown however often it happened (a new host, a new write, a rule newly broken); `significant`: more
    than chance; `untested`: there are too few trials or cases for any difference to be more than chance."""
    p: float | None = None
    """Adjusted for all the tests of its aspect; None when nothing was tested."""

    def __str__(self) -> str:
        where = "suite" if self.key is None else str(self.key)
        if not self.before:
            return f"{where}: {self.what}: {self.now}"
        return f"{where}: {self.what}: before {self.before}; now {self.now}"


@dataclass(frozen=True, slots=True)
class Ratio:
    """How a quantity of one case has changed: means of both sides, and now / before."""

    before: float
    now: float

    @property
    def ratio(self) -> float:
        return self.now / self.before


@dataclass(frozen=True)
class Drift:
    findings: tuple[Finding, ...]
    ratios: Mapping[Aspect, Mapping[CaseKey, Ratio]]
    """Of `tokens`, `cost` and `latency`, each case that has them on both sides."""

    @property
    def shown(self) -> tuple[Finding, ...]:
        """What is drift: without the differences that could not be told from chance."""
        return tuple(finding for finding in self.findings if finding.grade != "untested")

    def of(self, key: CaseKey) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.key == key)
