"""The lines that a run begins with: what runs, how, and what keeps it apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from aegis.engine.resolve import Resolved
from aegis.engine.spec import PlannedTrial
from aegis.report.text import counted
from aegis.sandbox.base import MIB, DriverInfo
from aegis.suite import Suite

if TYPE_CHECKING:
    from aegis._eval.session import Setting


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


def network_lines(resolved: Resolved, setting: Setting) -> list[str]:
    """What stands in for the outside world in this run, where that is not plain from the suite."""
    if setting.replay_of is not None:
        return [
            f"REPLAY of run {setting.replay_of}: it answers instead of the network, and what it lacks is refused"
        ]
    lines = []
    led = {*resolved.routes, *resolved.upstream_routes}
    for name in resolved.missing:
        routed = [host for host, route in resolved.network.routes.items() if route.unless == name]
        if not routed and led.issuperset(resolved.secrets[name].hosts):
            continue  # nothing that wants the real value is reached
        where = f", so {', '.join(routed)} {'is' if len(routed) == 1 else 'are'} routed" if routed else ""
        lines.append(f"note: {name} has no value in this environment{where}")
    if setting.record:
        lines.append("recording: responses are kept whole, for --replay")
    return lines
