from __future__ import annotations

import asyncio
import socket
import time

import httpx
import pytest
import requests

from support.gateway_server import World
from support.raw_client import connect, read_until
from support.storm import rule, storm
from support.wild_tcp import ends_with, link

GET = b"GET /x HTTP/1.1\r\nHost: api.example\r\n\r\n"
HEADERS = {"Host": "api.example"}


@pytest.mark.parametrize(("how", "seen"), [("close", "end"), ("reset", "reset")])
def test_the_next_request_on_a_kept_connection_meets_a_closed_one(net: World, how: str, seen: str) -> None:
    weather = storm(net, [rule("close-idle", how=how)])
    port = weather.port
    with connect(port) as sock:
        sock.sendall(GET)
        assert read_until(sock, b"}").startswith(b"HTTP/1.1 200 ")
        sock.sendall(GET)
        assert ends_with(sock) == (b"", seen)
    with connect(port) as sock:
        sock.sendall(GET)
        assert read_until(sock, b"}").startswith(b"HTTP/1.1 200 ")
    exchanges = weather.exchanges(3)
    assert [exchange.faults for exchange in exchanges] == [(), ("close-idle",), ()]
    assert exchanges[1].error == "injected: the kept connection is closed"
    assert exchanges[1].withheld is None
    assert len(weather.upstream.received) == 2
    report = weather.report("close-idle")
    assert (report.matched, report.fired, report.permanent) == (3, 1, False)


def test_new_connections_are_never_hit(net: World) -> None:
    weather = storm(net, [rule("close-idle")])
    for _ in range(3):
        assert requests.get(f"http://127.0.0.1:{weather.port}/x", headers=HEADERS, timeout=60).ok
    assert weather.report("close-idle").fired == 0


def test_a_session_of_requests_is_told_once(net: World) -> None:
    weather = storm(net, [rule("close-idle", until_hits=1)])
    url = f"http://127.0.0.1:{weather.port}/x"
    with requests.Session() as session:
        assert session.get(url, headers=HEADERS, timeout=60).ok
        with pytest.raises(requests.exceptions.ConnectionError, match="RemoteDisconnected"):
            session.get(url, headers=HEADERS, timeout=60)
        assert session.get(url, headers=HEADERS, timeout=60).ok
        assert session.get(url, headers=HEADERS, timeout=60).ok


@pytest.mark.parametrize(("how", "error"), [("close", httpx.RemoteProtocolError), ("reset", httpx.ReadError)])
def test_a_client_of_httpx_is_told_once(net: World, how: str, error: type[Exception]) -> None:
    weather = storm(net, [rule("close-idle", until_hits=1, how=how)])
    url = f"http://127.0.0.1:{weather.port}/x"
    with httpx.Client(timeout=60) as client:
        assert client.get(url, headers=HEADERS).is_success
        with pytest.raises(error):
            client.get(url, headers=HEADERS)
        assert client.get(url, headers=HEADERS).is_success
        assert client.get(url, headers=HEADERS).is_success


def test_a_long_request_on_a_kept_connection_sees_a_proper_end(net: World) -> None:
    weather = storm(net, [rule("close-idle")])
    with connect(weather.port) as sock:
        sock.sendall(GET)
        read_until(sock, b"}")
        sock.sendall(b"POST /x HTTP/1.1\r\nHost: api.example\r\nContent-Length: 3000000\r\n\r\n")
        sock.sendall(b"x" * 3_000_000)
        assert ends_with(sock) == (b"", "end")
    assert len(weather.upstream.received) == 1


# -- plain TCP ---------------------------------------------------------------------------------------------------------


class Server:
    def __init__(self) -> None:
        self.heard = b""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4):
            self.heard += data
            writer.write(data * 2)


@pytest.mark.parametrize(("how", "seen"), [("close", "end"), ("reset", "reset")])
def test_a_connection_is_found_closed_after_it_was_silent(net: World, how: str, seen: str) -> None:
    server = Server()
    wire = link(net, [rule("close-idle", idle="500ms", how=how)], server)
    with connect(wire.port) as sock:
        sock.sendall(b"data")
        assert read_until(sock, b"datadata") == b"datadata"
        time.sleep(0.6)
        sock.sendall(b"more")
        assert ends_with(sock) == (b"", seen)
    assert server.heard == b"data"
    (exchange,) = wire.server.wait_for(1)
    assert (exchange.error, exchange.faults) == ("injected: the kept connection is closed", ("close-idle",))


def test_a_busy_connection_and_a_slow_beginning_are_no_hits(net: World) -> None:
    server = Server()
    wire = link(net, [rule("close-idle", idle="1h")], server)
    with connect(wire.port) as sock:
        for _ in range(3):
            sock.sendall(b"data")
            assert read_until(sock, b"datadata") == b"datadata"
        sock.shutdown(socket.SHUT_WR)
        assert ends_with(sock) == (b"", "end")
    assert wire.server.wait_for(1)[0].faults == ()
    report = wire.report("close-idle")
    assert report.fired == 0
    assert report.notes == ("a connection was never used again after being idle once",)
