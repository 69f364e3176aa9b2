"""HTTP/1.1 as it goes over the wire: framing, keep-alive, events, upgrades."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import struct
import time

import pytest

from aegis.gateway import Origin
from support.gateway_server import World, quick
from support.http_upstream import HttpUpstream, Received, chunk, echo, event_stream, response, says
from support.raw_client import ask, connect, port_of, read_all, read_until

GET = b"GET http://api.example/x HTTP/1.1\r\nHost: api.example\r\n\r\n"
LAST = b"GET http://api.example/x HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n"


def routed(net: World, upstream: HttpUpstream, **fields: object) -> tuple[object, int]:
    port = net.upstream(upstream)
    server = net.gateway(routes={"api.example": f"http://127.0.0.1:{port}"}, **fields)
    return server, port_of(server.proxy())


def test_requests_of_one_connection_share_one_to_the_upstream(net: World) -> None:
    upstream = HttpUpstream(echo)
    server, port = routed(net, upstream)
    with connect(port) as sock:
        for number in range(3):
            sock.sendall(GET.replace(b"/x", b"/%d" % number))
            assert b'"target": "/%d"' % number in read_until(sock, b'"body": ""}')
    assert [item.target for item in upstream.received] == ["/0", "/1", "/2"]
    assert upstream.connections == 1
    assert {item.connection for item in server.wait_for(3)} == {1}


def test_pipelined_requests_are_answered_in_order(net: World) -> None:
    upstream = HttpUpstream(echo)
    server, port = routed(net, upstream)
    data = ask(port, GET.replace(b"/x", b"/1") + GET.replace(b"/x", b"/2") + LAST.replace(b"/x", b"/3"))
    assert [part[:2] for part in data.split(b'"target": "')[1:]] == [b"/1", b"/2", b"/3"]
    assert [item.path for item in server.wait_for(3)] == ["/1", "/2", "/3"]


def test_the_upstream_sees_the_request_as_sent_without_hop_by_hop_headers(net: World) -> None:
    upstream = HttpUpstream(echo)
    _, port = routed(net, upstream)
    ask(
        port,
        b"POST http://api.example/a%20b?q=1&q=2 HTTP/1.1\r\nHost: api.example\r\nX-Case: Kept\r\nX-Twice: 1\r\n"
        b"X-Twice: 2\r\nProxy-Authorization: Basic abc\r\nProxy-Connection: keep-alive\r\nX-Hop: 1\r\n"
        b"Accept-Encoding: gzip, br, zstd\r\nConnection: close, X-Hop\r\nContent-Length: 4\r\n\r\nbody",
    )
    head = upstream.received[0].raw_head
    assert head.startswith(b"POST /a%20b?q=1&q=2 HTTP/1.1\r\nHost: api.example\r\nX-Case: Kept\r\n")
    assert b"X-Twice: 1\r\nX-Twice: 2\r\n" in head
    assert b"Accept-Encoding: gzip, zstd\r\n" in head
    assert not [
        name
        for name in upstream.received[0].headers
        if "proxy" in name or name in ("connection", "x-hop", "via")
    ]
    assert upstream.received[0].body == b"body"


def test_chunked_both_ways_with_trailers(net: World) -> None:
    reply = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
        + chunk(b"one")
        + chunk(b"two")
        + b"0\r\nX-Sum: 42\r\n\r\n"
    )
    upstream = HttpUpstream(says(reply))
    server, port = routed(net, upstream)
    data = ask(
        port,
        b"POST http://api.example/ HTTP/1.1\r\nHost: api.example\r\nTransfer-Encoding: chunked\r\n"
        b"Connection: close\r\n\r\n5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nX-Req: 1\r\n\r\n",
    )
    assert upstream.received[0].body == b"hello world"
    assert data.endswith(b"3\r\none\r\n3\r\ntwo\r\n0\r\nX-Sum: 42\r\n\r\n")
    (exchange,) = server.wait_for(1)
    assert exchange.request_body is not None
    assert exchange.response_body is not None
    assert (exchange.request_body.text, exchange.response_body.text) == ("hello world", "onetwo")


@pytest.mark.parametrize(
    ("method", "reply"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nContent-Length: 5\r\n\r\n'),
    ],
)
def test_responses_without_a_body_end_with_their_head(net: World, method: str, reply: bytes) -> None:
    upstream = HttpUpstream(says(reply))
    _, port = routed(net, upstream)
    with connect(port) as sock:
        for _ in range(2):
            sock.sendall(GET.replace(b"GET", method.encode()))
            assert read_until(sock, b"\r\n\r\n") == reply
    assert upstream.connections == 1


def test_a_body_that_ends_with_the_connection_stays_so(net: World) -> None:
    upstream = HttpUpstream(says(b"HTTP/1.1 200 OK\r\n\r\nuntil the end", close=True))
    _, port = routed(net, upstream)
    data = ask(port, GET)
    assert b"Transfer-Encoding" not in data
    assert b"Connection: close" in data
    assert data.endswith(b"\r\n\r\nuntil the end")


def test_http_1_0_gets_no_chunks(net: World) -> None:
    upstream = HttpUpstream(event_stream([b"a", b"b"]))
    _, port = routed(net, upstream)
    data = ask(port, b"GET http://api.example/ HTTP/1.0\r\n\r\n")
    assert data.endswith(b"\r\n\r\ndata: a\n\ndata: b\n\n")
    assert upstream.received[0].headers["host"] == "api.example"


def test_expect_100_continue_is_answered_before_the_body_is_sent(net: World) -> None:
    upstream = HttpUpstream(echo)
    _, port = routed(net, upstream)
    with connect(port) as sock:
        sock.sendall(
            b"PUT http://api.example/ HTTP/1.1\r\nHost: api.example\r\nContent-Length: 3\r\n"
            b"Expect: 100-continue\r\nConnection: close\r\n\r\n"
        )
        assert read_until(sock, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"abc")
        assert b'"body": "abc"' in read_all(sock)
    assert "expect" not in upstream.received[0].headers


def test_informational_responses_are_skipped(net: World) -> None:
    upstream = HttpUpstream(says(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + response(b"done")))
    _, port = routed(net, upstream)
    assert ask(port, LAST).endswith(b"done")


def test_each_event_reaches_the_client_before_the_next_one_is_made(net: World) -> None:
    go = asyncio.Event()

    async def one_at_a_time(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for number in range(3):
            writer.write(chunk(b"data: %d\n\n" % number))
            await writer.drain()
            await go.wait()
            go.clear()
        writer.write(b"0\r\n\r\n")

    server, port = routed(net, HttpUpstream(one_at_a_time))
    with connect(port) as sock:
        sock.sendall(GET)
        for number in range(3):
            assert read_until(sock, b"data: %d\n\n\r\n" % number)
            net.loop.loop.call_soon_threadsafe(go.set)
        assert read_until(sock, b"0\r\n\r\n")
    (exchange,) = server.wait_for(1)
    assert [size for _, size in exchange.chunks] == [9, 9, 9]
    assert exchange.first_byte_s is not None
    assert exchange.started_s <= exchange.first_byte_s <= exchange.chunks[0][0] + 1


def test_compressed_bodies_pass_as_they_are_and_are_recorded_decoded(net: World) -> None:
    packed = gzip.compress(b'{"amount": 42}')
    upstream = HttpUpstream(says(response(packed, Content_Encoding="gzip", Content_Type="application/json")))
    server, port = routed(net, upstream)
    assert ask(port, LAST).endswith(packed)
    (exchange,) = server.wait_for(1)
    assert exchange.response_body is not None
    assert exchange.response_body.text == '{"amount": 42}'
    assert exchange.response_body.size_bytes == len(packed)


def test_long_and_binary_bodies_go_to_blobs_and_are_cut_at_the_bound(net: World) -> None:
    big = bytes(range(256)) * 1024
    server, port = routed(net, HttpUpstream(says(response(big))), bounds=quick(recorded_body_bytes=100_000))
    assert ask(port, LAST).endswith(big)
    (exchange,) = server.wait_for(1)
    body = exchange.response_body
    assert body is not None
    assert (body.size_bytes, body.truncated, body.text) == (len(big), True, None)
    assert body.blob is not None
    assert server.blobs[body.blob] == big[:100_000]


def test_a_large_upload_streams_and_an_early_answer_is_delivered(net: World) -> None:
    async def too_large(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response(b"too much", "413 Content Too Large", Connection="close"))
        await writer.drain()
        await asyncio.sleep(0.2)

    port = net.upstream(too_large)
    server = net.gateway(routes={"api.example": f"http://127.0.0.1:{port}"})
    head = b"POST http://api.example/ HTTP/1.1\r\nHost: api.example\r\nContent-Length: 50000000\r\n\r\n"
    data = ask(port_of(server.proxy()), head + b"x" * 100_000)
    assert data.startswith(b"HTTP/1.1 413 ")
    assert data.endswith(b"too much")


def test_a_large_upload_arrives_whole(net: World) -> None:
    upstream = HttpUpstream(says(response(b"got it")))
    server, port = routed(net, upstream)
    body = bytes(range(256)) * 16_000
    head = b"POST http://api.example/ HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    assert ask(port, head % len(body) + body).endswith(b"got it")
    assert upstream.received[0].body == body
    (exchange,) = server.wait_for(1)
    assert exchange.request_body is not None
    assert exchange.request_body.size_bytes == len(body)


def test_a_websocket_is_carried_after_its_upgrade(net: World) -> None:
    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"Upgrade: websocket" in head
        assert b"Sec-WebSocket-Key: abc" in head
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: def\r\n\r\n\x81\x02hi"
        )
        writer.write((await reader.readexactly(5)).upper())

    port = net.upstream(shout)
    server = net.gateway(routes={"api.example": f"http://127.0.0.1:{port}"})
    direct = server.listen(Origin.direct("api.example", "198.18.0.4", 80))
    with connect(direct) as sock:
        sock.sendall(
            b"GET /socket HTTP/1.1\r\nHost: api.example\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
            b"Sec-WebSocket-Key: abc\r\nSec-WebSocket-Version: 13\r\n\r\nhello"
        )
        data = read_all(sock)
    assert data.startswith(b"HTTP/1.1 101 ")
    assert b"Sec-WebSocket-Accept: def\r\n" in data
    assert data.endswith(b"\r\n\r\n\x81\x02hiHELLO")
    (exchange,) = server.wait_for(1)
    assert (exchange.kind, exchange.status, exchange.path) == ("websocket", 101, "/socket")
    assert exchange.request_body is not None
    assert exchange.response_body is not None
    assert (exchange.request_body.size_bytes, exchange.response_body.size_bytes) == (5, 9)


def test_a_client_that_leaves_while_it_waits_frees_the_upstream(net: World) -> None:
    gone = asyncio.Event()

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        try:
            await reader.read()
        finally:
            gone.set()

    port = net.upstream(never)
    server = net.gateway(routes={"api.example": f"http://127.0.0.1:{port}"})
    with connect(port_of(server.proxy())) as sock:
        sock.sendall(GET)
        time.sleep(0.4)
    (exchange,) = server.wait_for(1)
    assert exchange.error is not None
    assert exchange.error.startswith("client-gone: ")
    net.loop.run(asyncio.wait_for(gone.wait(), 20))


@pytest.mark.parametrize("body", [b"", b"x"])
def test_a_get_on_a_dead_kept_connection_is_sent_again_and_a_post_is_not(net: World, body: bytes) -> None:
    """The upstream answers one request a connection and then resets, as a server does whose idle time is over."""
    seen: list[bytes] = []

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append((await reader.readuntil(b"\r\n\r\n"))[:4])
        writer.write(response(b"ok"))
        await writer.drain()
        seen.append((await reader.readuntil(b"\r\n\r\n"))[:4])
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()

    port = net.upstream(once)
    server = net.gateway(routes={"api.example": f"http://127.0.0.1:{port}"})
    proxy = port_of(server.proxy())
    with connect(proxy) as sock:
        for _ in range(2):
            sock.sendall(GET)
            assert read_until(sock, b"\r\n\r\nok").endswith(b"ok")
        assert seen == [b"GET "] * 3
        head = b"POST http://api.example/ HTTP/1.1\r\nHost: api.example\r\nContent-Length: %d\r\n\r\n" % len(
            body
        )
        sock.sendall(head + body)
        assert read_all(sock) == b""
    assert seen == [b"GET "] * 3 + [b"POST"]
    assert (server.wait_for(3)[2].error or "").startswith("upstream-")


def test_times_count_from_the_clock_that_the_caller_starts(net: World) -> None:
    server, port = routed(net, HttpUpstream(says(response(b"ok"))))
    time.sleep(0.05)
    server.session.start_clock()
    ask(port, LAST)
    (exchange,) = server.wait_for(1)
    assert 0 <= exchange.started_s < 10
    assert exchange.ended_s is not None
    assert exchange.ended_s >= exchange.started_s
    assert json.loads(json.dumps(exchange.to_json()))["status"] == 200
