"""Machines of a trial that are kept: as it was at the trial's end, and before its turns (checkpoints)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from aegis.agents.base import UserTurns
from aegis.engine.spec import Outcome, PlannedTrial, TrialSpec
from aegis.errors import SandboxError, SandboxLostError
from aegis.sandbox.base import Process, Sandbox
from aegis.sandbox.kept import Keepable

Which = Literal["none", "failed", "all"]
"""Of the trials whose machines stay: those that did not pass (`error` included), or all."""

KEEP_TIMEOUT_S = 120.0
"""Of one machine, on a slow host; then the trial goes on without."""
ONE_TURN = frozenset({"text"})
"""Protocols that are told everything at once: there is nothing between their turns."""


class Shelf(Protocol):
    """Where kept machines lie. All methods block, and may be called from any thread."""

    def folder(self, run_id: str, trial: PlannedTrial, epoch: int) -> Path:
        """Of one attempt's machines. What older attempts of the trial left is removed."""

    def drop(self, folder: Path) -> None:
        """Remove all machines of an attempt. Raises nothing."""

    def make_room(self, newest: Path) -> str | None:
        """Remove the oldest machines, but not this one, while all together take more room than they may; what was
        removed, in words. Raises nothing."""


def _nothing() -> dict[str, Any]:
    return {}


@dataclass(frozen=True, slots=True)
class Keeping:
    """What a run keeps."""

    shelf: Shelf
    which: Which
    every: int
    """A checkpoint before turns 1, 1 + N, 1 + 2N …; 0: none."""
    say: Callable[[str], None]
    carry: Callable[[], Mapping[str, Any]] = _nothing
    """What of the run's network programs in the machine may have taken in (JSON), asked at each checkpoint."""


class TrialKeeper:
    """Of one attempt. Nothing that goes wrong here changes the trial."""

    def __init__(self, keeping: Keeping, spec: TrialSpec, sandbox: Sandbox) -> None:
        self._keeping = keeping
        self._spec = spec
        self._sandbox = sandbox
        self._folder: Path | None = None
        self._checkpoints: list[int] = []
        self._bytes = 0
        self._problem: str | None = None
        self.waited_s = 0.0
        """Seconds that checkpoints took so far, which are not the agent's."""

    def watch(self, turns: UserTurns, position: Callable[[], Mapping[str, Any]]) -> UserTurns:
        """The same turns, with a checkpoint before those that the run asks for. `position`: where the user is in the
        conversation (JSON) once they have said a message."""
        every = self._keeping.every
        return _Watched(turns, self, position) if every else turns

    async def before_turn(self, number: int, message: str, position: Mapping[str, Any]) -> None:
        """`number` from 1; `message` is about to be said."""
        only_first = self._spec.agent.protocol in ONE_TURN
        if (number - 1) % self._keeping.every or (only_first and number > 1):
            return
        begun = time.monotonic()
        notes = {"turn": number, "message": message, "position": dict(position), **self._keeping.carry()}
        if await self._keep(f"turn-{number}", notes, self._newest()):
            self._checkpoints.append(number)
        self.waited_s += time.monotonic() - begun

    def _newest(self) -> Process | None:
        return self._sandbox.newest if isinstance(self._sandbox, Keepable) else None

    async def at_end(self, outcome: Outcome) -> dict[str, Any] | None:
        """Keep the machine if the run wants it, drop the checkpoints if not; what the trial's row says of it."""
        keeping = self._keeping
        wanted = keeping.which == "all" or outcome != "passed"
        if not wanted:
            if self._folder is not None:
                await asyncio.to_thread(keeping.shelf.drop, self._folder)
            return None
        end = None
        if keeping.which != "none":
            before = self._bytes
            if await self._keep("end", {}, None):
                end = {"bytes": self._bytes - before}
        if end is None and not self._checkpoints and self._problem is None:
            return None
        return {
            "end": end,
            "checkpoints": list(self._checkpoints),
            "bytes": self._bytes,
            "problem": self._problem,
        }

    async def _keep(self, name: str, notes: Mapping[str, Any], program: Process | None) -> bool:
        shelf, spec = self._keeping.shelf, self._spec
        if not isinstance(self._sandbox, Keepable):
            return False
        try:
            if self._folder is None:
                planned = spec.planned
                self._folder = await asyncio.to_thread(shelf.folder, spec.run_id, planned, spec.epoch)
            async with asyncio.timeout(KEEP_TIMEOUT_S):
                copied = await self._sandbox.keep(self._folder / name, notes, program)
        except TimeoutError:
            return self._failed(f"the machine was not kept within {KEEP_TIMEOUT_S:g} s")
        except SandboxLostError as lost:
            return self._failed(f"there is no machine left to keep: {lost}")
        except (SandboxError, OSError) as error:
            return self._failed(str(error))
        self._bytes += copied.size_bytes
        if told := await asyncio.to_thread(shelf.make_room, self._folder / name):
            self._keeping.say(told)
        return True

    def _failed(self, why: str) -> bool:
        if self._problem is None:
            self._keeping.say(f"{self._spec.planned}: {why}")
        self._problem = " ".join(why.split())
        return False


class _Watched:
    """Fulfils `UserTurns`."""

    def __init__(
        self, turns: UserTurns, keeper: TrialKeeper, position: Callable[[], Mapping[str, Any]]
    ) -> None:
        self._turns = turns
        self._keeper = keeper
        self._position = position
        self._said = 0

    @property
    def total(self) -> int | None:
        return self._turns.total

    async def next(self, answer: str | None) -> str | None:
        message = await self._turns.next(answer)
        if message is not None:
            self._said += 1
            await self._keeper.before_turn(self._said, message, self._position())
        return message
