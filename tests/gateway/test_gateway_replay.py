"""Replay, and the seam at which responses can be bent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest

from aegis.gateway import (
    Cut,
    Failure,
    Forward,
    Framing,
    Interceptor,
    Origin,
    Recording,
    Request,
    ResponsePlan,
)
from aegis.gateway.replay import canonical_body
from support.gateway_server import GatewayServer, World
from support.http_upstream import HttpUpstream, echo, event_stream, response, says
from support.raw_client import ask, connect, read_all, read_until

SECRET = {"API_KEY": ("api.example",)}
VALUE = "k-93hf8a0qWmx7Tz5v"


def post(body: str, path: str = "/x", kind: str = "application/json", extra: str = "") -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\nContent-Type: {kind}\r\n{extra}"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def port(server: GatewayServer) -> int:
    return server.listen(Origin.direct("api.example", None, 80))


def record(net: World, upstream: HttpUpstream, *requests: bytes) -> Recording:
    """What a session that really reached the upstream has left."""
    server = net.gateway(
        routes={"api.example": f"http://127.0.0.1:{net.upstream(upstream)}"},
        secrets=SECRET,
        gateway={"secret_values": {"API_KEY": VALUE}},
    )
    mine = server.session.environment()["API_KEY"].encode()
    for request in requests:
        ask(port(server), request.replace(b"$KEY", mine))
    exchanges = server.wait_for(len(requests))
    return Recording(tuple(exchanges), server.blobs.__getitem__)


def replayed(net: World, recording: Recording) -> GatewayServer:
    return net.gateway(
        routes={"api.example": "http://127.0.0.1:9"},
        secrets=SECRET,
        gateway={"replay": {"case/baseline/1": recording}.get, "secret_values": {"API_KEY": VALUE}},
    )


def test_a_replay_answers_as_recorded_in_the_order_of_each_kind(net: World) -> None:
    count = 0

    async def counting(request: object, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        writer.write(response(b"answer %d" % count, X_Count=str(count)))

    recording = record(
        net, HttpUpstream(counting), post('{"a": 1, "b": 2}'), post("{}"), post('{"a": 1, "b": 2}')
    )
    server = replayed(net, recording)
    answers = [ask(port(server), post(body)) for body in ('{"b":2,"a":1}', '{"a": 1, "b": 2}', "{}")]
    assert [answer[-8:] for answer in answers] == [b"answer 1", b"answer 3", b"answer 2"]
    assert b"X-Count: 1\r\n" in answers[0]
    exchanges = server.wait_for(3)
    assert [item.replayed for item in exchanges] == [True] * 3
    assert [item.upstream for item in exchanges] == [""] * 3


def test_what_was_not_recorded_is_refused_and_never_fetched(net: World) -> None:
    upstream = HttpUpstream(echo)
    recording = record(net, upstream, post("{}"))
    server = replayed(net, recording)
    assert ask(port(server), post("{}")).startswith(b"HTTP/1.1 200 ")
    for request in (post("{}"), post("{}", "/other"), post('{"a": 1}'), post("{}").replace(b"POST", b"PUT ")):
        assert ask(port(server), request.replace(b"PUT  ", b"PUT ")).startswith(b"HTTP/1.1 502 ")
    errors = [item.error or "" for item in server.wait_for(5)[1:]]
    assert all(error.startswith("not-recorded: ") for error in errors)
    assert "fewer times" in errors[0]
    assert len(upstream.received) == 1


def test_a_replay_refuses_other_protocols(net: World) -> None:
    server = net.gateway(allow=("db.example:5432",), gateway={"replay": {}.get})
    assert ask(server.listen(Origin.direct("db.example", None, 5432)), b"\x00\x00\x00\x08") == b""
    assert (server.wait_for(1)[0].error or "").startswith("not-recorded: ")


def test_a_secret_in_the_recording_becomes_this_runs_placeholder(net: World) -> None:
    recording = record(net, HttpUpstream(echo), post("{}", "/x?key=$KEY", extra="X-Key: $KEY\r\n"))
    assert VALUE not in repr(recording.exchanges)
    server = replayed(net, recording)
    mine = server.session.environment()["API_KEY"]
    answer = ask(port(server), post("{}", f"/x?key={mine}", extra=f"X-Key: {mine}\r\n"))
    assert f'"x-key": "{mine}"'.encode() in answer


def test_errors_and_the_summary_hold_no_placeholder(net: World) -> None:
    server = replayed(net, Recording.empty())
    mine = server.session.environment()["API_KEY"]
    ask(port(server), post("{}", f"/x?key={mine}"))
    (exchange,) = server.wait_for(1)
    assert exchange.error == "not-recorded: POST api.example/x?key=[secret:API_KEY] was not recorded"


def test_events_and_blobs_are_replayed_whole(net: World) -> None:
    events = [b"%d" % number * 40_000 for number in range(5)]
    recording = record(net, HttpUpstream(event_stream(events)), post("{}"))
    body = recording.exchanges[0].response_body
    assert body is not None
    assert body.blob
    got = httpx.post(
        f"http://127.0.0.1:{port(replayed(net, recording))}/x",
        headers={"Host": "api.example", "Content-Type": "application/json"},
        content="{}",
        trust_env=False,
    )
    assert got.headers["transfer-encoding"] == "chunked"
    assert got.content == b"".join(b"data: " + event + b"\n\n" for event in events)


def test_a_recorded_failure_fails_again(net: World) -> None:
    cut = says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", close=True)
    server = replayed(net, record(net, HttpUpstream(cut), post("{}")))
    answer = ask(port(server), post("{}"))
    assert b"half" in answer
    assert not answer.endswith(b"0\r\n\r\n")
    assert (server.wait_for(1)[0].error or "").startswith("replayed-failure: ")


def test_a_recording_that_was_cut_at_the_bound_is_not_replayed(net: World) -> None:
    recording = record(net, HttpUpstream(echo), post("{}"))
    body = recording.exchanges[0].response_body
    assert body is not None
    short = replace(recording.exchanges[0], response_body=replace(body, truncated=True))
    server = replayed(net, Recording((short,), recording.blob))
    assert ask(port(server), post("{}")).startswith(b"HTTP/1.1 502 ")


@pytest.mark.parametrize(
    ("first", "second", "kind", "same"),
    [
        (b'{"a":1,"b":[1,2]}', b'{ "b": [1, 2], "a": 1 }', "application/json; charset=utf-8", True),
        (b'{"a":[1,2]}', b'{"a":[2,1]}', "application/json", False),
        (b"--abc\r\nx\r\n--abc--", b"--xyz\r\nx\r\n--xyz--", "multipart/form-data; boundary={}", True),
        (b"a=1&b=2", b"b=2&a=1", "application/x-www-form-urlencoded", False),
        (b"{broken", b"{broken", "application/json", True),
    ],
)
def test_bodies_that_say_the_same_are_the_same(first: bytes, second: bytes, kind: str, same: bool) -> None:
    found = [canonical_body(first, kind.format("abc")), canonical_body(second, kind.format("xyz"))]
    assert (found[0] == found[1]) is same


class Bend(Interceptor):
    """An interceptor of the kind that injects faults."""

    def __init__(self, how: str) -> None:
        self.how = how

    async def intercept(self, request: Request, forward: Forward) -> ResponsePlan:
        if self.how == "answer":
            raise Failure("injected", "no such luck", status=503)
        if self.how == "empty":
            raise Cut("injected: empty reply")
        if self.how == "reset":
            raise Cut("injected: reset", reset=True)
        plan = await forward(request)
        if self.how == "cut-body":
            plan.body = self._cut(plan.body)
        elif self.how == "lie":
            plan.framing = Framing.LENGTH
            plan.headers = ((b"Content-Length", b"1000"),)
            plan.keep_alive = False
        elif self.how == "corrupt-wire":
            plan.wire = self._upper
        elif self.how == "cut-wire":
            plan.wire = self._cut
        return plan

    async def _upper(self, wire: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for data in wire:
            yield data.swapcase()

    async def _cut(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        left = 10
        async for piece in pieces:
            yield piece[:left]
            left -= len(piece)
            if left <= 0:
                raise Cut("injected: cut at byte 10")


@pytest.mark.parametrize(
    ("how", "begin", "end", "error"),
    [
        ("answer", b"HTTP/1.1 503 ", b"Service unavailable\n", "injected: no such luck"),
        ("empty", b"", b"", "injected: empty reply"),
        ("cut-body", b"HTTP/1.1 200 OK\r\n", b"\r\n\r\nabcdefghij", "injected: cut at byte 10"),
        ("cut-wire", b"HTTP/1.1 2", b"HTTP/1.1 2", "injected: cut at byte 10"),
        ("lie", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n", b"\r\n\r\nabcdefghijklmnop", None),
        ("corrupt-wire", b"http/1.1 200 ok\r\n", b"ABCDEFGHIJKLMNOP", None),
    ],
)
def test_an_interceptor_owns_every_byte(
    net: World, how: str, begin: bytes, end: bytes, error: str | None
) -> None:
    upstream = net.upstream(HttpUpstream(says(response(b"abcdefghijklmnop"))))
    server = net.gateway(
        routes={"api.example": f"http://127.0.0.1:{upstream}"}, session={"interceptor": Bend(how)}
    )
    answer = ask(port(server), post("{}"))
    assert answer.startswith(begin)
    assert answer.endswith(end)
    assert server.wait_for(1)[0].error == error


def test_an_interceptor_can_reset_the_connection(net: World) -> None:
    server = net.gateway(allow=("api.example",), session={"interceptor": Bend("reset")})
    with connect(port(server)) as sock:
        sock.sendall(post("{}"))
        with pytest.raises(ConnectionResetError):
            sock.recv(1)


def test_an_interceptor_stands_before_the_recording_too(net: World) -> None:
    recording = record(net, HttpUpstream(says(response(b"abcdefghijklmnop"))), post("{}"))
    server = net.gateway(
        allow=("api.example",),
        gateway={"replay": {"case/baseline/1": recording}.get},
        session={"interceptor": Bend("cut-body")},
    )
    with connect(port(server)) as sock:
        sock.sendall(post("{}"))
        assert read_until(sock, b"abcdefghij").endswith(b"abcdefghij")
        assert read_all(sock) == b""
    assert server.wait_for(1)[0].replayed
