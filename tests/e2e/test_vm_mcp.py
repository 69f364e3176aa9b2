"""An agent in a machine with an MCP server of its own behind `aegis-mcp-tap`: its tools fail as the suite says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from e2e_command import DEADLINE_S, Aegis, read_json

from support.mcp_stdio import AGENT, SERVER, SUITE

pytestmark = [pytest.mark.e2e, pytest.mark.vm, pytest.mark.timeout(2 * DEADLINE_S)]


def test_faults_hit_the_tools_of_a_server_inside_the_machine(
    aegis: Aegis, write_suite: Callable[..., Path]
) -> None:
    folder = write_suite("tools", SUITE.replace("PYTHON", "python3"))
    (folder / "agent.py").write_text(AGENT)
    (folder / "server.py").write_text(SERVER)
    ran = aegis("eval", "run", "--trials", "2", "--json", "out.json")
    assert ran.code == 0, ran.stdout + ran.stderr
    document = read_json(folder / "out.json")
    assert [trial["outcome"] for trial in document["trials"]] == ["passed", "passed"]
    trace = json.loads(aegis("trace", "show", "latest/refund/1", "--json").stdout)["trace"]
    assert [item["path"] for item in trace["exchanges"]] == ["/initialize", *["/tools/call"] * 3]
    assert [item["faults"] for item in trace["exchanges"]] == [[], ["latency"], ["tool-error"], []]
    assert [call["name"] for call in trace["tool_calls"]] == ["lookup", "refund", "refund"]
