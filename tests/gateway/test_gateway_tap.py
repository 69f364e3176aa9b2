"""MCP servers behind `aegis-mcp-tap`: what reaches them, what their clients get, and what is recorded."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aegis.gateway import Bounds, tap
from aegis.gateway.base import Forward, Framing, Interceptor, Request, ResponsePlan
from aegis.gateway.deliver import Whole, refusal
from support.gateway_server import World
from support.mcp_stdio import calls_of, environment, install, request, seen, session, start, text_of, tool
from support.storm import rule, storm

ECHO = "import sys, shutil; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)"
ODD = b"".join(
    [
        b"no json at all\n",
        b'{ "jsonrpc" : "2.0",\t"id" : 1.0, "method" : "tools/call" }\r\n',
        b'{"jsonrpc":"2.0","id":"1","method":"tools/call","params":{"name":"\xff\xfe"}}\n',
        b'{"jsonrpc":"2.0","id":{"odd":1},"method":"a"}\n',
        b'[{"jsonrpc":"2.0","id":7,"method":"a"},{"jsonrpc":"2.0","method":"b"}]\n',
        b'{"jsonrpc":"2.0","id":"1","result":{}}\n',
        b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":99}}\n',
        b"\n\r\n",
        b"[" * 2000 + b"\n",
        b'{"jsonrpc":"2.0","id":8,"method":"big","params":{"text":"' + b"x" * 3_000_000 + b'"}}\n',
        b'{"jsonrpc":"2.0","id":9,"method":"the line does not end"}',
    ]
)


# -- bytes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("watched", [False, True])
def test_every_byte_passes_both_ways(net: World, tmp_path: Path, watched: bool) -> None:
    server = session(net)
    env = environment(**({"http_proxy": server.proxy()} if watched else {}))
    done = subprocess.run(
        [install(tmp_path), sys.executable, "-c", ECHO], input=ODD, capture_output=True, env=env, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == ODD
    if not watched:
        assert server.exchanges == []
        return
    # The echo of a request answers nothing. A batch has no path, and what is too long was not looked at.
    exchanges = server.wait_for(5)
    assert [item.path for item in exchanges] == ["/tools/call", "/a", "/", "/", "/"]
    ended = "upstream-closed: the server ended with 0"
    assert [item.error for item in exchanges] == [ended, ended, ended, None, ended]
    long = exchanges[3].request_body
    assert long is not None
    assert (long.size_bytes, long.text, long.truncated) == (len(ODD.splitlines(True)[-2]), "", True)


@pytest.mark.parametrize("watched", [False, True])
def test_the_end_is_the_servers_own(net: World, tmp_path: Path, watched: bool) -> None:
    proxy = session(net).proxy() if watched else None
    with start(tmp_path, proxy) as client:
        assert client.ask(request(1, "initialize"))["result"] == {"method": "initialize"}
        assert client.finish() == (7, "server ends\n")
        assert client.line() == b""
    with start(tmp_path, proxy) as client:
        client.ask(request(1, "initialize"))
        client.process.send_signal(signal.SIGUSR1)
        client.process.wait(60)
        assert client.finish() == (5, "got SIGUSR1\n")
    with start(tmp_path, proxy) as client:
        client.ask(request(1, "initialize"))
        client.process.terminate()
        assert client.process.wait(60) == -signal.SIGTERM
    with start(tmp_path, proxy) as client:
        client.send(tool(1, "die"))
        assert client.line() == b""
        assert client.process.wait(60) == 3


@pytest.mark.parametrize("watched", [False, True])
def test_a_command_that_is_not_there(net: World, tmp_path: Path, watched: bool) -> None:
    env = environment(**({"http_proxy": session(net).proxy()} if watched else {}))
    program = str(install(tmp_path))
    done = subprocess.run([program, "--", "no-such-thing"], capture_output=True, env=env, timeout=60)
    assert done.returncode == 127
    assert done.stderr == b"aegis-mcp-tap: cannot start no-such-thing: No such file or directory\n"
    for arguments in ([], ["--"], ["--nmae", "x", "--", "true"], ["--name"]):
        done = subprocess.run([program, *arguments], capture_output=True, env=env, timeout=60)
        assert done.returncode == 2
        assert b"Usage: aegis-mcp-tap [--name NAME]" in done.stderr


def test_a_client_that_writes_all_it_has_and_reads_then(net: World, tmp_path: Path) -> None:
    """As a pipe in a shell does: nothing may be lost at the input's end, late answers included."""
    weather = storm(net, [rule("latency", delay="1s", match={"tool": ("slow*",)})])
    with start(tmp_path, weather.proxy) as client:
        client.send(
            request(1, "initialize"),
            {"jsonrpc": "2.0", "method": "notifications/initialized"},
            tool(2, "slow"),
            tool(3, "quick"),
        )
        assert client.finish() == (7, "server ends\n")
        assert sorted(client.receive()["id"] for _ in range(3)) == [1, 2, 3]
        assert client.line() == b""
    assert [item.get("method") for item in seen(tmp_path)] == [
        "initialize",
        "notifications/initialized",
        "tools/call",
        "tools/call",
    ]


