"""What a run came to, as callers see it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

INTERRUPTED_EXIT_CODE = 130


@dataclass(frozen=True)
class CaseResult:
    """All trials of one case."""

    trials: tuple[dict[str, Any], ...]
    """The entries of the run document."""
    passed: int
    """How many of them passed."""
    pass_rate: float | None
    """0–1, over the trials that were judged; None when none was."""


@dataclass(frozen=True)
class EvalResult:
    """A finished or interrupted run. Everything is read from its document."""

    document: dict[str, Any]
    """The run document (docs/run-document.md)."""
    interrupted: bool = False
    """Stopped before every trial had its result; `aegis.eval.resume` finishes it."""

    @property
    def run_id(self) -> str:
        return str(self.document["run_id"])

    @property
    def verdict(self) -> str:
        """`PASS`, `REGRESSED`, `BELOW_THRESHOLD` or `INCONCLUSIVE`."""
        return str(self.document["verdict"])

    @property
    def exit_code(self) -> int:
        """What the command line exits with: the verdict's code, or 130 when interrupted."""
        return INTERRUPTED_EXIT_CODE if self.interrupted else int(self.document["exit_code"])

    @property
    def pass_rate(self) -> float | None:
        """0–1: passed / (passed + failed + timeout); None when no trial was judged."""
        rate: float | None = self.document["pass_rate"]
        return rate

    @property
    def regressions(self) -> tuple[dict[str, Any], ...]:
        """The cases that are confirmed to have got worse than the baseline, the surest first, as in the document."""
        return tuple(self.document["regressions"])

    @property
    def trials(self) -> tuple[dict[str, Any], ...]:
        """Every planned trial, as in the document."""
        return tuple(self.document["trials"])

    @cached_property
    def cases(self) -> dict[str, CaseResult]:
        """By case id, in the order of the plan."""
        groups: dict[str, list[dict[str, Any]]] = {}
        for trial in self.document["trials"]:
            groups.setdefault(trial["case"], []).append(trial)
        return {case: _case(trials) for case, trials in groups.items()}


def _case(trials: list[dict[str, Any]]) -> CaseResult:
    ordered = sorted(trials, key=lambda trial: (trial["variant"], trial["number"]))
    passed = sum(trial["outcome"] == "passed" for trial in trials)
    judged = sum(trial["outcome"] in ("passed", "failed", "timeout") for trial in trials)
    return CaseResult(tuple(ordered), passed, passed / judged if judged else None)
