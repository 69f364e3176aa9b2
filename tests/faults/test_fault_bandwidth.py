from __future__ import annotations

import asyncio
import time

import pytest
import requests

from aegis.faults.pace import Bucket, now_s
from support.gateway_server import World
from support.http_upstream import HttpUpstream, Received, response, says
from support.raw_client import ask, connect
from support.storm import rule, storm
from support.wild_tcp import link, pieces

GET = b"GET /x HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n"
HEADERS = {"Host": "api.example"}


def test_the_bytes_on_the_wire_take_their_time(net: World) -> None:
    body = bytes(range(256)) * 32
    weather = storm(net, [rule("bandwidth", rate="16KiB")], HttpUpstream(says(response(body))))
    with connect(weather.port) as sock:
        began = time.monotonic()
        sock.sendall(GET)
        found = pieces(sock)
    answer = b"".join(data for _, data in found)
    assert answer.endswith(b"\r\n\r\n" + body)
    # The allowance for the last slice is the bucket's credit.
    assert found[-1][0] - began >= len(answer) / 16384 - 0.03
    assert len(found) > 5, "the bytes come evenly and not in one piece at the end"
    assert weather.exchanges(1)[0].faults == ("bandwidth",)


def test_a_burst_passes_at_once(net: World) -> None:
    weather = storm(
        net,
        [rule("bandwidth", rate="64B", burst="64KiB", match={"path": ("/x",)})],
        HttpUpstream(says(response(b"x" * 8192))),
    )
    # Without the burst this would take two minutes.
    assert len(ask(weather.port, GET)) > 8192


def test_a_client_that_gives_up_ends_it(net: World) -> None:
    weather = storm(net, [rule("bandwidth", rate="64B")], HttpUpstream(says(response(b"x" * 100_000))))
    with connect(weather.port) as sock:
        sock.sendall(GET)
        assert sock.recv(1)
    (exchange,) = weather.exchanges(1)
    assert (exchange.error or "").startswith("client-gone: ")


@pytest.mark.parametrize("direction", ["from-client", "both"])
def test_a_request_may_be_slow_on_its_way(net: World, direction: str) -> None:
    heard: list[float] = []

    async def answer(request: Received, writer: asyncio.StreamWriter) -> None:
        heard.append(time.monotonic())
        writer.write(response(b"%d" % len(request.body)))

    weather = storm(net, [rule("bandwidth", rate="8KiB", direction=direction)], HttpUpstream(answer))
    url = f"http://127.0.0.1:{weather.port}/x"
    began = time.monotonic()
    got = requests.post(url, data=b"x" * 8192, headers=HEADERS, timeout=60)
    assert got.text == "8192"
    assert heard[0] - began >= 0.9


def test_a_bucket_lets_a_burst_pass_and_then_its_rate() -> None:
    async def run() -> tuple[float, float]:
        bucket = Bucket(1000, burst_bytes=500)
        began = now_s()
        await bucket.take(500)
        burst_s = now_s() - began
        for _ in range(10):
            await bucket.take(20)
        return burst_s, now_s() - began

    burst_s, all_s = asyncio.run(run())
    assert burst_s < all_s
    assert all_s >= 0.2


def test_a_carried_connection_is_limited(net: World) -> None:
    async def answerer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(4)
        writer.write(b"x" * 4096)

    wire = link(net, [rule("bandwidth", rate="8KiB")], answerer)
    with connect(wire.port) as sock:
        began = time.monotonic()
        sock.sendall(b"data")
        found = pieces(sock)
    assert sum(len(data) for _, data in found) == 4096
    assert found[-1][0] - began >= 0.45
    (exchange,) = wire.server.wait_for(1)
    assert (exchange.error, exchange.faults) == (None, ("bandwidth",))


def test_a_carried_connection_may_be_limited_from_its_client(net: World) -> None:
    async def answerer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        began = time.monotonic()
        await reader.readexactly(4096)
        writer.write(b"%f" % (time.monotonic() - began))

    wire = link(net, [rule("bandwidth", rate="8KiB", direction="from-client")], answerer)
    assert float(ask(wire.port, b"x" * 4096)) >= 0.4