def test_the_order_stays_where_nothing_is_delayed(net: World, tmp_path: Path) -> None:
    server = session(net)
    sent: list[dict[str, Any]] = []
    for number in range(60):
        sent.append(tool(number, "notify", n=number))
        sent.append({"jsonrpc": "2.0", "method": "notifications/x", "params": {"n": number}})
    with start(tmp_path, server.proxy()) as client:
        client.send(*sent)
        said = [client.receive() for _ in range(120)]
    assert seen(tmp_path) == sent
    assert [item.get("id") for item in said] == [each for number in range(60) for each in (None, number)]
    assert [call.arguments["n"] for call in calls_of(server.wait_for(60))] == list(range(60))


# -- the record --------------------------------------------------------------------------------------------------------


def test_each_request_is_an_exchange_and_tool_calls_are_in_the_trace(net: World, tmp_path: Path) -> None:
    server = session(net)
    with start(tmp_path, server.proxy()) as client:
        client.ask(request(0, "initialize"))
        client.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        client.ask(request("a", "tools/list"))
        client.ask(tool(2, "lookup", order=1042))
        client.finish()
    exchanges = server.wait_for(3)
    assert [(item.kind, item.scheme, item.host, item.path, item.status) for item in exchanges] == [
        ("mcp-stdio", "stdio", "crm.mcp-stdio", path, 200)
        for path in ("/initialize", "/tools/list", "/tools/call")
    ]
    assert all(item.error is None and item.faults == () for item in exchanges)
    assert all(item.started_s <= item.first_byte_s <= item.ended_s for item in exchanges)  # type: ignore[operator]
    [call] = calls_of(exchanges)
    assert (call.server, call.name, call.arguments) == ("crm.mcp-stdio", "lookup", {"order": 1042})
    assert (call.result, call.is_error, call.incomplete) == ('lookup {"order": 1042}', False, False)


def test_a_servers_end_and_a_clients_end_are_told_apart(net: World, tmp_path: Path) -> None:
    server = session(net)
    with start(tmp_path, server.proxy()) as client:
        client.send(tool(3, "die"))
        assert client.process.wait(60) == 3
    [died] = server.wait_for(1)
    assert died.error == "upstream-closed: the server ended with 3"
    with start(tmp_path, server.proxy()) as client:
        client.send(tool(3, "ask"))
        client.receive()
    gone = server.wait_for(2)[1]
    assert gone.error == "client-gone: it went without an answer"
    # The next server has the same ids: what it answers is no answer to these.
    with start(tmp_path, server.proxy()) as client:
        client.ask(tool(3, "lookup"))
    calls = calls_of(server.wait_for(3))
    assert [(call.name, call.incomplete) for call in calls] == [
        ("die", True),
        ("ask", True),
        ("lookup", False),
    ]


def test_what_the_server_asks_passes_untouched(net: World, tmp_path: Path) -> None:
    server = session(net)
    with start(tmp_path, server.proxy()) as client:
        client.send(tool(5, "ask"))
        assert client.receive() == {"jsonrpc": "2.0", "id": 5, "method": "roots/list"}
        client.send({"jsonrpc": "2.0", "id": 5, "result": {"roots": []}})
        assert client.receive()["params"] == {"told": {"roots": []}}
        client.ask(tool(6, "lookup"))
        client.finish()
    assert [call.name for call in calls_of(server.wait_for(2))] == ["ask", "lookup"]


