from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from aegis.faults.tool_error import ToolError
from support.gateway_server import World
from support.mcp_storm import mcp_storm
from support.storm import rule, storm

CALL = {"jsonrpc": "2.0", "id": "a-7", "method": "tools/call", "params": {"name": "lookup", "arguments": {}}}


def post(port: int, body: Any) -> requests.Response:
    headers = {"Host": "api.example", "Accept": "application/json, text/event-stream"}
    return requests.post(f"http://127.0.0.1:{port}/mcp", json=body, headers=headers, timeout=60)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("json_response", [True, False])
def test_the_official_client_returns_it_as_a_failed_result(
    net: World, mode: str, json_response: bool
) -> None:
    hit = rule("tool-error", match={"tool": ("lookup_order",)}, on=(2,))
    with mcp_storm(net, [hit], json_response=json_response) as world:
        first, failed, after = world.call("lookup_order", 1, 2, 3, mode=mode)
        (other,) = world.call("cancel_order", 1, mode=mode)
    assert [item.is_error for item in (first, failed, after, other)] == [False, True, False, False]
    assert failed.content[0].text == "Error executing tool lookup_order: upstream request timed out"
    assert first.structured_content == {"order_id": 1, "status": "paid"}
    assert world.shop.calls == [("lookup_order", 1), ("lookup_order", 3), ("cancel_order", 1)]
    report = world.report("tool-error")
    assert (report.matched, report.fired) == (3, 1)


def test_a_code_makes_it_an_error_of_the_protocol(net: World) -> None:
    from mcp import MCPError

    with mcp_storm(net, [rule("tool-error", code=-32001, text="no session for {tool}")]) as world:
        # The client runs its work in task groups.
        with pytest.raises((MCPError, BaseExceptionGroup)) as raised:
            world.call("cancel_order", 5)
        assert "no session for cancel_order" in str(_innermost(raised.value))
    assert world.shop.calls == []


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def test_the_message_on_the_wire(net: World) -> None:
    weather = storm(net, [rule("tool-error", text="{tool} is down")])
    answer = post(weather.port, CALL)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert json.loads(answer.content) == {
        "jsonrpc": "2.0",
        "id": "a-7",
        "result": {"content": [{"type": "text", "text": "lookup is down"}], "isError": True},
    }
    assert weather.upstream.received == []


@pytest.mark.parametrize(
    "body",
    [
        {"jsonrpc": "2.0", "id": 1, "method": "tools/list"},
        {"jsonrpc": "2.0", "method": "tools/call", "params": {"name": "lookup"}},
        [CALL],
        {"method": "tools/call", "id": 1, "params": {"name": "lookup"}},
        {"jsonrpc": "2.0", "id": True, "method": "tools/call", "params": {"name": "lookup"}},
        "text",
    ],
)
def test_what_is_no_tool_call_passes_and_is_no_hit(net: World, body: Any) -> None:
    weather = storm(net, [rule("tool-error")])
    assert json.loads(post(weather.port, body).json()["body"]) == body
    report = weather.report("tool-error")
    assert (report.matched, report.fired) == (1, 0)
    assert weather.exchanges(1)[0].faults == ()


def test_a_code_is_a_number() -> None:
    with pytest.raises(ValueError, match="code"):
        ToolError.read({"code": "internal"})
