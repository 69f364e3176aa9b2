from __future__ import annotations

import asyncio
import json
import socket
import ssl
from typing import Any

import httpx
import pytest
import requests

from aegis.faults.reset import Reset
from aegis.gateway import Origin
from support.gateway_server import World
from support.http_upstream import HttpUpstream, chunk, echo, event_stream, response, says
from support.raw_client import connect, read_until
from support.storm import HOST, Storm, rule, storm
from support.wild_tcp import ask_and_end, ask_inside_tls, ends_with, link

GET = b"GET /x HTTP/1.1\r\nHost: api.example\r\n\r\n"
HEADERS = {"Host": "api.example"}


def url(weather: Storm) -> str:
    return f"http://127.0.0.1:{weather.port}/x"


def told(net: World, weather: Storm, secure: bool) -> tuple[bytes, str]:
    """What comes to a GET, and how the TCP connection ends."""
    if not secure:
        return ask_and_end(weather.port, GET)
    return ask_inside_tls(weather.tls_port, GET, net.ca_file(weather.server), HOST)


@pytest.mark.parametrize(("upstream", "heard"), [("called", 1), ("not-called", 0)])
@pytest.mark.parametrize("secure", [False, True])
def test_a_real_reset_comes_instead_of_an_answer(net: World, upstream: str, heard: int, secure: bool) -> None:
    weather = storm(net, [rule("reset", on=(1,), upstream=upstream)])
    assert told(net, weather, secure) == (b"", "reset")
    (exchange,) = weather.exchanges(1)
    assert exchange.error == "injected: reset before the answer"
    assert (exchange.status, exchange.faults) == (None, ("reset",))
    assert len(weather.upstream.received) == heard


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("at_byte", [0, 1, 6])
def test_or_after_so_many_bytes_of_the_body(net: World, at_byte: int, secure: bool) -> None:
    weather = storm(net, [rule("reset", at_byte=at_byte)], HttpUpstream(says(response(b"0123456789"))))
    got, how = told(net, weather, secure)
    assert how == "reset"
    head, _, body = got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Length: 10" in head
    assert body == b"0123456789"[:at_byte]
    (exchange,) = weather.exchanges(1)
    assert exchange.error == f"injected: reset after {at_byte} bytes of the body"
    assert exchange.status == 200


def test_a_chunked_body_is_reset_between_two_chunks(net: World) -> None:
    body = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        + chunk(b"012")
        + chunk(b"3456789")
        + chunk(b"")
    )
    weather = storm(net, [rule("reset", at_byte=5)], HttpUpstream(says(body)))
    got, how = ask_and_end(weather.port, GET)
    assert how == "reset"
    text = got.partition(b"\r\n\r\n")[2]
    assert text in (b"3\r\n012\r\n2\r\n34\r\n", b"5\r\n01234\r\n")


def test_a_body_that_is_not_longer_passes_and_is_no_hit(net: World) -> None:
    weather = storm(net, [rule("reset", at_byte=10)], HttpUpstream(says(response(b"0123456789"))))
    assert requests.get(url(weather), headers=HEADERS, timeout=60).text == "0123456789"
    assert requests.head(url(weather), headers=HEADERS, timeout=60).ok
    report = weather.report("reset")
    assert (report.matched, report.fired) == (2, 0)
    assert report.notes == ("passed whole 2 times: not longer than at_byte",)
    assert [exchange.faults for exchange in weather.exchanges(2)] == [(), ()]


def test_what_clients_raise(net: World) -> None:
    stream = HttpUpstream(event_stream([b"one", b"two"]))
    before = url(storm(net, [rule("reset")]))
    inside = url(storm(net, [rule("reset", at_byte=13)], stream))
    with pytest.raises(requests.exceptions.ConnectionError, match="reset by peer"):
        requests.get(before, headers=HEADERS, timeout=60)
    with pytest.raises(httpx.ReadError):
        httpx.get(before, headers=HEADERS, timeout=60)
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="reset by peer"):
        requests.get(inside, headers=HEADERS, timeout=60)
    with pytest.raises(httpx.ReadError):
        httpx.get(inside, headers=HEADERS, timeout=60)


@pytest.mark.parametrize("upstream", ["called", "not-called"])
def test_what_a_lasting_reset_keeps_from_the_agent_is_known(net: World, upstream: str) -> None:
    body = json.dumps({"total": "1042.50"}).encode()
    weather = storm(net, [rule("reset", upstream=upstream)], HttpUpstream(says(response(body))))
    assert ask_and_end(weather.port, GET) == (b"", "reset")
    (exchange,) = weather.exchanges(1)
    assert exchange.withheld is not None
    assert exchange.withheld.text == body.decode()
    assert len(weather.upstream.received) == 1, "a GET may be asked for what is withheld, once"


def test_a_long_request_that_nobody_hears_is_reset(net: World) -> None:
    weather = storm(net, [rule("reset", upstream="not-called")])
    post = b"POST /x HTTP/1.1\r\nHost: api.example\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 3_000_000
    assert ask_and_end(weather.port, post) == (b"", "reset")
    assert weather.upstream.received == []


