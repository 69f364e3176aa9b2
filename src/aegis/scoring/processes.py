"""Scorer `processes`: what ran in the sandbox when the agent had ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aegis.errors import GuestOperationError, InfrastructureError
from aegis.sandbox.base import Processes, ProcessInfo
from aegis.scoring import configs, counts, matcher
from aegis.scoring.base import Score, ScoreContext
from aegis.scoring.configs import Problem, refuse
from aegis.scoring.pattern import Deadline, TooSlowError
from aegis.scoring.words import failed, passed, plain, shown

_KEYS = ("running", "none", "count")
_SHOWN = 3
JUDGING_S = 10.0
"""Time for all command lines together."""


class ProcessesScorer:
    """Looks at the list that was made before what the agent left behind was ended."""

    name = "processes"
    needs_processes = True
    """Asks the engine for that list."""

    def check(self, config: Any) -> None:
        refuse(_problems(_whole(config)))

    def files(self, config: Any) -> tuple[str, ...]:
        return ()

    async def score(self, config: Any, context: ScoreContext) -> Score:
        config, found = _whole(config), context.processes
        if found is None:
            raise InfrastructureError("what ran in the sandbox when the agent had ended is not known")
        if isinstance(found, GuestOperationError):
            return failed(self.name, f"the processes cannot be listed: {plain(str(found))}")
        deadline = Deadline(JUDGING_S)
        try:
            lack = _running(config, found, deadline) or _none(config, found, deadline)
        except TooSlowError:
            return failed(self.name, f"judging the command lines took longer than {JUDGING_S:g} s")
        return failed(self.name, lack) if lack else passed(self.name, f"as expected: {_told(found.items)}")


def _whole(config: Any) -> Any:
    return {"running": config} if isinstance(config, str) else config


def command(process: ProcessInfo) -> str:
    """The full command line, as patterns see it."""
    return " ".join(process.command)


def _fitting(pattern: Any, found: Processes, deadline: Deadline) -> list[ProcessInfo]:
    return [each for each in found.items if matcher.fits(pattern, command(each), deadline)]


def _running(config: Mapping[str, Any], found: Processes, deadline: Deadline) -> str | None:
    for pattern in _patterns(config.get("running", [])):
        fitting = _fitting(pattern, found, deadline)
        if not counts.right(len(fitting), config.get("count")):
            wanted = counts.wanted(config.get("count"), "process")
            those = fitting or found.items
            return (
                f"expected {wanted} whose command should {matcher.describe(pattern)}, found {len(fitting)}; "
                f"{'these' if fitting else 'running'}: {_told(those, found.more)}"
            )
    return None


def _none(config: Mapping[str, Any], found: Processes, deadline: Deadline) -> str | None:
    for pattern in _patterns(config.get("none", [])):
        if fitting := _fitting(pattern, found, deadline):
            words = matcher.describe(pattern)
            return f"expected no process whose command should {words}, found {_told(fitting)}"
    return f"there are {found.more} more processes than are looked at" if found.more else None


def _told(processes: Any, more: int = 0) -> str:
    if not processes:
        return "no process"
    told = ", ".join(f"{each.pid} {shown(command(each))}" for each in processes[:_SHOWN])
    left = len(processes) - _SHOWN + more
    return told + (f" and {left} more" if left > 0 else "")


def _patterns(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _problems(config: Any) -> Iterator[Problem]:
    yield from configs.keys(config, _KEYS)
    if not isinstance(config, Mapping):
        return
    if "running" not in config and "none" not in config:
        yield (), "expected running, none, or both"
    for key in ("running", "none"):
        value = config.get(key)
        if isinstance(value, list | tuple):
            if not value:
                yield (key,), "expected at least one pattern"
            for index, pattern in enumerate(value):
                yield from matcher.problems(pattern, (key, index))
        elif key in config:
            yield from matcher.problems(value, (key,))
    if "count" in config and "running" not in config:
        yield ("count",), "is for 'running'"
    yield from counts.problems(config)


scorer = ProcessesScorer()
