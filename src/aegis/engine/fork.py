"""A trial that goes on from a checkpoint: what differs from one that begins in a fresh machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from aegis.agents.base import AgentDriver, AgentResult, Continuing, Earlier, UserTurns
from aegis.agents.users import Conversation
from aegis.errors import SandboxStartError
from aegis.sandbox.base import Sandbox
from aegis.sandbox.kept import ReopenedSandbox, Reopening
from aegis.sandbox.network import NetworkAccess
from aegis.suite.model import Agent
from aegis.trace import Exchange, Trace


class Fork:
    """`folder`: the kept machine. `user` has been put where the checkpoint was, and `turns` are what is said from there
    on (`user` itself, or somebody else's words). `past`: the trial's trace, of which what came before the turn counts.
    """

    def __init__(
        self,
        driver: Reopening,
        folder: Path,
        user: Conversation,
        turns: UserTurns,
        past: Trace,
        turn: int,
    ) -> None:
        self._driver = driver
        self._folder = folder
        self.user = user
        self.turns = turns
        self._sandbox: ReopenedSandbox | None = None
        self.earlier = earlier(past, turn)
        until_s = past.turn_times_s[turn - 1][0] if turn <= len(past.turns) else None
        self._exchanges = tuple(x for x in past.exchanges if until_s is None or x.started_s < until_s)

    async def open(self, access: NetworkAccess) -> Sandbox:
        """The machine of the checkpoint, connected to another network. Raises SandboxStartError."""
        self._sandbox = await self._driver.reopen(self._folder, network=access)
        return self._sandbox

    async def converse(
        self,
        agent_driver: AgentDriver,
        sandbox: Sandbox,
        agent: Agent,
        *,
        timeout_s: float,
        waited_s: Callable[[], float],
    ) -> AgentResult:
        """The rest of the conversation, with the agent's program that was running."""
        if not isinstance(agent_driver, Continuing) or self._sandbox is None:
            raise SandboxStartError(f"the protocol {agent_driver.protocol} cannot go on from a checkpoint")
        return await agent_driver.resume(
            sandbox,
            self._sandbox.program(),
            agent,
            self.turns,
            earlier=self.earlier,
            timeout_s=timeout_s,
            waited_s=waited_s,
        )

    def join(self, exchanges: Sequence[Exchange]) -> list[Exchange]:
        """Those of before and these, in one count and on one clock."""
        last = max((exchange.id for exchange in self._exchanges), default=0)
        later = (_moved(exchange, last, self.earlier.duration_s) for exchange in exchanges)
        return [*self._exchanges, *later]


def earlier(past: Trace, turn: int) -> Earlier:
    """What had been said before this turn (from 1)."""
    turns = past.turns[: turn - 1]
    calls = tuple(call for call in past.tool_calls if "agent" in call.seen and call.turn < turn - 1)
    ended_s = past.turn_times_s[turn - 2][1] if turns else 0.0
    return Earlier(turns, calls, ended_s)


def _moved(exchange: Exchange, count: int, by_s: float) -> Exchange:
    def later(at_s: float | None) -> float | None:
        return None if at_s is None else at_s + by_s

    return dataclasses.replace(
        exchange,
        id=exchange.id + count,
        started_s=exchange.started_s + by_s,
        first_byte_s=later(exchange.first_byte_s),
        ended_s=later(exchange.ended_s),
        chunks=tuple((at_s + by_s, size) for at_s, size in exchange.chunks),
    )
