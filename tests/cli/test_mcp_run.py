"""A run whose agent has an MCP server of its own, on standard input and output, behind `aegis-mcp-tap`."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from cli_project import Folder, outcomes

from aegis.results import BlobStore
from aegis.trace import Trace
from support.mcp_stdio import SERVER

SUITE = """\
suite: tools
agent: {command: PYTHON agent.py}
sandbox: {files: {agent.py: /workspace/, server.py: /workspace/}}
faults:
  - {inject: tool-error, match: {tool: refund, host: orders.mcp-stdio}, on: 1, require_fired: true}
  - {inject: latency, delay: 20ms, match: {tool: lookup}}
cases:
  - id: refund
    input: Refund order 1042
    expect:
      - answer: {contains: "refund {\\"order\\": 1042}"}
      - tool_calls: {include: [refund]}
"""

AGENT = '''\
"""Starts its server as clients of the protocol do: with a few variables only. Asks again when a tool fails."""
import json, os, subprocess, sys

command = ["aegis-mcp-tap", "--name", "orders", "--", sys.executable, "server.py"]
env = {name: os.environ[name] for name in ("PATH", "HOME")}
server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)

def ask(number, method, **params):
    message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
    server.stdin.write(json.dumps(message).encode() + b"\\n")
    server.stdin.flush()
    return json.loads(server.stdout.readline())["result"]

def call(number, name, **arguments):
    return ask(number, "tools/call", name=name, arguments=arguments)

ask(0, "initialize")
call(1, "lookup", order=1042)
for number in (2, 3):
    found = call(number, "refund", order=1042)
    print("failed:", found.get("isError", False), file=sys.stderr)
    if not found.get("isError"):
        break
server.stdin.close()
print("ended with", server.wait(), file=sys.stderr)
print(found["content"][0]["text"])
'''


def project(folder: Folder, agent: str = AGENT) -> None:
    folder.suite("tools", SUITE.replace("PYTHON", sys.executable))
    (folder.path / "agent.py").write_text(agent)
    (folder.path / "server.py").write_text(SERVER)


def trace_of(folder: Folder, entry: dict[str, Any]) -> Trace:
    blobs = BlobStore(folder.path / ".aegis" / "blobs")
    return Trace.from_json(json.loads(blobs.get(entry["trace"])))


def test_faults_hit_the_tools_of_a_server_inside_the_sandbox(folder: Folder) -> None:
    project(folder)
    document = folder.json()
    assert outcomes(document) == {"refund": ["passed"]}, document
    trace = trace_of(folder, document["trials"][0])
    assert "failed: True\nfailed: False\n" in trace.stderr_tail
    assert "ended with 7" in trace.stderr_tail
    assert [(call.name, call.seen) for call in trace.tool_calls] == [
        ("lookup", ("mcp",)),
        ("refund", ("mcp",)),
        ("refund", ("mcp",)),
    ]
    assert [item.path for item in trace.exchanges] == ["/initialize", *["/tools/call"] * 3]
    assert [item.faults for item in trace.exchanges] == [(), ("latency",), ("tool-error",), ()]
    shown = folder("trace", "show", "latest/refund/1").stdout
    assert "refund" in shown
    assert "mcp-stdio" in shown


PLAIN = """\
suite: plain
agent: {command: "ls -R ..; PYTHON -c 'print(open(\\"notes.txt\\").read())'"}
cases:
  - id: quiet
    input: What is there?
    world: {files: {notes.txt: notes.txt}}
    expect: [{answer: {contains: notes.txt}}]
"""


@pytest.mark.parametrize("named", [False, True])
def test_only_a_suite_that_names_it_has_it(folder: Folder, named: bool) -> None:
    folder.suite("plain", PLAIN.replace("PYTHON", sys.executable))
    (folder.path / "evals/notes.txt").write_text("start it with aegis-mcp-tap" if named else "nothing")
    document = folder.json()
    assert outcomes(document) == {"quiet": ["passed"]}, document
    answer = trace_of(folder, document["trials"][0]).answer
    assert ("\naegis-mcp-tap\n" in answer) is named
