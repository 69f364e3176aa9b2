"""Unmodified clients through the gateway to upstreams on loopback, as a proxy's client and as one that dials itself.

Packages that take seconds to import are imported by the tests that use them: every worker of pytest reads this file.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import psycopg
import pytest
import requests
import urllib3

from aegis.gateway import Origin
from aegis.trace import Body
from support.databases import postgres_programs, postgres_server
from support.gateway_server import GatewayServer, World, world
from support.http_upstream import HttpUpstream, Received, chunk, echo, event_stream, response

KEY = "sk-proj-" + "Zk3vQ9aB7xLmN2pR8tYw4uHs6dFg1jKc"


def chat_chunks() -> list[bytes]:
    def piece(delta: dict[str, object], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        common = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-5-mini"}
        return json.dumps({**common, "choices": [choice]}).encode()

    def call(**function: str) -> dict[str, object]:
        return {"tool_calls": [{"index": 0, "function": function}]}

    first = {
        "role": "assistant",
        "tool_calls": [
            {
                "index": 0,
                "id": "t1",
                "type": "function",
                "function": {"name": "lookup_order", "arguments": ""},
            }
        ],
    }
    return [
        piece(first),
        piece(call(arguments='{"order": ')),
        piece(call(arguments="1042}")),
        piece({}, "tool_calls"),
        b"[DONE]",
    ]


def test_openai_streams_a_chat_with_tool_calls_through_tls(net: World) -> None:
    import openai

    upstream = HttpUpstream(event_stream(chat_chunks()))
    port = net.upstream(upstream)
    server = net.gateway(
        allow=("api.openai.com",),
        routes={"api.openai.com": f"http://127.0.0.1:{port}"},
        secrets={"OPENAI_API_KEY": ("api.openai.com",)},
        gateway={"secret_values": {"OPENAI_API_KEY": KEY}},
    )
    placeholder = server.session.environment()["OPENAI_API_KEY"]
    context = ssl.create_default_context(cafile=net.ca_file(server))
    with httpx.Client(proxy=server.proxy(), verify=context) as http:
        client = openai.OpenAI(api_key=placeholder, http_client=http)
        stream = client.chat.completions.create(
            model="gpt-5-mini", messages=[{"role": "user", "content": "Where is it?"}], stream=True
        )
        arguments = "".join(
            call.function.arguments or ""
            for part in stream
            for call in part.choices[0].delta.tool_calls or []
            if call.function
        )
    assert json.loads(arguments) == {"order": 1042}
    assert upstream.received[0].headers["authorization"] == f"Bearer {KEY}"
    assert upstream.received[0].headers["host"] == "api.openai.com"
    (exchange,) = server.wait_for(1)
    assert (exchange.method, exchange.scheme, exchange.host, exchange.port) == (
        "POST",
        "https",
        "api.openai.com",
        443,
    )
    assert exchange.path == "/v1/chat/completions"
    assert (exchange.status, exchange.routed, exchange.error) == (200, True, None)
    assert exchange.upstream == f"127.0.0.1:{port}"
    assert exchange.request_body is not None
    assert json.loads(exchange.request_body.text or "")["stream"] is True
    assert exchange.response_body is not None
    assert (exchange.response_body.text or "").endswith("data: [DONE]\n\n")
    assert len(exchange.chunks) == 5
    assert KEY not in repr(exchange)


def anthropic_events() -> bytes:
    message = {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 1},
    }
    block = {"type": "tool_use", "id": "t", "name": "refund", "input": {}}

    def delta(text: str) -> dict[str, Any]:
        part = {"type": "input_json_delta", "partial_json": text}
        return {"type": "content_block_delta", "index": 0, "delta": part}

    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": block},
        delta('{"order":'),
        delta(" 1042}"),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 9}},
        {"type": "message_stop"},
    ]
    return b"".join(f"event: {item['type']}\ndata: {json.dumps(item)}\n\n".encode() for item in events)


def test_anthropic_streams_a_tool_call_with_nothing_but_the_guests_environment(
    net: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    import anthropic

    async def answer(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        body = anthropic_events()
        for at in range(0, len(body), 100):
            writer.write(chunk(body[at : at + 100]))
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    upstream = HttpUpstream(answer)
    server = net.gateway(
        routes={"api.anthropic.com": f"http://127.0.0.1:{net.upstream(upstream)}"},
        secrets={"ANTHROPIC_API_KEY": ("api.anthropic.com",)},
        gateway={"secret_values": {"ANTHROPIC_API_KEY": KEY}},
    )
    ca = net.ca_file(server)
    for name, value in server.session.environment(ca_file=ca, ca_bundle=ca, proxy=server.proxy()).items():
        monkeypatch.setenv(name, value)
    with (
        anthropic.Anthropic() as client,
        client.messages.stream(
            model="claude", max_tokens=10, messages=[{"role": "user", "content": "Refund 1042"}]
        ) as stream,
    ):
        message = stream.get_final_message()
    assert message.content[0].type == "tool_use"
    assert message.content[0].input == {"order": 1042}
    assert upstream.received[0].headers["authorization"] == f"Bearer {KEY}"
    (exchange,) = server.wait_for(1)
    assert exchange.credential
    assert KEY not in repr(exchange)


def by_requests(url: str, proxy: str, ca: str) -> Any:
    return requests.post(
        url, json={"a": 1}, proxies={"http": proxy, "https": proxy}, verify=ca, timeout=20
    ).json()


def by_httpx(url: str, proxy: str, ca: str) -> Any:
    with httpx.Client(proxy=proxy, verify=ssl.create_default_context(cafile=ca)) as client:
        return client.post(url, json={"a": 1}).json()


def by_urllib3(url: str, proxy: str, ca: str) -> Any:
    manager = urllib3.ProxyManager(proxy, ca_certs=ca)
    return manager.request("POST", url, json={"a": 1}, timeout=20).json()


def by_aiohttp(url: str, proxy: str, ca: str) -> Any:
    import aiohttp

    async def run() -> Any:
        context = ssl.create_default_context(cafile=ca)
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, json={"a": 1}, proxy=proxy, ssl=context) as got,
        ):
            return await got.json()

    return asyncio.run(run())


def by_curl(url: str, proxy: str, ca: str) -> Any:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    command = ["curl", "-sS", "--max-time", "20", "-x", proxy, "--cacert", ca, "--json", '{"a": 1}', url]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


def by_urllib(url: str, proxy: str, ca: str) -> Any:
    """The standard library, told by environment variables only."""
    code = (
        "import sys, urllib.request; r = urllib.request.Request(sys.argv[1], b'{\"a\": 1}', "
        "{'Content-Type': 'application/json'}); print(urllib.request.urlopen(r, timeout=20).read().decode())"
    )
    env = {**os.environ, "http_proxy": proxy, "https_proxy": proxy, "SSL_CERT_FILE": ca, "no_proxy": ""}
    return json.loads(
        subprocess.run([sys.executable, "-c", code, url], env=env, capture_output=True, check=True).stdout
    )


CLIENTS = [by_requests, by_httpx, by_urllib3, by_aiohttp, by_curl, by_urllib]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("client", CLIENTS)
def test_every_client_works_through_the_proxy(
    net: World, client: Callable[[str, str, str], Any], scheme: str
) -> None:
    upstream = HttpUpstream(echo)
    server = net.gateway(routes={"crm.example": f"http://127.0.0.1:{net.upstream(upstream)}"})
    found = client(f"{scheme}://crm.example/orders?id=1042", server.proxy(), net.ca_file(server))
    assert (found["method"], found["target"]) == ("POST", "/orders?id=1042")
    assert json.loads(found["body"]) == {"a": 1}
    assert found["headers"]["host"] == "crm.example"
    (exchange,) = server.wait_for(1)
    assert (exchange.scheme, exchange.port) == (scheme, 443 if scheme == "https" else 80)
    assert (exchange.status, exchange.error) == (200, None)


def test_curl_dials_by_itself(net: World) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    server = net.gateway(routes={"crm.example": f"http://127.0.0.1:{net.upstream(HttpUpstream(echo))}"})
    direct = server.listen(Origin.direct("crm.example", "198.18.0.7", 443))
    command = ["curl", "-sS", "--max-time", "20", "--cacert", net.ca_file(server), "--noproxy", "*"]
    command += ["--connect-to", f"crm.example:443:127.0.0.1:{direct}", "https://crm.example/orders"]
    done = subprocess.run(command, capture_output=True, check=True)
    assert json.loads(done.stdout)["target"] == "/orders"
    assert server.wait_for(1)[0].error is None


NODE = """
const dns = require('dns');
const lookup = dns.lookup;
// Plays the guest's name server: every name has the address of the listener.
dns.lookup = (name, options, done) => lookup('127.0.0.1', options, done);
(async () => {
  const response = await fetch(process.argv[1], {method: 'POST', body: JSON.stringify({a: 1})});
  let text = '';
  for await (const part of response.body) text += Buffer.from(part).toString();
  console.log(text);
})().catch(error => { console.error(error); process.exit(1); });
"""


def test_nodes_fetch_dials_by_itself(net: World) -> None:
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    events = [b"one", b"two"]
    upstream = HttpUpstream(event_stream(events))
    listening = net.upstream(upstream)
    free = net.free_port()
    server = net.gateway(routes={f"crm.example:{free}": f"http://127.0.0.1:{listening}"})
    server.listen(Origin.direct("crm.example", "198.18.0.7", free), port=free)
    env = {**os.environ, "NODE_EXTRA_CA_CERTS": net.ca_file(server)}
    done = subprocess.run(
        ["node", "-e", NODE, f"https://crm.example:{free}/events"],
        env=env,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.decode().strip() == "data: one\n\ndata: two", done.stderr.decode()
    assert upstream.received[0].headers["host"] == f"crm.example:{free}"
    (exchange,) = server.wait_for(1)
    assert (exchange.kind, exchange.scheme, exchange.port, exchange.error) == ("http", "https", free, None)


def test_the_sdks_own_retries_reach_the_upstream(net: World) -> None:
    import openai

    count = 0

    async def flaky(request: Received, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        if count < 3:
            writer.write(response(b"{}", "503 Service Unavailable", Retry_After="0"))
            return
        done = {
            "id": "c",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [
                {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}
            ],
        }
        writer.write(response(json.dumps(done).encode(), Content_Type="application/json"))

    server = net.gateway(routes={"api.openai.com": f"http://127.0.0.1:{net.upstream(HttpUpstream(flaky))}"})
    context = ssl.create_default_context(cafile=net.ca_file(server))
    with httpx.Client(proxy=server.proxy(), verify=context) as http:
        client = openai.OpenAI(api_key="any", http_client=http)
        found = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
    assert found.choices[0].message.content == "hi"
    exchanges = server.wait_for(3)
    assert [item.status for item in exchanges] == [503, 503, 200]
    assert len({item.connection for item in exchanges}) == 1


def test_two_hundred_connections_at_once(net: World) -> None:
    server = net.gateway(
        routes={"crm.example": f"http://127.0.0.1:{net.upstream(HttpUpstream(echo), backlog=512)}"}
    )
    context = ssl.create_default_context(cafile=net.ca_file(server))
    proxy = server.proxy()

    async def run() -> list[int]:
        limits = httpx.Limits(max_connections=200)
        async with httpx.AsyncClient(proxy=proxy, verify=context, limits=limits, timeout=60) as client:
            got = await asyncio.gather(*(client.get(f"https://crm.example/{n}") for n in range(200)))
            return [int(item.json()["target"][1:]) for item in got]

    assert asyncio.run(run()) == list(range(200))
    assert len({item.connection for item in server.wait_for(200)}) == 200


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a PostgreSQL server."""
    programs = postgres_programs()
    if programs is None:
        pytest.skip("PostgreSQL's server is not installed (Debian: postgresql)")
    folder = tmp_path_factory.mktemp("postgres")
    with world(folder) as own, postgres_server(programs, folder, own) as port:
        yield port


