"""`aegis-mcp-tap` and its gateway: what happens without one, at its ports, and with the official client."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from aegis.gateway import Origin, tap
from aegis.gateway.base import Forward, Interceptor, Request, ResponsePlan
from aegis.gateway.replay import Recording
from support.gateway_server import GatewayServer, World
from support.mcp_stdio import calls_of, install, session, start, text_of, tool
from support.raw_client import connect, read_all, read_until
from support.storm import rule, storm

# -- the gateway's end -------------------------------------------------------------------------------------------------


def test_without_its_gateway_everything_goes_on(net: World, tmp_path: Path) -> None:
    weather = storm(net, [rule("hang", upstream="not-called", match={"tool": ("stuck",)})])
    with start(tmp_path, weather.proxy) as client:
        client.send(tool(1, "stuck"), tool(2, "ask"))
        assert client.receive()["method"] == "roots/list"
        net.loop.run(weather.server.session.close())
        assert text_of(client.receive()) == "stuck {}"
        assert text_of(client.ask(tool(3, "lookup"))) == "lookup {}"
        assert client.finish() == (7, "server ends\n")
    errors = [item.error for item in weather.exchanges(2)]
    assert errors == ["cancelled: the connection was ended with the trial"] * 2


def test_a_replay_asks_the_server_all_the_same(net: World, tmp_path: Path) -> None:
    server = net.gateway(gateway={"replay": lambda label: Recording.empty()})
    with start(tmp_path, server.proxy()) as client:
        assert text_of(client.ask(tool(1, "lookup"))) == "lookup {}"
        client.finish()
    assert server.wait_for(1)[0].error is None


def raw(server: GatewayServer, *, direct: bool = True) -> socket.socket:
    origin = Origin.direct("mcp-tap.internal", "198.18.1.9", 80) if direct else Origin.proxy()
    return connect(server.listen(origin), 60)


UPGRADE = b"GET /crm HTTP/1.1\r\nHost: mcp-tap.internal\r\nConnection: Upgrade\r\nUpgrade: mcp-tap/1\r\n\r\n"


def switched(server: GatewayServer) -> socket.socket:
    connection = raw(server)
    connection.sendall(UPGRADE)
    head = read_until(connection, b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert head.endswith(b"\r\n\r\n")
    return connection


def test_a_client_without_a_proxy_reaches_it_by_its_name(net: World) -> None:
    server = session(net)
    with switched(server) as connection, connection.makefile("rb") as replies:
        connection.sendall(b'{"call": 1, "size": 2}\n{}{"result": 1, "size": 4}\nnull')
        assert [json.loads(replies.readline()) for _ in range(2)] == [
            {"call": 1, "do": "pass"},
            {"call": 1, "do": "same"},
        ]
    assert server.wait_for(1)[0].host == "crm.mcp-stdio"


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize(
    "asked",
    [
        b"GET TARGET/ HTTP/1.1\r\nHost: mcp-tap.internal\r\nConnection: close\r\n\r\n",
        b"POST TARGET/crm HTTP/1.1\r\nHost: mcp-tap.internal\r\nUpgrade: mcp-tap/1\r\nContent-Length: 2\r\n\r\n{}",
        b"GET TARGET/crm HTTP/1.1\r\nHost: mcp-tap.internal\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"GET TARGET/%2e%2e/x HTTP/1.1\r\nHost: mcp-tap.internal\r\nUpgrade: mcp-tap/1\r\nConnection: Upgrade\r\n\r\n",
    ],
)
def test_to_everything_else_it_is_a_host_that_nobody_allowed(net: World, asked: bytes, direct: bool) -> None:
    server = session(net)
    with raw(server, direct=direct) as connection:
        connection.sendall(asked.replace(b"TARGET", b"" if direct else b"http://mcp-tap.internal"))
        connection.shutdown(socket.SHUT_WR)
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert answer.endswith(b"Host not allowed by egress policy\n")
    assert [(item.kind, item.host) for item in server.wait_for(1)] == [("denied", "mcp-tap.internal")]


@pytest.mark.parametrize(
    "frames",
    [
        b"hello\n",
        b"x" * 5000,
        b"[" * 1000 + b"\n",
        b'{"call": 1, "size": -5}\n',
        b'{"call": 1, "size": 1e999}\n',
        b'{"call": 1, "size": 99999999999}\n',
        b'{"call": "one"}\n',
        b'{"result": 1, "call": 1, "size": {}}\n',
        b'{"call": 1, "size": 0}\n{"call": 1, "size": 0}\n',
        b'{"call": 1, "size": 0}\n{"result": 1, "size": 0}\n{"call": 1, "size": 0, "whole": false, "x": [}\n',
        b'{"call": 1, "whole": false}\n',
        b"5\n",
    ],
)
def test_frames_that_are_none_end_their_connection_alone(net: World, frames: bytes) -> None:
    server = session(net, Silent() if b'"call": 1, "size": 0}\n{"call"' in frames else None)
    with switched(server) as good:
        with switched(server) as bad:
            bad.sendall(frames)
            assert was_reset(bad)
        good.sendall(b'{"call": 1, "size": 2}\n{}')
        assert good.recv(1000)
    assert not any("internal" in (item.error or "") for item in server.exchanges)


def was_reset(connection: socket.socket) -> bool:
    try:
        while connection.recv(1000):
            pass
    except ConnectionResetError:
        return True
    return False


class Silent(Interceptor):
    async def intercept(self, request: Request, forward: Forward) -> ResponsePlan:
        await asyncio.Event().wait()
        raise AssertionError


def test_what_one_connection_holds_is_bounded(net: World) -> None:
    server = session(net, Silent())
    with switched(server) as connection, connection.makefile("rb") as replies:
        for number in range(tap.MAX_CALLS):
            connection.sendall(b'{"call": %d, "size": 2}\n{}' % number)
            assert json.loads(replies.readline()) == {"call": number, "do": "wait"}
        connection.sendall(b'{"call": 1000, "size": 2}\n{}')
        assert json.loads(replies.readline()) == {"call": 1000, "do": "skip"}
    with switched(server) as connection, connection.makefile("rb") as replies:
        big = b"x" * tap.MAX_REQUEST_BYTES
        done = []
        for number in range(tap.MAX_HELD_BYTES // tap.MAX_REQUEST_BYTES + 1):
            connection.sendall(b'{"call": %d, "size": %d}\n' % (number, len(big)) + big)
            done.append(json.loads(replies.readline())["do"])
        assert done == ["wait"] * 8 + ["skip"]
        connection.sendall(b'{"call": 99, "size": %d}\n' % (len(big) + 1) + big + b"x")
        assert json.loads(replies.readline())["do"] == "skip"


def test_the_connections_of_one_trial_are_bounded(net: World) -> None:
    server = session(net)
    connections = [switched(server) for _ in range(tap.MAX_TAPS)]
    with raw(server) as another:
        another.sendall(UPGRADE)
        assert another.recv(100).startswith(b"HTTP/1.1 503 ")
    for connection in connections:
        connection.close()


# -- the official client -----------------------------------------------------------------------------------------------

OFFICIAL = """
from mcp.server import MCPServer