def test_batches_are_one_exchange(net: World, tmp_path: Path) -> None:
    server = session(net)
    with start(tmp_path, server.proxy()) as client:
        client.send([request(1, "a"), {"jsonrpc": "2.0", "method": "b"}, request(2, "c")])
        assert [item["id"] for item in client.receive()] == [1, 2]
        client.finish()
    [exchange] = server.wait_for(1)
    assert exchange.path == "/"
    assert exchange.response_body is not None
    assert json.loads(exchange.response_body.text or "")[1]["result"] == "c"


@pytest.mark.parametrize(
    ("size", "whole"), [(tap.MAX_ANSWER_BYTES - 200, True), (tap.MAX_ANSWER_BYTES + 1, False)]
)
def test_answers_up_to_a_bound_are_looked_at(net: World, tmp_path: Path, size: int, whole: bool) -> None:
    weather = storm(net, [rule("wrong-shape", remove=["$"], match={"tool": ("big",)})])
    server = weather.server
    with start(tmp_path, server.proxy()) as client:
        assert len(text_of(client.ask(tool(1, "big", bytes=size)))) == size
        assert text_of(client.ask(tool(2, "lookup"))) == "lookup {}"
        client.finish()
    exchange = server.wait_for(2)[0]
    assert exchange.error is None
    assert exchange.response_body is not None
    assert exchange.response_body.size_bytes > size
    assert exchange.response_body.truncated is not whole


def test_secrets_do_not_reach_the_record(net: World, tmp_path: Path) -> None:
    server = net.gateway(
        secrets={"CRM_TOKEN": ("crm.example",)},
        gateway={"secret_values": {"CRM_TOKEN": "crm-5f1d8a6b-0c77-4e92"}},
    )
    placeholder = server.session.environment()["CRM_TOKEN"]
    with start(tmp_path, server.proxy()) as client:
        assert placeholder in text_of(client.ask(tool(1, "login", token=placeholder)))
        client.finish()
    [exchange] = server.wait_for(1)
    assert exchange.request_body is not None
    assert placeholder not in json.dumps(exchange.to_json())
    assert "[secret:CRM_TOKEN]" in (exchange.request_body.text or "")


def test_when_a_trial_has_had_its_share_everything_passes(net: World, tmp_path: Path) -> None:
    server = session(net, bounds=Bounds(max_exchanges=2))
    with start(tmp_path, server.proxy()) as client:
        for number in range(5):
            assert text_of(client.ask(tool(number, "lookup", n=number))) == f'lookup {{"n": {number}}}'
        client.finish()
    assert len(server.wait_for(2)) == 2


# -- the weather -------------------------------------------------------------------------------------------------------


def test_a_fault_answers_and_the_server_hears_nothing_of_it(net: World, tmp_path: Path) -> None:
    weather = storm(net, [rule("tool-error", match={"tool": ("refund",)}, on=(1,))])
    with start(tmp_path, weather.proxy) as client:
        client.ask(request(0, "initialize"))
        client.ask(tool(1, "lookup"))
        first, second = client.ask(tool("r", "refund", order=1)), client.ask(tool(3, "refund", order=1))
        client.finish()
    assert first["result"]["isError"] is True
    assert "refund" in text_of(first)
    assert text_of(second) == 'refund {"order": 1}'
    assert [item["id"] for item in seen(tmp_path)] == [0, 1, 3]
    exchanges = weather.exchanges(4)
    assert [item.faults for item in exchanges] == [(), (), ("tool-error",), ()]
    assert [call.is_error for call in calls_of(exchanges)] == [False, True, False]
    report = weather.report("tool-error")
    assert (report.matched, report.fired) == (2, 1)


def test_a_fault_bends_what_the_server_answers(net: World, tmp_path: Path) -> None:
    weather = storm(net, [rule("wrong-shape", remove=["$.order"], match={"tool": ("lookup",)})])
    with start(tmp_path, weather.proxy) as client:
        answer = client.ask(tool(1, "lookup", order=5, paid=2))
        client.finish()
    assert text_of(answer).startswith("lookup ")
    # The text is no JSON: nothing was there to be changed, and the answer is what the server wrote.
    assert weather.report("wrong-shape").fired == 0