def test_an_answer_that_never_ends_is_reset_too(net: World) -> None:
    async def endless(request: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(chunk(b"data: again\n\n"))
            await writer.drain()
            await asyncio.sleep(0.05)

    weather = storm(net, [rule("reset")], HttpUpstream(endless))
    assert ask_and_end(weather.port, GET) == (b"", "reset")


def test_a_websocket_is_reset_inside(net: World) -> None:
    async def switch(request: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        writer.write(b"\x82\x0a0123456789")

    upgrade = b"GET /x HTTP/1.1\r\nHost: api.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    weather = storm(net, [rule("reset", at_byte=6)], HttpUpstream(switch))
    got, how = ask_and_end(weather.port, upgrade)
    assert (got.partition(b"\r\n\r\n")[2], how) == (b"\x82\x0a0123", "reset")
    (exchange,) = weather.exchanges(1)
    assert (exchange.kind, exchange.status, exchange.faults) == ("websocket", 101, ("reset",))
    assert exchange.error == "injected: reset after 6 bytes"


def test_a_websocket_that_a_fault_answers_for_is_no_websocket(net: World) -> None:
    """What the fault withholds is asked for, and upstream may then switch protocols."""

    async def switch(request: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")

    upgrade = b"GET /x HTTP/1.1\r\nHost: api.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    weather = storm(
        net,
        [rule("reset", match={"path": ("/x",)}), rule("overloaded", match={"path": ("/y",)})],
        HttpUpstream(switch),
    )
    assert ask_and_end(weather.port, upgrade) == (b"", "reset")
    with connect(weather.port) as sock:
        sock.sendall(upgrade.replace(b"/x", b"/y"))
        assert read_until(sock, b"\r\n\r\n").startswith(b"HTTP/1.1 5")
    assert [exchange.kind for exchange in weather.exchanges(2)] == ["http", "http"]


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"at": "body"}, "at: body needs 'at_byte'"),
        ({"at": "before", "at_byte": 3}, "at: before has no 'at_byte'"),
        ({"at_byte": 3, "upstream": "not-called"}, "'at_byte' needs an answer"),
        ({"at_byte": -1}, "expected a whole number"),
        ({"at": "end"}, "unknown moment 'end'"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(params: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Reset.read(params)


# -- plain TCP ---------------------------------------------------------------------------------------------------------


class Server:
    def __init__(self) -> None:
        self.heard = b""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4):
            self.heard += data
            writer.write(data * 2)


@pytest.mark.parametrize(("upstream", "heard"), [("called", b"data"), ("not-called", b"")])
def test_a_carried_connection_is_reset_before_any_byte(net: World, upstream: str, heard: bytes) -> None:
    server = Server()
    wire = link(net, [rule("reset", upstream=upstream)], server)
    assert ask_and_end(wire.port, b"data") == (b"", "reset")
    (exchange,) = wire.server.wait_for(1)
    assert (exchange.kind, exchange.faults) == ("tcp", ("reset",))
    assert exchange.error == "injected: reset before any byte"
    assert server.heard == heard


def test_a_carried_connection_is_reset_after_so_many_bytes(net: World) -> None:
    wire = link(net, [rule("reset", at_byte=10)], Server())
    with connect(wire.port) as sock:
        sock.sendall(b"data")
        assert read_until(sock, b"datadata") == b"datadata"
        sock.sendall(b"more")
        assert ends_with(sock) == (b"mo", "reset")
    (exchange,) = wire.server.wait_for(1)
    assert exchange.response_body is not None
    assert exchange.response_body.size_bytes == 10


def test_a_carried_connection_with_less_passes_and_is_no_hit(net: World) -> None:
    wire = link(net, [rule("reset", at_byte=10)], Server())
    with connect(wire.port) as sock:
        sock.sendall(b"data")
        sock.shutdown(socket.SHUT_WR)
        assert ends_with(sock) == (b"datadata", "end")
    assert wire.server.wait_for(1)[0].faults == ()
    assert wire.report("reset").fired == 0


def test_tls_that_is_not_opened_is_reset_too(net: World) -> None:
    weather = storm(net, [rule("reset", at_byte=1, match={"port": 443})], HttpUpstream(echo))
    assert not weather.report("reset").fired
    inner = weather.weather
    port = net.upstream(Server())
    server = net.gateway(
        routes={"bank.example": f"127.0.0.1:{port}"},
        tls_passthrough=("bank.example",),
        session={"interceptor": inner},
    )
    hello = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(*hello, server_hostname="bank.example")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    direct = server.listen(Origin.direct("bank.example", "198.18.0.9", 443))
    first = hello[1].read()
    assert ask_and_end(direct, first) == (first[:1], "reset")
    (exchange,) = server.wait_for(1)
    assert (exchange.kind, exchange.faults) == ("tls-passthrough", ("reset",))
