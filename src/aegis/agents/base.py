"""The contract of an agent driver: how turns reach the agent and its answers come back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from aegis.sandbox.base import PreparedProcess, Process, Sandbox
from aegis.suite.model import Agent
from aegis.trace import ToolCall, Trace, TurnRecord

MAX_ANSWER_BYTES = 8 * 1024 * 1024
"""An answer (or one protocol line) longer than this is the agent's failure; the rest is read and dropped."""


def nothing_waited() -> float:
    """For a trial that no gateway makes wait."""
    return 0.0


class UserFault(Exception):
    """The user's side of a conversation cannot go on, and the agent is not to blame: why, in one line. The trial is an
    `error`."""


class UserTurns(Protocol):
    """The user of one conversation (`aegis.agents.users`): what they say, message by message."""

    @property
    def total(self) -> int | None:
        """How many messages there are; None when it depends on the answers."""

    async def next(self, answer: str | None) -> str | None:
        """The next message; None when the conversation is over. `answer` is the agent's to the message before, None
        before the first one. May take as long as a model takes, which is no part of the agent's time. Raises
        `UserFault`."""


@dataclass(frozen=True, slots=True)
class AgentResult:
    """What the driver saw. `failure` is None when every turn was answered within the protocol."""

    trace: Trace
    failure: str | None
    """One line for the table: `agent ended with exit code 3: ValueError: no such order`."""
    timed_out: bool = False
    user_fault: str | None = None
    """Why the user could not go on (`UserFault`): then the rest says nothing about the agent."""


class AgentDriver(Protocol):
    """One protocol. Keeps no state between trials."""

    protocol: str

    def check(self, agent: Agent) -> str | None:
        """What is wrong with the agent's configuration for this protocol, or None. Pure."""

    def prepare(self, agent: Agent, *, networked: bool = False) -> tuple[PreparedProcess, ...]:
        """Processes to start inside the template. `networked`: the trials have an environment that the template
        cannot have yet (authority, proxy, placeholders of secrets), so the agent's own code must not run before it is
        there."""

    async def converse(
        self,
        sandbox: Sandbox,
        agent: Agent,
        turns: UserTurns,
        *,
        timeout_s: float,
        waited_s: Callable[[], float] = nothing_waited,
        on_turn: Callable[[int], None] | None = None,
    ) -> AgentResult:
        """Run the whole conversation; never longer than `timeout_s`, to which the growth of `waited_s()` (seconds that
        the gateway has made the agent wait, and those that the user took to think, at most `deadline.MAX_WAIT_S`) is
        added, plus the time to end it. The agent and all its children have been ended when this returns. Only sandbox
        errors are raised: whatever the agent does wrong is in the result, and a `UserFault` too."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """What a conversation that goes on had come to."""

    turns: tuple[TurnRecord, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    """Those that the agent itself had reported."""
    duration_s: float = 0.0
    """When the last of these turns was over, in seconds since the agent's start."""


@runtime_checkable
class Continuing(Protocol):
    """A driver that can go on with an agent whose program was restored in the middle of a conversation."""

    async def resume(
        self,
        sandbox: Sandbox,
        process: Process,
        agent: Agent,
        turns: UserTurns,
        *,
        earlier: Earlier,
        timeout_s: float,
        waited_s: Callable[[], float] = nothing_waited,
    ) -> AgentResult:
        """As `converse`, with `process` running and everything in `earlier` said. The result holds all of it."""
