"""Faults of time on one exchange, and on what follows an upgrade."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from support.gateway_server import World
from support.http_upstream import HttpUpstream, response, says
from support.raw_client import ask, connect, read_until
from support.storm import rule, storm
from support.wild_tcp import link

GET = b"GET /x HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n"
UPGRADE = b"GET /x HTTP/1.1\r\nHost: api.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


async def switch(request: Any, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    writer.write(b"\x82\x08frame001")


def test_each_takes_its_time_and_the_bytes_stay_right(net: World) -> None:
    body = bytes(range(256)) * 8
    rules = [
        rule("latency", delay="300ms"),
        rule("slow-body", chunks=4, duration="300ms"),
        rule("bandwidth", rate="16KiB"),
        rule("bandwidth", id="other", rate="32KiB"),
    ]
    plain = storm(net, [], HttpUpstream(says(response(body))))
    weather = storm(net, rules, HttpUpstream(says(response(body))))
    began = time.monotonic()
    answer = ask(weather.port, GET)
    assert time.monotonic() - began >= 0.6
    assert answer == ask(plain.port, GET)
    (exchange,) = weather.exchanges(1)
    assert exchange.faults == ("latency", "slow-body", "bandwidth", "other")


def test_on_a_carried_connection_too(net: World) -> None:
    async def answerer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(4)
        writer.write(bytes(range(256)) * 8)

    rules = [
        rule("latency", delay="300ms"),
        rule("bandwidth", rate="64KiB"),
        rule("slow-body", chunk_bytes=512, pause="50ms"),
        rule("latency", id="again", delay="300ms"),
    ]
    wire = link(net, rules, answerer)
    began = time.monotonic()
    assert ask(wire.port, b"data") == bytes(range(256)) * 8
    assert time.monotonic() - began >= 0.75
    (exchange,) = wire.server.wait_for(1)
    assert exchange.error is None
    assert exchange.faults == ("latency", "bandwidth", "slow-body", "again")


@pytest.mark.parametrize(
    ("name", "params", "least_s"),
    [
        ("latency", {"delay": "250ms"}, 0.5),
        ("slow-body", {"chunk_bytes": 2, "pause": "100ms"}, 0.5),
        ("bandwidth", {"rate": "64B"}, 0.1),
        ("hang", {"after_bytes": 5, "for": "500ms", "then": "answer"}, 0.5),
    ],
)
def test_after_an_upgrade_it_goes_on(net: World, name: str, params: dict[str, Any], least_s: float) -> None:
    weather = storm(net, [rule(name, **params)], HttpUpstream(switch))
    with connect(weather.port) as sock:
        began = time.monotonic()
        sock.sendall(UPGRADE)
        got = read_until(sock, b"frame001")
        assert time.monotonic() - began >= least_s
    assert got.startswith(b"HTTP/1.1 101 ")
    assert got.endswith(b"\r\n\r\n\x82\x08frame001")
    (exchange,) = weather.exchanges(1)
    assert (exchange.kind, exchange.faults) == ("websocket", (name,))
