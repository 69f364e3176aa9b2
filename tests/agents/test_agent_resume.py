"""Going on with an agent that is in the middle of a conversation, as after a restore: real programs, no machine."""

from __future__ import annotations

import json

import pytest

from aegis.agents import get
from aegis.agents.base import AgentResult, Continuing, Earlier
from aegis.agents.users import ScriptedUser
from aegis.sandbox.base import Process, Sandbox
from aegis.suite.model import Agent
from aegis.trace import ToolCall, TurnRecord
from support.process_sandbox import PATIENCE_S, in_sandbox

EARLIER = Earlier((TurnRecord("one", "1: one", 0.5, 2.0),), (ToolCall("look", {}, "seen"),), 2.5)

JSONL = """
import json, sys
for number, line in enumerate(sys.stdin, 1):
    said = json.loads(line)["content"]
    print(json.dumps({"type": "tool_call", "name": "look", "arguments": {}, "result": number}), flush=True)
    print(json.dumps({"role": "assistant", "content": f"{number}: {said}", "turn": number}), flush=True)
"""
"""Says which turn each answer belongs to, and the driver checks it."""

PYTHON = """
heard = []
def answer(message):
    heard.append(message)
    return f"{len(heard)}: {message}"
"""


async def hear_line(process: Process, beginning: str) -> None:
    data = b""
    async for chunk in process.stdout():
        data += chunk
        if beginning.encode() in data and data.endswith(b"\n"):
            return
    raise AssertionError(data)


async def go_on(sandbox: Sandbox, process: Process, agent: Agent, *messages: str) -> AgentResult:
    driver = get(agent.protocol)
    assert isinstance(driver, Continuing)
    turns = ScriptedUser(*messages)
    return await driver.resume(sandbox, process, agent, turns, earlier=EARLIER, timeout_s=PATIENCE_S)


def check(result: AgentResult, *answers: str) -> None:
    assert result.failure is None
    assert [turn.answer for turn in result.trace.turns] == list(answers)
    times = result.trace.turn_times_s
    assert times[0] == (2.0, 2.5)
    assert times[1][0] >= 2.5


def test_jsonl_goes_on_with_the_next_turn() -> None:
    async def use(sandbox: Sandbox) -> AgentResult:
        process = await sandbox.exec(("python3", "a.py"))
        await process.write(json.dumps({"role": "user", "content": "one"}).encode() + b"\n")
        await hear_line(process, "1: one")
        return await go_on(sandbox, process, Agent(command="python3 a.py", protocol="jsonl"), "two", "three")

    result = in_sandbox(use, {"a.py": JSONL})
    check(result, "1: one", "2: two", "3: three")
    assert [(call.turn, call.result) for call in result.trace.tool_calls] == [(0, "seen"), (1, 2), (2, 3)]


def test_python_goes_on_with_what_the_function_remembers() -> None:
    agent = Agent(command="a:answer", protocol="python")
    driver = get("python")
    (prepared,) = driver.prepare(agent)

    async def use(sandbox: Sandbox) -> AgentResult:
        process = await sandbox.attach(prepared.name)
        await process.write(json.dumps({"role": "user", "content": "one"}).encode() + b"\n")
        await hear_line(process, "1: one")
        return await go_on(sandbox, process, agent, "two")

    check(in_sandbox(use, {"a.py": PYTHON}, driver.prepare(agent)), "1: one", "2: two")


CHAT = """
import http.server, json, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        messages = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"]
        content = " | ".join(f"{m['role']}={m['content']}" for m in messages)
        body = json.dumps({"choices": [{"message": {"role": "assistant", "content": content}}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print("port", server.server_port, flush=True)
server.serve_forever()
"""


def test_chat_goes_on_with_the_whole_conversation() -> None:
    async def use(sandbox: Sandbox) -> AgentResult:
        process = await sandbox.exec(("python3", "a.py"))
        words = (await anext(aiter(process.stdout()))).split()
        await process.close_stdin()
        agent = Agent(command="python3 a.py", protocol="chat", port=int(words[1]))
        return await go_on(sandbox, process, agent, "two", "three")

    result = in_sandbox(use, {"a.py": CHAT})
    said = "user=one | assistant=1: one | user=two"
    check(result, "1: one", said, f"{said} | assistant={said} | user=three")


@pytest.mark.parametrize("protocol", ["text", "acp"])
def test_the_other_protocols_do_not_claim_it(protocol: str) -> None:
    assert not isinstance(get(protocol), Continuing)
