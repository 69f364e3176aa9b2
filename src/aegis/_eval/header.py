"""The lines that a run begins with: what runs, how, and what keeps it apart."""

from __future__ import annotations

from collections.abc import Sequence

from aegis.engine.spec import PlannedTrial
from aegis.sandbox.base import MIB, DriverInfo
from aegis.suite import Suite


def plan_line(suite: Suite, plan: Sequence[PlannedTrial], seed: int, run_id: str) -> str:
    cases = len({trial.case for trial in plan})
    what = f"{counted(len(plan), 'trial')} of {counted(cases, 'case')}"
    return f"suite {suite.suite}: {what}, seed {seed}, run {run_id}"


def decide_jobs(requested: int | None, slots: int, trials: int, memory_bytes: int) -> tuple[int, str]:
    """How many sandboxes run at once, and why that many."""
    jobs = min(slots if requested is None else requested, slots, max(1, trials))
    if jobs == requested:
        return jobs, "--jobs"
    if jobs == slots:
        carried = f"what this host's processors and memory carry at {memory_bytes // MIB} MiB each"
        return jobs, carried if requested is None else f"--jobs {requested} is more than {carried}"
    return jobs, "there are no more trials"


def isolation_lines(info: DriverInfo, jobs: int, why: str) -> list[str]:
    parts = "/".join(part for part in (info.driver, info.accel) if part)
    boundary = "a security boundary" if info.security_boundary else "NOT a security boundary"
    if info.driver == "process":
        isolation = "isolation: NONE, plain processes of this host (--isolation=none)"
    else:
        isolation = f"isolation: {parts} ({info.version}), {boundary}"
    lines = [f"{jobs} at once ({why})", isolation]
    if info.note:
        lines.append(f"WARNING: {info.note}" if info.driver == "process" else f"note: {info.note}")
    return lines


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count:,} {noun}s"
