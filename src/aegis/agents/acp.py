"""Protocol `acp`: a coding agent that speaks the Agent Client Protocol over standard input and output.

Source: https://agentclientprotocol.com/protocol/overview (2026-11-23).
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from aegis.agents.base import AgentResult, UserTurns, nothing_waited
from aegis.agents.record import Record
from aegis.agents.session import conduct, shares_host, start_shell
from aegis.sandbox.base import WORKSPACE, PreparedProcess, Sandbox
from aegis.suite.model import Agent

if TYPE_CHECKING:
    from aegis.agents.acptalk import AcpTalk


class AcpDriver:
    """One session a conversation, one prompt a turn."""

    protocol = "acp"

    def check(self, agent: Agent) -> str | None:
        return None if agent.command.strip() else "the command is empty"

    def prepare(self, agent: Agent, *, networked: bool = False) -> tuple[PreparedProcess, ...]:
        return ()

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
        make = await asyncio.to_thread(_talk)
        cwd = await _workspace(sandbox)
        record = Record(waited_s)
        talk = make(sandbox, record, turns, cwd=cwd, permissions=agent.permissions, on_turn=on_turn)
        process = await start_shell(sandbox, agent)
        return await conduct(
            process, record, talk=talk.talk, farewell=talk.farewell, timeout_s=timeout_s, waited_s=waited_s
        )


def _talk() -> type[AcpTalk]:
    """The package's models take half a second to import: only for suites that need them, and in a thread, so that other
    trials go on meanwhile."""
    made: type[AcpTalk] = importlib.import_module("aegis.agents.acptalk").AcpTalk
    return made


async def _workspace(sandbox: Sandbox) -> str:
    """The workspace as the agent's own programs know it."""
    if not shares_host(sandbox):
        return WORKSPACE
    done = await sandbox.run(("/bin/sh", "-c", "pwd"))
    return done.stdout.decode("utf-8", "surrogateescape").rstrip("\n") or WORKSPACE


driver = AcpDriver()