def database(net: World, port: int) -> tuple[GatewayServer, int]:
    """A gateway that leads `db.example:5432` to the server, and the port at which a client finds it."""
    server = net.gateway(routes={"db.example:5432": f"127.0.0.1:{port}"})
    return server, server.listen(Origin.direct("db.example", "198.18.0.8", 5432))


def test_psql_speaks_plain_tcp(net: World, postgres: int) -> None:
    psql = shutil.which("psql")
    if psql is None:
        pytest.skip("psql is not installed")
    server, direct = database(net, postgres)
    query = ["-h", "127.0.0.1", "-p", str(direct), "-U", "app", "-d", "postgres", "-Atc", "select 6 * 7"]
    done = subprocess.run([psql, *query], capture_output=True, timeout=60, check=False)
    assert done.stdout.strip() == b"42", done.stderr
    (exchange,) = server.wait_for(1)
    assert (exchange.kind, exchange.error) == ("tcp", None)
    assert exchange.response_body is not None
    assert exchange.response_body.size_bytes > 100


def test_psycopg_works_as_without_a_gateway(net: World, postgres: int) -> None:
    """Questions and answers in binary, a long answer, a long upload, an error, a statement that is cancelled through
    a second connection (`cancel` itself would hold the interpreter, and the gateway with it)."""
    server, direct = database(net, postgres)
    where = f"host=127.0.0.1 port={direct} user=app dbname=postgres connect_timeout=20"
    with psycopg.connect(where) as db:
        assert db.execute("select %s::int * 7", (6,)).fetchone() == (42,)
        rows = db.execute("select n, repeat('x', 1000) from generate_series(1, 3000) n").fetchall()
        assert (len(rows), rows[-1]) == (3000, (3000, "x" * 1000))
        db.execute("create temp table orders (id int, note text)")
        with db.cursor().copy("copy orders from stdin") as copy:
            for number in range(20_000):
                copy.write_row((number, "note" * 10))
        assert db.execute("select count(*), sum(id) from orders").fetchone() == (20_000, 199_990_000)
        db.commit()
        with pytest.raises(psycopg.errors.UndefinedTable):
            db.execute("select * from nowhere")
        db.rollback()
        timer = threading.Timer(0.5, db.cancel_safe)
        timer.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            db.execute("select pg_sleep(60)")
        timer.join()
    exchanges = server.wait_for(2)
    assert [(item.kind, item.host, item.port, item.error) for item in exchanges] == [
        ("tcp", "db.example", 5432, None)
    ] * 2
    first = exchanges[0]
    assert first.request_body is not None
    assert first.request_body.size_bytes > 800_000
    assert first.response_body is not None
    assert first.response_body.size_bytes > 3_000_000


