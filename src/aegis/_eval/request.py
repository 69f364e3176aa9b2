"""What a caller asks for, checked before anything is read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

from aegis._eval.keeping import KeepSetting
from aegis.errors import UsageError
from aegis.regression.policy import FAIL_ON, FailOn, Policy
from aegis.results.verdict import DEFAULT_FAIL_UNDER

Isolation = Literal["vm", "none"]
MAX_JOBS = 1024
MAX_CONFIRM = 1000


@dataclass(frozen=True, slots=True)
class RunRequest:
    """The arguments of `aegis.eval.run`; see there for what they mean."""

    suite: str | Path | None = None
    isolation: Isolation = "vm"
    trials: int | None = None
    fail_under: float | None = None
    """Percent. None: 100, or with a baseline no rate at all."""
    seed: int | None = None
    jobs: int | None = None
    keyword: str | None = None
    last_failed: bool = False
    retries: int = 2
    timeout_s: float | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    vmm: str | None = None
    require_kvm: bool = False
    project: str | Path | None = None
    record: bool = False
    replay: str | None = None
    faults: tuple[str, ...] | None = None
    stress: tuple[str, ...] | None = None
    keep: KeepSetting = field(default_factory=KeepSetting)
    baseline: str | None = None
    policy: Policy = field(default_factory=Policy)
    changed_since: str | None = None

    @property
    def threshold(self) -> float | None:
        """The pass rate in percent that the run must reach; None where only the baseline decides."""
        return DEFAULT_FAIL_UNDER if self.fail_under is None and self.baseline is None else self.fail_under

    def check(self) -> None:
        """Raise `UsageError` for a number out of its range or a combination that makes no sense."""
        isolation_of(self.isolation)
        if self.fail_under is not None and not 0 <= self.fail_under <= 100:  # also refuses NaN
            raise UsageError(f"the threshold must be between 0 and 100 (percent), not {self.fail_under:g}")
        if self.trials is not None and self.trials < 1:
            raise UsageError(f"the number of trials must be at least 1, not {self.trials}")
        check_limits(jobs=self.jobs, retries=self.retries)
        if self.timeout_s is not None and not (0 < self.timeout_s < math.inf):
            raise UsageError(f"the timeout must be a positive number of seconds, not {self.timeout_s:g}")
        if self.isolation == "none" and (self.vmm or self.require_kvm):
            raise UsageError(
                "a virtual machine monitor was asked for, but isolation is 'none'", fix="leave one away"
            )
        self.keep.check(self.isolation)
        if self.record and self.replay is not None:
            raise UsageError("a replay has nothing new to record", fix="leave --record or --replay away")
        if self.baseline is not None:
            self._check_baseline()

    def _check_baseline(self) -> None:
        if self.isolation == "none":
            raise UsageError(
                "a run without isolation can be compared with nothing: what one trial leaves changes the next",
                fix="leave --isolation=none or --baseline away",
            )
        if self.replay is not None:
            raise UsageError(
                "a replay is compared with nothing: it answers from a recording, whatever the agent asks",
                fix="leave --replay or --baseline away",
            )


def check_limits(*, jobs: int | None, retries: int) -> None:
    """Raise `UsageError` unless both are in their ranges."""
    if jobs is not None and not 1 <= jobs <= MAX_JOBS:
        raise UsageError(f"the number of jobs must be between 1 and {MAX_JOBS}, not {jobs}")
    if not 0 <= retries <= 100:
        raise UsageError(f"the number of retries must be between 0 and 100, not {retries}")


def isolation_of(text: str) -> Isolation:
    """The word as the type. Raises `UsageError`."""
    if text not in ("vm", "none"):
        raise UsageError(f"unknown isolation {text!r}", fix="use vm or none")
    return cast(Isolation, text)


def names_of(names: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """One name, several, or None for what was not given."""
    if names is None:
        return None
    return (names,) if isinstance(names, str) else tuple(names)


def policy_of(
    *,
    confirm: int | None = None,
    min_trials: int | None = None,
    fail_on: str | Sequence[str] | None = None,
    strict: bool = False,
) -> Policy:
    """How strict a comparison is; None: as by default. What `fail_on` names counts besides regressions; `never`:
    nothing counts. Raises `UsageError`."""
    names = names_of(fail_on) or ("regression",)
    if unknown := [name for name in names if name not in (*FAIL_ON, "never")]:
        raise UsageError(f"unknown reason to fail {unknown[0]!r}", fix=f"use {', '.join(FAIL_ON)} or never")
    if "never" in names and len(set(names)) > 1:
        raise UsageError("--fail-on never stands alone", fix="leave never or the others away")
    if confirm is not None and not 0 <= confirm <= MAX_CONFIRM:
        raise UsageError(
            f"the number of trials to confirm must be between 0 and {MAX_CONFIRM}, not {confirm}"
        )
    if min_trials is not None and min_trials < 1:
        raise UsageError(f"the least number of trials must be at least 1, not {min_trials}")
    counted: set[FailOn] = set() if "never" in names else {"regression", *cast(Sequence[FailOn], names)}
    standard = Policy()
    policy = Policy(
        confirm=standard.confirm if confirm is None else confirm,
        min_trials=standard.min_trials if min_trials is None else min_trials,
        fail_on=frozenset(counted),
    )
    return policy.strict() if strict else policy
