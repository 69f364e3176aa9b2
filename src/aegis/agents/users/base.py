"""The contract between a conversation and whoever plays a simulated user in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Holds = Callable[[Any, str], Awaitable[bool]]
"""Whether an answer does what a matcher asks for (`aegis.scoring.matcher.holds`: that room is out of reach here)."""


@dataclass(frozen=True, slots=True)
class Said:
    """One turn that is over."""

    user: str
    answer: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The simulated user says no more: why, in words."""

    reason: str


class Player(Protocol):
    """Plays one simulated user of one trial."""

    async def reply(self, said: Sequence[Said], own: int) -> str | Ended:
        """The next message after all that was said, the last `own` messages by this user. Raises `UserFault` and
        `AegisError`."""