@pytest.mark.parametrize(
    "match",
    [
        {"host": ("crm.mcp-stdio",)},
        {"host": ("*.mcp-stdio",), "path": ("/tools/call",)},
        {"call": "tool"},
        {"tool": ("look*",)},
        {"body": {"$.params.arguments.order": 7}},
        {"method": ("POST",), "path": ("/tools/*",)},
    ],
)
def test_what_a_rule_can_match_by(net: World, tmp_path: Path, match: dict[str, Any]) -> None:
    weather = storm(net, [rule("tool-error", match=match)])
    with start(tmp_path, weather.proxy) as client:
        client.ask(request(0, "initialize"))
        assert client.ask(tool(1, "lookup", order=7))["result"]["isError"] is True
        client.finish()
    assert weather.report("tool-error").fired == 1


def test_faults_of_http_alone_leave_it_be(net: World, tmp_path: Path) -> None:
    rules = [rule("overloaded"), rule("truncate", at_byte=3), rule("refuse"), rule("dns-failure")]
    weather = storm(net, rules)
    with start(tmp_path, weather.proxy) as client:
        assert text_of(client.ask(tool(1, "lookup"))) == "lookup {}"
        client.finish()
    assert [report.matched for report in weather.weather.reports()] == [0, 0, 0, 0]
    assert weather.exchanges(1)[0].faults == ()


@pytest.mark.parametrize("before", ["request", "response"])
def test_only_the_call_itself_is_late(net: World, tmp_path: Path, before: str) -> None:
    weather = storm(net, [rule("latency", delay="3s", before=before, match={"tool": ("slow",)})])
    with start(tmp_path, weather.proxy) as client:
        client.send(tool(1, "slow"), tool(2, "quick"))
        assert [client.receive()["id"] for _ in range(2)] == [2, 1]
        client.finish()
    slow, quick = weather.exchanges(2)
    assert slow.ended_s is not None
    assert slow.ended_s - slow.started_s >= 3
    assert (slow.faults, quick.faults) == (("latency",), ())
    reached = [item["id"] for item in seen(tmp_path)]
    assert reached == ([2, 1] if before == "request" else [1, 2])


@pytest.mark.parametrize("upstream", ["called", "not-called"])
def test_a_call_that_hangs_ends_when_the_client_gives_it_up(
    net: World, tmp_path: Path, upstream: str
) -> None:
    weather = storm(net, [rule("hang", upstream=upstream, match={"tool": ("stuck",)})])
    with start(tmp_path, weather.proxy) as client:
        client.send(tool(1, "stuck"))
        client.ask(tool(2, "lookup"))
        cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
        client.send(cancel)
        client.ask(tool(3, "lookup"))
        exchanges = weather.exchanges(3)
        assert exchanges[0].error == "client-gone: it cancelled the request"
        assert exchanges[0].faults == ("hang",)
        assert client.finish()[0] == 7
        assert client.line() == b""
    reached = [item.get("id") for item in seen(tmp_path)]
    assert reached == ([1, 2, None, 3] if upstream == "called" else [2, None, 3])


@pytest.mark.parametrize("upstream", ["called", "not-called"])
def test_a_call_that_hangs_keeps_nobody_from_ending_the_server(
    net: World, tmp_path: Path, upstream: str
) -> None:
    weather = storm(net, [rule("hang", upstream=upstream, match={"tool": ("stuck",)})])
    with start(tmp_path, weather.proxy) as client:
        client.send(tool(1, "stuck"))
        client.ask(tool(2, "lookup"))
        assert client.process.stdin is not None
        client.process.stdin.close()
        client.process.terminate()
        # The server may see the end of its input before the signal comes.
        assert client.process.wait(60) in (7, -signal.SIGTERM)
    assert weather.exchanges(2)[0].faults == ("hang",)


def test_nothing_overtakes_the_first_message(net: World, tmp_path: Path) -> None:
    late = rule("latency", delay="1s", before="request", match={"path": ("/initialize",)})
    weather = storm(net, [late])
    sent = [request(1, "initialize"), {"jsonrpc": "2.0", "method": "notifications/initialized"}, tool(2, "x")]
    with start(tmp_path, weather.proxy) as client:
        client.send(*sent)
        assert [client.receive()["id"] for _ in range(2)] == [1, 2]
        client.finish()
    assert seen(tmp_path) == sent


