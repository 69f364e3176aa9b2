"""A run whose agent has an MCP server of its own, on standard input and output, behind `aegis-mcp-tap`."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from cli_project import Folder, outcomes

from aegis.results import BlobStore
from aegis.trace import Trace
from support.mcp_stdio import AGENT, SERVER, SUITE


def project(folder: Folder) -> None:
    folder.suite("tools", SUITE.replace("PYTHON", sys.executable))
    (folder.path / "agent.py").write_text(AGENT)
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
    assert "mcp     orders.mcp-stdio/tools/call" in shown


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
