"""The rows of the ledger as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

OUTCOMES = ("passed", "failed", "timeout", "error", "cancelled")
"""Of an attempt or trial: the agent passed, failed, or ran out of time; the infrastructure failed; it was
stopped."""

PLAN, CONFIRMATION = "plan", "confirmation"
"""What a trial is for: the suite's own plan, or confirming that a case got worse."""

STATUSES = ("running", "complete", "interrupted")


@dataclass(frozen=True)
class RunRecord:
    """One execution of a suite."""

    run_id: str
    suite: str
    status: str
    """`running`; `complete`; `interrupted` (stopped by its user, or its process died before it finished)."""
    created_at: str
    """ISO 8601, UTC."""
    config: dict[str, Any]
    """JSON: all that `resume` needs. `document.build` says which keys it reads."""
    document: dict[str, Any] | None = None
    """The run document; None until the run was finished."""


@dataclass(frozen=True)
class TrialRecord:
    """One planned trial and, once there is one, the attempt that counts."""

    run_id: str
    case: str
    variant: str
    number: int
    """From 1."""
    epoch: int
    """The newest attempt's; 0 when none has begun."""
    outcome: str | None
    """None = not finished."""
    result: dict[str, Any] | None
    """The TrialResult as JSON; None = not finished."""
    attempts: int
    """How many attempts were begun."""
    purpose: str = PLAN
    """`plan`, or `confirmation`."""


@dataclass(frozen=True)
class AttemptRecord:
    """One try at a trial, also one that was superseded or lost."""

    epoch: int
    outcome: str | None
    """None: it never reported, or its report came too late and was refused."""
    started_at: str
    finished_at: str | None
    """ISO 8601, UTC, both."""
    final: bool
    """Whether this is the attempt that counts."""
    result: dict[str, Any] | None
