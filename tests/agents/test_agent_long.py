"""Long conversations, by every protocol that answers turn by turn: in order, and held once."""

from __future__ import annotations

import asyncio
import sys
import tracemalloc
from typing import Any

import pytest

from aegis.agents import record as records
from aegis.agents import session as sessions
from aegis.agents.base import AgentResult
from aegis.agents.users import ScriptedUser
from aegis.sandbox.base import Sandbox
from aegis.suite.model import Agent
from support.process_sandbox import converse

MIB = 1 << 20

ANSWER = """
import json, os, sys
def answer(text):
    return text.partition(" ")[2] if text[0] == "=" else "x" * int(text)
"""

JSONL = """
for line in sys.stdin:
    print(json.dumps({"role": "assistant", "content": answer(json.loads(line)["content"])}), flush=True)
"""

CHAT = """
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def log_message(self, *words): pass
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        message = {"role": "assistant", "content": answer(asked["messages"][-1]["content"])}
        reply = json.dumps({"choices": [{"message": message}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)
HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""

ACP = """
def send(**message): print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    result = {"initialize": {"protocolVersion": 1}, "session/new": {"sessionId": "s"}}.get(asked["method"])
    if result is None:
        text = answer(asked["params"]["prompt"][0]["text"])
        for start in range(0, len(text), 1000):
            content = {"type": "text", "text": text[start:start + 1000]}
            update = {"sessionUpdate": "agent_message_chunk", "content": content}
            send(method="session/update", params={"sessionId": "s", "update": update})
        result = {"stopReason": "end_turn"}
    send(id=asked["id"], result=result)
"""

PROGRAMS = {"jsonl": JSONL, "chat": CHAT, "acp": ACP, "python": ""}


def talk(protocol: Any, *messages: str, **options: Any) -> AgentResult:
    command = "a:answer" if protocol == "python" else f"exec {sys.executable} a.py"
    agent = Agent(command=command, protocol=protocol)
    return converse(agent, *messages, files={"a.py": ANSWER + PROGRAMS[protocol]}, **options)


@pytest.mark.parametrize("protocol", PROGRAMS)
@pytest.mark.parametrize("turns", [40, 400])
def test_every_turn_gets_its_own_answer(protocol: str, turns: int) -> None:
    result = talk(protocol, *(f"= {number}" for number in range(turns)))
    assert result.failure is None
    assert [turn.answer for turn in result.trace.turns] == [str(number) for number in range(turns)]


@pytest.mark.parametrize("protocol", PROGRAMS)
def test_long_answers_are_held_once(protocol: str) -> None:
    talk(protocol, "1")
    peak_bytes = 0

    async def look(sandbox: Sandbox) -> None:
        nonlocal peak_bytes
        _, peak_bytes = tracemalloc.get_traced_memory()

    tracemalloc.start()
    try:
        result = talk(protocol, *["262144"] * 40, then=look)
    finally:
        tracemalloc.stop()
    assert result.failure is None
    assert sum(len(turn.answer) for turn in result.trace.turns) == 10 * MIB
    assert 10 * MIB < peak_bytes < 15 * MIB


@pytest.mark.parametrize("protocol", PROGRAMS)
def test_endless_conversation_of_long_answers_is_cut(protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_ANSWERS_BYTES", 1 * MIB)
    result = talk(protocol, *["400000"] * 4)
    assert result.failure == "agent answered with more than 1MiB in all"
    assert [len(turn.answer) for turn in result.trace.turns] == [400_000, 400_000, 0]


def test_messages_that_nobody_reads_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MAX_UNSENT_BYTES", 1 * MIB)
    program = """
import json, time
while True:
    print(json.dumps({"role": "assistant", "content": "ok"}), flush=True)
    time.sleep(0.2)
"""
    agent = Agent(command="exec python3 a.py", protocol="jsonl")
    result = converse(agent, *["m" * MIB] * 10, files={"a.py": program})
    assert result.failure is not None
    assert "without reading its input" in result.failure


class SlowUser(ScriptedUser):
    """Thinks before each message but the first."""

    async def next(self, answer: str | None) -> str | None:
        if answer is not None:
            await asyncio.sleep(1)
        return await super().next(answer)


@pytest.mark.parametrize("protocol", ["jsonl", "acp"])
def test_what_is_said_while_the_user_thinks_is_a_second_answer(protocol: Any) -> None:
    jsonl = """
import json, sys, time
def say(text): print(json.dumps({"role": "assistant", "content": text}), flush=True)
sys.stdin.readline(); say("first"); time.sleep(0.3); say("second")
sys.stdin.readline(); time.sleep(5000)
"""
    acp = """
import json, sys, time
def send(**message): print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)
def reply(**result): send(id=json.loads(sys.stdin.readline())["id"], result=result)
reply(protocolVersion=1); reply(sessionId="s"); reply(stopReason="end_turn")
time.sleep(0.3); send(id=2, result={"stopReason": "end_turn"})
sys.stdin.readline(); time.sleep(5000)
"""
    agent = Agent(command="exec python3 a.py", protocol=protocol)
    result = converse(agent, files={"a.py": {"jsonl": jsonl, "acp": acp}[protocol]}, user=SlowUser("a", "b"))
    assert result.failure is not None
    assert "was answered twice" in result.failure
    assert len(result.trace.turns) == 1
