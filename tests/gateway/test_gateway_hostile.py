"""Requests that are no requests, and upstreams that lie."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import struct
import time
from pathlib import Path

import pytest

from aegis.gateway import Forward, Interceptor, Origin, Request, ResponsePlan
from support.gateway_server import GatewayServer, World, quick
from support.http_attacks import HOST, MALFORMED
from support.http_upstream import HttpUpstream, response, says
from support.raw_client import ask, connect, port_of, read_all, read_until


@pytest.mark.parametrize("data", MALFORMED)
def test_what_is_no_proper_request_gets_400_and_reaches_nobody_whole(net: World, data: bytes) -> None:
    upstream = HttpUpstream(says(response(b"served")))
    port = net.upstream(upstream)
    server = net.gateway(routes={"api.example": f"http://127.0.0.1:{port}"})
    direct = server.listen(Origin.direct("api.example", "198.18.0.4", 80))
    answer = ask(direct, data)
    assert answer.startswith(b"HTTP/1.1 400 "), answer[:200]
    assert answer.count(b"HTTP/1.1") == 1
    assert upstream.received == []
    (exchange,) = server.wait_for(1)
    assert (exchange.error or "").startswith("malformed-request: ")
    assert exchange.status == 400


@pytest.mark.parametrize(
    "target",
    [b"/path", b"ftp://api.example/", b"http:///x", b"http://user:pw@api.example/", b"api.example:80"],
)
def test_what_no_proxy_can_serve_gets_400(net: World, target: bytes) -> None:
    server = net.gateway(allow=("api.example",))
    answer = ask(port_of(server.proxy()), b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert server.wait_for(1)[0].error


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\nHost: api.exa", b"G", b"POST / HTTP/1.1\r\n" + HOST + b"X"]
)
def test_a_request_that_is_never_finished_times_out(net: World, data: bytes) -> None:
    server = net.gateway(allow=("api.example",), bounds=quick())
    direct = server.listen(Origin.proxy())
    assert ask(direct, data).startswith(b"HTTP/1.1 408 ")
    assert (server.wait_for(1)[0].error or "").startswith("request-timeout: ")


def test_a_body_that_is_never_finished_times_out(net: World) -> None:
    port = net.upstream(HttpUpstream(says(response(b"served"))))
    server = net.gateway(routes={"api.example": f"http://127.0.0.1:{port}"}, bounds=quick())
    direct = server.listen(Origin.direct("api.example", None, 80))
    answer = ask(direct, b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 10\r\n\r\nabc")
    assert answer.startswith(b"HTTP/1.1 408 ")
    (exchange,) = server.wait_for(1)
    assert (exchange.error or "").startswith("request-timeout: ")
    assert exchange.request_body is not None
    assert exchange.request_body.text == "abc"


def test_a_slow_loris_is_ended(net: World) -> None:
    server = net.gateway(allow=("api.example",), bounds=quick())
    with connect(server.listen(Origin.proxy())) as sock:
        started = time.monotonic()
        sock.sendall(b"GET / HTTP/1.1\r\n")
        try:
            while time.monotonic() - started < 20:
                sock.sendall(b"X: y\r\n")
                time.sleep(0.05)
        except ConnectionError:
            pass
    assert server.wait_for(1)[0].error == "request-timeout: the request's headers were never finished"


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
LIES = {
    "short body": (OK + b"Content-Length: 100\r\n\r\nonly this", b"only this"),
    "cut chunk": (OK + CHUNKED + b"64\r\nonly this", b"only this\r\n"),
    "no last chunk": (OK + CHUNKED + b"4\r\nthis\r\n", b"this\r\n"),
    "garbage": (b"\x00\x01\x02 nonsense\r\n\r\n", b"Bad gateway\n"),
    "another protocol": (b"SSH-2.0-OpenSSH_9\r\n", b"Bad gateway\n"),
    "two lengths": (OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", b"Bad gateway\n"),
    "endless head": (OK + b"X: y\r\n" * 60_000, b"Bad gateway\n"),
    "informational only": (b"HTTP/1.1 102 Processing\r\n\r\n" * 1000, b"Bad gateway\n"),
    "nothing": (b"", b""),
}


@pytest.mark.parametrize("lie", LIES)
def test_an_upstream_that_lies_is_passed_on_as_far_as_it_goes(net: World, lie: str) -> None:
    reply, end = LIES[lie]
    port = net.upstream(HttpUpstream(says(reply, close=True)))
    server = net.gateway(routes={"api.example": f"http://127.0.0.1:{port}"})
    direct = server.listen(Origin.direct("api.example", None, 80))
    answer = ask(direct, b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
    assert answer.endswith(end)
    assert not answer.endswith(b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 502 ") == (end == b"Bad gateway\n")
    (exchange,) = server.wait_for(1)
    assert (exchange.error or "").startswith(
        "upstream-closed: " if lie == "nothing" else "upstream-protocol: "
    )


def test_a_reset_in_the_middle_of_a_body_reaches_the_client_as_a_reset(net: World) -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await writer.drain()
        await asyncio.sleep(0.1)
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()

    port = net.upstream(reset)
    server = net.gateway(routes={"api.example": f"http://127.0.0.1:{port}"})
    with connect(server.listen(Origin.direct("api.example", None, 80))) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        assert read_until(sock, b"half").endswith(b"half")
        with pytest.raises(ConnectionResetError):
            sock.recv(100)
    (exchange,) = server.wait_for(1)
    assert (exchange.error or "").startswith("upstream-reset: ")
    assert exchange.response_body is not None
    assert exchange.response_body.text == "half"


def test_an_upstream_that_never_answers_gives_504(net: World) -> None:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    port = net.upstream(never)
    server = net.gateway(routes={"api.example": f"http://127.0.0.1:{port}"}, bounds=quick())
    direct = server.listen(Origin.direct("api.example", None, 80))
    with connect(direct) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        assert read_until(sock, b"timeout\n").startswith(b"HTTP/1.1 504 ")
    assert (server.wait_for(1)[0].error or "").startswith("upstream-timeout: ")


def test_an_upstream_that_refuses_gives_502(net: World) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        server = net.gateway(routes={"api.example": f"http://127.0.0.1:{unused.getsockname()[1]}"})
        direct = server.listen(Origin.direct("api.example", None, 80))
        answer = ask(direct, b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert (server.wait_for(1)[0].error or "").startswith("upstream-refused: ")


def test_what_follows_a_whole_response_is_not_taken_for_the_next_one(net: World) -> None:
    upstream = HttpUpstream(says(response(b"mine") + response(b"smuggled")))
    port = net.upstream(upstream)
    server = net.gateway(routes={"api.example": f"http://127.0.0.1:{port}"})
    with connect(server.listen(Origin.direct("api.example", None, 80))) as sock:
        for _ in range(2):
            sock.sendall(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
            assert read_until(sock, b"mine").endswith(b"mine")
    assert upstream.connections == 2


def test_a_client_that_never_reads_is_ended_and_holds_little_memory(net: World) -> None:
    sent = 0

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536

    port = net.upstream(endless)
    server = net.gateway(
        routes={"api.example": f"http://127.0.0.1:{port}"}, bounds=quick(write_timeout_s=0.5)
    )
    with connect(server.listen(Origin.direct("api.example", None, 80))) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        (exchange,) = server.wait_for(1)
    assert (exchange.error or "").startswith("client-stalled: ")
    assert sent < 64 * 1024 * 1024


def test_connections_beyond_the_bound_are_refused_and_the_others_served(net: World) -> None:
    port = net.upstream(HttpUpstream(says(response(b"served"))))
    server = net.gateway(routes={"api.example": f"http://127.0.0.1:{port}"}, bounds=quick(max_connections=20))
    direct = server.listen(Origin.direct("api.example", None, 80))
    socks = [connect(direct) for _ in range(20)]
    try:
        for _ in range(180):
            # A reset may come before connect() returns.
            with contextlib.suppress(ConnectionResetError):
                socks.append(connect(direct))
        for sock in socks[20:]:
            assert read_all(sock) == b""
        socks[0].sendall(b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
        assert read_all(socks[0]).endswith(b"served")
    finally:
        for sock in socks:
            sock.close()
    (denied,) = server.session.denied
    assert denied.count == 180
    assert "more than 20 connections" in denied.reason
    assert len(server.wait_for(1)) == 1


class Silent:
    """A connection whose client never says anything."""

    def __init__(self) -> None:
        self.aborted = False
        self._over = asyncio.Event()

    async def read(self, max_bytes: int) -> bytes:
        await self._over.wait()
        return b""

    async def write(self, data: bytes) -> None:
        pass

    async def write_eof(self) -> None:
        pass

    async def close(self) -> None:
        self._over.set()

    async def abort(self) -> None:
        self.aborted = True
        self._over.set()


def another_trial(net: World, server: GatewayServer) -> GatewayServer:
    """A session of the same run."""

    async def start() -> GatewayServer:
        return GatewayServer(net.loop, server.gateway)

    return net.loop.run(start())


def test_ten_thousand_connections_are_bounded_and_other_trials_unharmed(net: World) -> None:
    port = net.upstream(HttpUpstream(says(response(b"served"))))
    server = net.gateway(routes={"api.example": f"http://127.0.0.1:{port}"})
    other = another_trial(net, server)
    direct = other.listen(Origin.direct("api.example", None, 80))

    async def flood() -> set[asyncio.Future[None]]:
        streams = [Silent() for _ in range(10_000)]
        origin = Origin.proxy()
        tasks = [asyncio.ensure_future(server.session.handle(stream, origin)) for stream in streams]
        most = server.gateway.config.bounds.max_connections
        done: set[asyncio.Future[None]] = set()
        waiting = set(tasks)
        async with asyncio.timeout(50):
            while len(waiting) > most:
                ended, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                done |= ended
        # None of the others is refused a moment later.
        assert not (await asyncio.wait(waiting, timeout=1))[0]
        assert sum(stream.aborted for stream in streams) == len(done)
        return waiting

    waiting = net.loop.run(flood())
    assert ask(direct, b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n").endswith(b"served")
    assert server.session.denied[0].count == 10_000 - len(waiting)
    net.loop.run(server.session.close())
    net.loop.run(asyncio.wait_for(asyncio.wait(waiting), 30))
    assert server.exchanges == []
    assert other.session.denied == ()
    other.close()


class Unread:
    """A connection whose client asks and never takes a byte of the answer."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._over = asyncio.Event()

    async def read(self, max_bytes: int) -> bytes:
        if not self._request:
            await self._over.wait()
        data, self._request = self._request, b""
        return data

    async def write(self, data: bytes) -> None:
        await self._over.wait()
        raise ConnectionResetError

    async def write_eof(self) -> None:
        pass

    async def close(self) -> None:
        self._over.set()

    async def abort(self) -> None:
        self._over.set()


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_a_guest_that_opens_streams_and_reads_none_of_them_costs_bounded_memory(net: World) -> None:
    """200 endless answers, none of which is taken: all of them together hold little, another trial is served
    meanwhile, and each ends with an error that says why."""

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1]
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n" if path == b"/endless" else response(b"served"))
        while path == b"/endless":
            writer.write(b"x" * 65536)
            await writer.drain()

    port = net.upstream(endless, backlog=512)
    server = net.gateway(
        routes={"api.example": f"http://127.0.0.1:{port}"},
        bounds=quick(write_timeout_s=4, response_timeout_s=60),
    )
    other = another_trial(net, server)
    direct = other.listen(Origin.direct("api.example", None, 80))
    request = b"GET /endless HTTP/1.1\r\n" + HOST + b"\r\n"
    before = resident_bytes()

    async def flood() -> list[asyncio.Future[None]]:
        origin = Origin.direct("api.example", None, 80)
        return [asyncio.ensure_future(server.session.handle(Unread(request), origin)) for _ in range(200)]

    tasks = net.loop.run(flood())
    time.sleep(2)
    assert ask(direct, b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n").endswith(b"served")
    # At most what a socket of ours holds (320 KiB) for each, and as much again for the upstreams of this process.
    assert resident_bytes() - before < 200 * 1024 * 1024
    assert all(
        (item.error or "").startswith("client-stalled: ") for item in server.wait_for(200, timeout_s=60)
    )
    net.loop.run(asyncio.wait_for(asyncio.wait(tasks), 60))
    assert other.wait_for(1)[0].error is None
    other.close()


def test_exchanges_beyond_the_bound_are_refused_and_counted(net: World) -> None:
    port = net.upstream(HttpUpstream(says(response(b"served"))))
    server = net.gateway(routes={"api.example": f"http://127.0.0.1:{port}"}, bounds=quick(max_exchanges=3))
    direct = server.listen(Origin.direct("api.example", None, 80))
    answers = [ask(direct, b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n") for _ in range(5)]
    assert [answer[9:12] for answer in answers] == [b"200"] * 3 + [b"503"] * 2
    assert len(server.exchanges) == 3
    assert server.session.denied[0].count == 2


def test_recordings_in_progress_share_a_budget(net: World) -> None:
    port = net.upstream(HttpUpstream(says(response(b"x" * 50_000))))
    server = net.gateway(
        routes={"api.example": f"http://127.0.0.1:{port}"}, bounds=quick(recording_bytes=30_000)
    )
    direct = server.listen(Origin.direct("api.example", None, 80))
    for _ in range(2):
        answer = ask(direct, b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
        assert answer.endswith(b"x" * 50_000)
    bodies = [item.response_body for item in server.wait_for(2)]
    assert [(body.size_bytes, len(body.text or ""), body.truncated) for body in bodies if body] == [
        (50_000, 30_000, True),
        (50_000, 30_000, True),
    ]


@pytest.mark.parametrize(
    ("bound", "statuses", "kept"),
    [
        ({"kept_body_bytes": 60_000}, [200, 200, 200], [50_000, 10_000, 0]),
        ({"trace_bytes": 60_000}, [200, 200, 503], [50_000, 50_000]),
    ],
)
def test_what_a_trial_leaves_behind_is_bounded(
    net: World, bound: dict[str, int], statuses: list[int], kept: list[int]
) -> None:
    port = net.upstream(HttpUpstream(says(response(b"x" * 50_000))))
    server = net.gateway(routes={"api.example": f"http://127.0.0.1:{port}"}, bounds=quick(**bound))
    direct = server.listen(Origin.direct("api.example", None, 80))
    request = b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
    assert [int(ask(direct, request)[9:12]) for _ in range(3)] == statuses
    bodies = [item.response_body for item in server.wait_for(len(kept))]
    assert [len(body.text or "") for body in bodies if body] == kept
    assert [body.size_bytes for body in bodies if body] == [50_000] * len(kept)


class Broken(Interceptor):
    async def intercept(self, request: Request, forward: Forward) -> ResponsePlan:
        raise RuntimeError("a bug in an interceptor")


def test_a_bug_costs_one_exchange_and_not_the_trial(net: World) -> None:
    server = net.gateway(allow=("api.example",), session={"interceptor": Broken()})
    direct = server.listen(Origin.direct("api.example", None, 80))
    for _ in range(2):
        assert ask(direct, b"GET / HTTP/1.1\r\n" + HOST + b"\r\n") == b""
    assert [item.error for item in server.wait_for(2)] == ["internal: RuntimeError"] * 2


def test_closing_the_session_ends_what_is_open_and_records_it(net: World) -> None:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    port = net.upstream(never)
    server = net.gateway(routes={"api.example": f"http://127.0.0.1:{port}"})
    with connect(server.listen(Origin.direct("api.example", None, 80))) as sock:
        sock.sendall(b"GET /wait HTTP/1.1\r\n" + HOST + b"\r\n")
        time.sleep(0.3)
        net.loop.run(server.session.close())
        assert read_all(sock) == b""
    (exchange,) = server.exchanges
    assert exchange.path == "/wait"
    assert (exchange.error or "").startswith("cancelled: ")
