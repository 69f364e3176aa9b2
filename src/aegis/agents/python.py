"""Protocol `python`: a function, imported in the template by a small program that waits there for its first
call."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from importlib import resources

from aegis.agents.base import AgentResult, Earlier, UserTurns, nothing_waited
from aegis.agents.dialogue import Dialogue
from aegis.agents.lines import parse_object
from aegis.agents.record import AgentFault, Record
from aegis.agents.session import Session, conduct
from aegis.agents.tail import one_line
from aegis.sandbox.base import PreparedProcess, Process, Sandbox
from aegis.suite.model import Agent

PROCESS_NAME = "agent"
READY_TIMEOUT_S = 60.0
"""How long a template waits for the function's imports; what is left of them counts as the agent's time."""
NETWORKED_READY_TIMEOUT_S = 2 * READY_TIMEOUT_S
"""The same with `networked`, where libraries are imported twice: once to find out which they are, once to stay."""
AHEAD_SHARE = 0.4
"""Each of the two gets so much of that time."""

_NAME = r"[^\W\d]\w*"
_TARGET = re.compile(rf"{_NAME}(\.{_NAME})*:{_NAME}(\.{_NAME})*")


class PythonDriver:
    """The function's process is part of the template: a trial pays neither for Python's start nor for the
    imports. With `networked` it pays for the import of the user's own modules, which may read what only the trial
    has: the template has imported the libraries that they use."""

    protocol = "python"

    def check(self, agent: Agent) -> str | None:
        if _TARGET.fullmatch(agent.command):
            return None
        return f"expected module:function, such as agent:answer, got {agent.command!r}"

    def prepare(self, agent: Agent, *, networked: bool = False) -> tuple[PreparedProcess, ...]:
        argv: tuple[str, ...] = ("python3", "-c", shim_source(), agent.command)
        ready_timeout_s = READY_TIMEOUT_S
        if networked:
            ready_timeout_s = NETWORKED_READY_TIMEOUT_S
            argv = (*argv, f"{AHEAD_SHARE * ready_timeout_s:g}", *sorted(agent.secrets))
        process = PreparedProcess(
            PROCESS_NAME, argv, env=dict(agent.env), says_ready=True, ready_timeout_s=ready_timeout_s
        )
        return (process,)

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
        # Its clock starts with that of the gateway: what passes there is told apart by turns.
        record = Record(waited_s)
        process = await sandbox.attach(PROCESS_NAME)
        dialogue = Dialogue(turns, _hear, on_turn)

        async def talk(session: Session) -> None:
            if sandbox.network is not None:
                session.send(_environment(agent))
            await dialogue.talk(session)

        return await conduct(
            process, record, talk=talk, farewell=dialogue.farewell, timeout_s=timeout_s, waited_s=waited_s
        )

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
        record = Record(waited_s, earlier)
        dialogue = Dialogue(turns, _hear, asked=len(earlier.turns))
        return await conduct(
            process,
            record,
            talk=dialogue.talk,
            farewell=dialogue.farewell,
            timeout_s=timeout_s,
            waited_s=waited_s,
        )


def _environment(agent: Agent) -> bytes:
    """What the process could not be given when it was started, and what it was given then once more."""
    return json.dumps({"type": "environment", "variables": agent.env}).encode() + b"\n"


@cache
def shim_source() -> str:
    """The program that serves the function, as text: it runs under the image's own Python."""
    return resources.files("aegis.agents").joinpath("shim.py").read_text(encoding="utf-8")


def _hear(line: bytes) -> str | None:
    if not line.strip():
        return None
    message = parse_object(line)
    match message:
        case {"role": "assistant", "content": str(content)}:
            return content
        case {"type": "problem", "message": str(problem)}:
            raise AgentFault(f"agent failed: {one_line(problem, 400)}", quote_stderr=False)
        case {"type": "ready"}:
            return None
    raise AgentFault("agent broke the protocol: something other than its function wrote to the channel")


driver = PythonDriver()
