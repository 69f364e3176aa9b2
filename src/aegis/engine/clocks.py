"""Trials on another date: which can have one, and when it is set."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

from aegis.engine.spec import PlannedTrial
from aegis.errors import UsageError
from aegis.sandbox.base import Sandbox
from aegis.suite.model import Clock, Suite

_NAMED = 3


def environment(clock: Clock | None) -> Mapping[str, str]:
    """Variables for everything that the trial starts."""
    return {} if clock is None or clock.zone is None else {"TZ": clock.zone}


async def show(sandbox: Sandbox, clock: Clock | None) -> None:
    """Before the world's steps: they see the day of the trial. Raises `SandboxError`."""
    if clock is not None:
        await sandbox.set_clock(clock.at, clock.zone)


async def show_again(sandbox: Sandbox, clock: Clock | None) -> None:
    """When the agent starts: it does not matter how long the world's steps took. Raises `SandboxError`."""
    if clock is not None and clock.at is not None:
        await sandbox.set_clock(clock.at, None)


def refuse_without_machines(
    suite: Suite, planned: Collection[PlannedTrial], isolation: Literal["vm", "none"]
) -> None:
    """Raise `UsageError` when a planned case has a clock and there is no machine of its own to show it."""
    if isolation == "vm":
        return
    chosen = {trial.case for trial in planned}
    cases = [case.id for case in suite.cases if case.id in chosen and case.world.clock is not None]
    if cases:
        named = ", ".join(cases[:_NAMED]) + (
            f" and {len(cases) - _NAMED} more" if len(cases) > _NAMED else ""
        )
        raise UsageError(
            f"world.clock needs machines: --isolation=none has no clock but this host's (cases: {named})",
            fix="run with --isolation=vm, or choose other cases with -k",
        )
