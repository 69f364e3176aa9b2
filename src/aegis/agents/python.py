"""Protocol `python`: a function, imported in the template by a small program that waits there for its first
call."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from importlib import resources

from aegis.agents.base import AgentResult
from aegis.agents.dialogue import Dialogue
from aegis.agents.lines import parse_object
from aegis.agents.record import AgentFault, Record
from aegis.agents.session import conduct
from aegis.agents.tail import one_line
from aegis.sandbox.base import PreparedProcess, Sandbox
from aegis.suite.model import Agent, Turn

PROCESS_NAME = "agent"
READY_TIMEOUT_S = 60.0
"""How long a template waits for the function's imports; what is left of them counts as the agent's time."""

_NAME = r"[^\W\d]\w*"
_TARGET = re.compile(rf"{_NAME}(\.{_NAME})*:{_NAME}(\.{_NAME})*")


class PythonDriver:
    """The function's process is part of the template: a trial pays neither for Python's start nor for the
    imports."""

    protocol = "python"

    def check(self, agent: Agent) -> str | None:
        if _TARGET.fullmatch(agent.command):
            return None
        return f"expected module:function, such as agent:answer, got {agent.command!r}"

    def prepare(self, agent: Agent) -> tuple[PreparedProcess, ...]:
        argv = ("python3", "-c", shim_source(), agent.command)
        process = PreparedProcess(
            PROCESS_NAME, argv, env=dict(agent.env), says_ready=True, ready_timeout_s=READY_TIMEOUT_S
        )
        return (process,)

    async def converse(
        self,
        sandbox: Sandbox,
        agent: Agent,
        turns: tuple[Turn, ...],
        *,
        timeout_s: float,
        on_turn: Callable[[int], None] | None = None,
    ) -> AgentResult:
        process = await sandbox.attach(PROCESS_NAME)
        record = Record()
        dialogue = Dialogue(turns, _hear, on_turn)
        return await conduct(
            process, record, talk=dialogue.talk, farewell=dialogue.farewell, timeout_s=timeout_s
        )


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