def test_a_connection_fault_is_the_servers_death(net: World, tmp_path: Path) -> None:
    weather = storm(net, [rule("empty-reply", on=(2,))])
    with start(tmp_path, weather.proxy) as client:
        client.ask(tool(1, "lookup"))
        client.send(tool(2, "refund"))
        assert client.line() == b""
        assert client.process.wait(60) == -signal.SIGKILL
    assert [item["id"] for item in seen(tmp_path)] == [1, 2]
    exchange = weather.exchanges(2)[1]
    assert exchange.error == "injected: closed without an answer"
    assert calls_of([exchange])[0].incomplete


class Content:
    def __init__(self, content: bytes) -> None:
        self.length: int | None = len(content)
        self._left = [content]

    async def read(self) -> bytes:
        return self._left.pop() if self._left else b""


class Twice(Interceptor):
    """Passes it on as it came, and once more as another one, at the same time."""

    async def intercept(self, request: Request, forward: Forward) -> ResponsePlan:
        body = await request.body.read()
        bodies = (body, body.replace(b"lookup", b"delete"))
        plans = await asyncio.gather(*(forward(replace(request, body=Content(each))) for each in bodies))
        return plans[1]


def test_a_request_may_be_changed_and_passed_on_more_than_once(net: World, tmp_path: Path) -> None:
    server = session(net, Twice())
    with start(tmp_path, server.proxy()) as client:
        assert text_of(client.ask(tool(1, "lookup"))) == "delete {}"
        assert client.finish()[0] == 7
        assert client.line() == b""
    assert [item["params"]["name"] for item in seen(tmp_path)] == ["lookup", "delete"]


class Says(Interceptor):
    def __init__(self, plan: ResponsePlan) -> None:
        self._plan = plan

    async def intercept(self, request: Request, forward: Forward) -> ResponsePlan:
        assert request.layer == "mcp"
        return self._plan


def plain(status: int, body: bytes) -> ResponsePlan:
    return ResponsePlan(status, "Some", (), Framing.LENGTH, Whole(body))


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        (
            refusal(503),
            b'{"jsonrpc":"2.0","id":"x","error":{"code":-32603,"message":"503 Service Unavailable"}}\n',
        ),
        (
            plain(200, b'{\n "jsonrpc": "2.0",\r\n "id": "x", "result": "\xc3\xa9"}'),
            '{"jsonrpc":"2.0","id":"x","result":"é"}\n'.encode(),
        ),
        (
            plain(200, b'{"jsonrpc": "2.0", "id": "x", "result": 1}'),
            b'{"jsonrpc": "2.0", "id": "x", "result": 1}\n',
        ),
    ],
)
def test_whatever_is_answered_is_one_line_of_json(
    net: World, tmp_path: Path, plan: ResponsePlan, expected: bytes
) -> None:
    server = session(net, Says(plan))
    with start(tmp_path, server.proxy()) as client:
        client.send(request("x", "tools/list"))
        assert client.line() == expected
        client.finish()
    body = server.wait_for(1)[0].response_body
    assert body is not None
    assert body.text == expected.decode().rstrip("\n")
    assert not (tmp_path / "seen").read_bytes()


def test_an_answer_of_nothing_is_none(net: World, tmp_path: Path) -> None:
    server = session(net, Says(plain(202, b"")))
    with start(tmp_path, server.proxy()) as client:
        client.send(request(1, "tools/list"), {"jsonrpc": "2.0", "id": "of the server's", "result": "told"})
        assert client.receive()["params"] == {"told": "told"}
        assert client.finish()[0] == 7
        assert client.line() == b""


class Broken(Interceptor):
    async def intercept(self, request: Request, forward: Forward) -> ResponsePlan:
        if b"early" in await request.body.read():
            raise RuntimeError("a bug")
        await forward(request)
        raise RuntimeError("a bug")


def test_a_bug_loses_no_message(net: World, tmp_path: Path) -> None:
    server = session(net, Broken())
    with start(tmp_path, server.proxy()) as client:
        assert text_of(client.ask(tool(1, "early"))) == "early {}"
        client.finish()
    assert server.wait_for(1)[0].error == "internal: RuntimeError"