def test_psycopg_is_refused_on_a_port_that_is_not_allowed(net: World, postgres: int) -> None:
    server = net.gateway(allow=("db.example",), routes={"db.example": f"127.0.0.1:{postgres}"})
    direct = server.listen(Origin.direct("db.example", "198.18.0.8", 5432))
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(f"host=127.0.0.1 port={direct} user=app dbname=postgres connect_timeout=20")
    (exchange,) = server.wait_for(1)
    assert exchange.kind == "denied"
    assert "db.example:5432 is not in network.allow" in (exchange.error or "")


MCP_SERVER = """
import sys
from mcp.server import MCPServer
from mcp.server.transport_security import TransportSecuritySettings

server = MCPServer("orders")

@server.tool()
def lookup_order(order: int) -> str:
    return f"order {order}: shipped"

server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]),
           transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False))
"""


def test_the_official_mcp_client_calls_a_tool_over_streamable_http(
    net: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mcp

    port = net.free_port()
    child = subprocess.Popen([sys.executable, "-c", MCP_SERVER, str(port)], stderr=subprocess.DEVNULL)
    try:
        net.wait_for_port(port)
        server = net.gateway(routes={"tools.example": f"http://127.0.0.1:{port}"})
        ca = net.ca_file(server)
        for name, value in server.session.environment(ca_file=ca, ca_bundle=ca, proxy=server.proxy()).items():
            monkeypatch.setenv(name, value)

        async def run() -> str:
            async with mcp.Client("https://tools.example/mcp") as client:
                result = await client.call_tool("lookup_order", {"order": 1042})
                return str(result.content[0])

        assert "order 1042: shipped" in asyncio.run(asyncio.wait_for(run(), 60))
    finally:
        child.terminate()
        child.wait(30)
    calls = [
        item for item in server.wait_for(1) if "tools/call" in ((item.request_body or Body(0)).text or "")
    ]
    assert len(calls) == 1
    assert calls[0].response_body is not None
    assert "order 1042: shipped" in (calls[0].response_body.text or "")