server = MCPServer("orders")

@server.tool()
def lookup_order(order: int) -> str:
    return f"order {order}: shipped"

@server.tool()
def refund(order: int) -> str:
    open("refunds", "a").write(f"{order}\\n")
    return "done"

server.run("stdio")
"""


@pytest.mark.parametrize("mode", ["legacy", "auto"])
def test_the_official_client_and_server(net: World, tmp_path: Path, mode: str) -> None:
    """The client starts the server without the proxy variables: the way out is found all the same."""
    mcp = pytest.importorskip("mcp")
    from mcp.client.stdio import StdioServerParameters, stdio_client

    weather = storm(net, [rule("tool-error", match={"tool": ("refund",)}, on=(1,))])
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/environment").write_text(f'LANG=C\nhttp_proxy="{weather.proxy}"\n')
    (tmp_path / "orders.py").write_text(OFFICIAL)
    server = StdioServerParameters(
        command=str(install(tmp_path)), args=["--", sys.executable, "orders.py"], cwd=tmp_path
    )

    async def use() -> list[Any]:
        async with mcp.Client(stdio_client(server), mode=mode) as client:
            await client.list_tools()
            looked = await asyncio.gather(*(client.call_tool("lookup_order", {"order": n}) for n in range(5)))
            refunded = [await client.call_tool("refund", {"order": n}) for n in (1, 2)]
            return [(result.is_error, result.content[0].text) for result in (*looked, *refunded)]

    results = asyncio.run(asyncio.wait_for(use(), 120))
    assert results[:5] == [(False, f"order {n}: shipped") for n in range(5)]
    assert [failed for failed, _ in results[5:]] == [True, False]
    assert (tmp_path / "refunds").read_text() == "2\n"
    exchanges = weather.server.exchanges
    assert {item.host for item in exchanges} == {"orders.mcp-stdio"}
    calls = calls_of(exchanges)
    assert sorted((call.name, call.is_error) for call in calls) == [
        *[("lookup_order", False)] * 5,
        ("refund", False),
        ("refund", True),
    ]
