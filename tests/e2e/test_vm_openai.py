"""The unmodified `openai` client in a machine: a streamed chat with tool calls, through TLS, seen from outside."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

import pytest
import zstandard
from e2e_command import DEADLINE_S, Aegis, read_json
from e2e_upstream import Request, serving

from support.certificates import UpstreamAuthority

pytestmark = [pytest.mark.e2e, pytest.mark.vm, pytest.mark.slow, pytest.mark.timeout(2 * DEADLINE_S)]

SUITE = """\
suite: chat
agent:
  command: python3 agent.py
  secrets: [OPENAI_API_KEY]
sandbox:
  image: openai.toml
  memory: 512MiB
  files: {{agent.py: /workspace/agent.py}}
network:
  allow: [api.openai.com]
  routes: {{api.openai.com: "https://model.internal:{port}"}}
  ca_bundle: ca.pem
timeout: 10m
cases:
  - id: weather
    input: What is the weather in Oslo?
    expect:
      - answer: {{contains: "Rain, 7 degrees"}}
      - tool_calls: {{exact: [get_weather], arguments: {{get_weather: {{city: Oslo}}}}}}
      - request: {{method: POST, host: api.openai.com, path: /v1/chat/completions, count: 2}}
      - budget: {{tokens: 200, model_calls: 2}}
"""

IMAGE = """\
base = "debian"
pip = ["openai>=1.50,<3"]
"""

AGENT = """\
import json
import os
import sys

from openai import OpenAI

TOOLS = [{"type": "function", "function": {
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}}]


def ask(client, messages):
    text, calls = "", {}
    stream = client.chat.completions.create(
        model="gpt-4o-mini", messages=messages, tools=TOOLS, stream=True, stream_options={"include_usage": True}
    )
    for chunk in stream:
        for choice in chunk.choices:
            text += choice.delta.content or ""
            for piece in choice.delta.tool_calls or []:
                call = calls.setdefault(piece.index, {"id": "", "name": "", "arguments": ""})
                call["id"] += piece.id or ""
                call["name"] += piece.function.name or ""
                call["arguments"] += piece.function.arguments or ""
    return text, list(calls.values())


messages = [{"role": "user", "content": sys.stdin.read()}]
client = OpenAI()
while True:
    text, calls = ask(client, messages)
    if not calls:
        break
    messages.append({"role": "assistant", "content": text or None, "tool_calls": [
        {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": call["arguments"]}}
        for call in calls
    ]})
    for call in calls:
        city = json.loads(call["arguments"])["city"]
        messages.append({"role": "tool", "tool_call_id": call["id"], "content": "Rain, 7 degrees in " + city})
print(text)
print(json.dumps(dict(os.environ)))
"""


def model(request: Request) -> None:
    """Asks for the tool, then tells its result."""
    asked: dict[str, Any] = json.loads(request.content)
    result = [message for message in asked["messages"] if message["role"] == "tool"]
    if result:
        deltas: list[dict[str, Any]] = [{"content": piece} for piece in result[0]["content"].split(" in ")]
        finish = "stop"
    else:
        call = {"index": 0, "id": "call_1", "type": "function"}
        deltas = [
            {"tool_calls": [{**call, "function": {"name": "get_weather", "arguments": '{"ci'}}]},
            {"tool_calls": [{"index": 0, "function": {"arguments": 'ty": "Oslo"}'}}]},
        ]
        finish = "tool_calls"
    head = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-4o-mini-2024-07-18",
    }
    events = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    events.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    usage = {"prompt_tokens": 60, "completion_tokens": 20, "total_tokens": 80}
    request.answer_events([*events, {**head, "choices": [], "usage": usage}])


def left_behind(folder: Path) -> bytes:
    """Every byte that a run left, compressed files as what they hold."""
    found = b""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            found += data
            if data.startswith(b"\x28\xb5\x2f\xfd"):
                found += zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return found


def test_a_streamed_chat_with_tools(aegis: Aegis, tmp_path: Path) -> None:
    key = "sk-proj-" + secrets.token_urlsafe(36)
    authority = UpstreamAuthority()
    (tmp_path / "aegis.toml").touch()
    (tmp_path / "ca.pem").write_text(authority.pem)
    (tmp_path / "agent.py").write_text(AGENT)
    (tmp_path / "openai.toml").write_text(IMAGE)
    (tmp_path / "evals").mkdir()
    with serving(model, authority.server_context("127.0.0.1")) as server:
        suite = SUITE.format(port=server.port).replace("model.internal", "127.0.0.1")
        (tmp_path / "evals" / "chat.yaml").write_text(suite)
        ran = aegis("eval", "run", "--suite", "chat", "--json", "out.json", env={"OPENAI_API_KEY": key})
        assert ran.code == 0, ran
        assert [headers["Authorization"] for _, _, headers in server.seen] == [f"Bearer {key}"] * 2
    (trial,) = read_json(tmp_path / "out.json")["trials"]
    inside = json.loads(trial["answer"].splitlines()[1])
    assert inside["OPENAI_API_KEY"] != key
    assert len(inside["OPENAI_API_KEY"]) == len(key)
    assert inside["OPENAI_API_KEY"].startswith("sk-proj-")
    assert trial["usage"]["input_tokens"] == 120
    assert trial["usage"]["output_tokens"] == 40
    assert trial["usage"]["model_calls"] == 2
    assert 0 < trial["usage"]["usd"] < 0.01
    shown = aegis("trace", "show", "latest/weather/1")
    assert shown.code == 0, shown
    for words in (
        "What is the weather in Oslo?",
        "get_weather",
        '"Oslo"',
        "gpt-4o-mini",
        "Rain, 7 degrees",
        "$",
    ):
        assert words in shown.stdout, shown
    everything = left_behind(tmp_path) + ran.stdout.encode() + ran.stderr.encode() + shown.stdout.encode()
    assert b"What is the weather in Oslo?" in everything, "the search finds what is there"
    assert key.encode() not in everything
