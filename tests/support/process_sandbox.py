"""Real programs without a machine: the driver `process`, with files and prepared processes in place."""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from aegis.agents import get
from aegis.agents.base import AgentResult, UserTurns, nothing_waited
from aegis.agents.users import ScriptedUser
from aegis.sandbox.base import PreparedProcess, Sandbox, TemplateSpec
from aegis.sandbox.network import NetworkPaths
from aegis.sandbox.process import ProcessDriver
from aegis.suite.model import Agent

T = TypeVar("T")

PATIENCE_S = 120.0
"""A deadline that only a hang can miss, also on a very slow host."""


def workspace_tar(files: Mapping[str, str | bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(f"workspace/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def in_sandbox(
    use: Callable[[Sandbox], Awaitable[T]],
    files: Mapping[str, str | bytes] | None = None,
    prepared: tuple[PreparedProcess, ...] = (),
) -> T:
    """Run `use` on a fresh sandbox with these files in its workspace, in an event loop of its own."""

    async def body() -> T:
        async with ProcessDriver() as driver:
            spec = TemplateSpec(image="debian", files_tar=workspace_tar(files or {}), prepared=prepared)
            sandbox = await driver.start(await driver.template(spec))
            try:
                return await use(sandbox)
            finally:
                await sandbox.stop()

    return asyncio.run(body())


def converse(
    agent: Agent,
    *messages: str,
    files: Mapping[str, str | bytes] | None = None,
    timeout_s: float = PATIENCE_S,
    on_turn: Callable[[int], None] | None = None,
    then: Callable[[Sandbox], Awaitable[object]] | None = None,
    late_env: Mapping[str, str] | None = None,
    waited_s: Callable[[], float] = nothing_waited,
    user: UserTurns | None = None,
) -> AgentResult:
    """One conversation with a real agent, with these messages or with `user`, and `then` on the same sandbox
    afterwards. `late_env`: the sandbox is prepared for a network, and these variables are the conversation's only."""
    driver = get(agent.protocol)
    turns = user or ScriptedUser(*messages)
    prepared = driver.prepare(agent, networked=late_env is not None)
    told = agent.model_copy(update={"env": {**agent.env, **(late_env or {})}})

    async def use(sandbox: Sandbox) -> AgentResult:
        sandbox.network = None if late_env is None else NetworkPaths("http://127.0.0.1:3128", None, None)
        result = await driver.converse(
            sandbox, told, turns, timeout_s=timeout_s, waited_s=waited_s, on_turn=on_turn
        )
        if then is not None:
            await then(sandbox)
        return result

    return in_sandbox(use, files, prepared)
