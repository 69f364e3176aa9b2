from __future__ import annotations

import asyncio
import json
import socket
import time
import urllib.request
from typing import Any

import pytest
import requests

from aegis.faults.hang import Hang
from support.gateway_server import World
from support.http_upstream import HttpUpstream, event_stream, response, says
from support.raw_client import ask, connect, read_until
from support.storm import Storm, rule, storm
from support.wild_tcp import ask_and_end, link

GET = b"GET /x HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n"
HEADERS = {"Host": "api.example"}


def url(weather: Storm) -> str:
    return f"http://127.0.0.1:{weather.port}/x"


@pytest.mark.parametrize(("upstream", "heard"), [("called", 1), ("not-called", 0)])
def test_nothing_comes_and_the_exchange_ends_when_the_client_gives_up(
    net: World, upstream: str, heard: int
) -> None:
    weather = storm(net, [rule("hang", on=(1,), upstream=upstream)])
    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.get(url(weather), headers=HEADERS, timeout=1)
    (exchange,) = weather.exchanges(1)
    assert exchange.error == "client-gone: the client left before the response was complete"
    assert (exchange.status, exchange.faults) == (None, ("hang",))
    assert len(weather.upstream.received) == heard
    assert requests.get(url(weather), headers=HEADERS, timeout=60).status_code == 200


def test_a_client_that_asks_for_one_request_only_has_left_when_it_closes(net: World) -> None:
    """Python's urllib sends `Connection: close`."""
    weather = storm(net, [rule("hang")])
    with pytest.raises(TimeoutError):
        urllib.request.urlopen(urllib.request.Request(url(weather), headers=HEADERS), timeout=1)
    (exchange,) = weather.exchanges(1)
    assert (exchange.error or "").startswith("client-gone: ")


@pytest.mark.parametrize("upstream", ["called", "not-called"])
def test_a_long_request_is_taken_whole_before_the_silence(net: World, upstream: str) -> None:
    weather = storm(net, [rule("hang", upstream=upstream)])
    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.post(url(weather), data=b"x" * 3_000_000, headers=HEADERS, timeout=2)
    (exchange,) = weather.exchanges(1)
    assert (exchange.error or "").startswith("client-gone: ")
    assert exchange.request_body is not None
    assert exchange.request_body.size_bytes == 3_000_000


def test_silence_inside_the_body(net: World) -> None:
    weather = storm(net, [rule("hang", after_bytes=5)], HttpUpstream(says(response(b"0123456789"))))
    with connect(weather.port) as sock:
        sock.sendall(GET)
        assert read_until(sock, b"01234").endswith(b"Content-Length: 10\r\nConnection: close\r\n\r\n01234")
        sock.settimeout(0.5)
        with pytest.raises(TimeoutError):
            sock.recv(1)
    (exchange,) = weather.exchanges(1)
    assert (exchange.error or "").startswith("client-gone: ")
    assert exchange.response_body is not None
    assert exchange.response_body.text == "01234"


@pytest.mark.parametrize("params", [{}, {"upstream": "not-called"}, {"after_bytes": 3}])
def test_after_its_time_the_connection_is_closed_without_a_word(net: World, params: dict[str, Any]) -> None:
    weather = storm(
        net, [rule("hang", **{"for": "500ms"}, **params)], HttpUpstream(says(response(b"0123456")))
    )
    began = time.monotonic()
    answer, how = ask_and_end(weather.port, GET.replace(b"Connection: close\r\n", b""))
    assert time.monotonic() - began >= 0.5
    assert how == "end"
    assert answer.partition(b"\r\n\r\n")[2] == (b"012" if params.get("after_bytes") else b"")
    assert bool(answer) is ("after_bytes" in params)
    (exchange,) = weather.exchanges(1)
    assert (exchange.error or "").startswith("injected: ")


@pytest.mark.parametrize("params", [{}, {"after_bytes": 3}])
def test_or_the_answer_follows_after_all(net: World, params: dict[str, Any]) -> None:
    weather = storm(
        net,
        [rule("hang", **{"for": "500ms"}, then="answer", **params)],
        HttpUpstream(says(response(b"0123456"))),
    )
    began = time.monotonic()
    answer = requests.get(url(weather), headers=HEADERS, timeout=60)
    assert time.monotonic() - began >= 0.5
    assert answer.text == "0123456"
    assert weather.exchanges(1)[0].error is None


def test_an_event_stream_goes_silent(net: World) -> None:
    upstream = HttpUpstream(event_stream([b"one", b"two", b"three"], pause_s=0.05))
    weather = storm(net, [rule("hang", after_bytes=22)], upstream)
    with connect(weather.port) as sock:
        sock.sendall(GET)
        assert read_until(sock, b"two\n\n\r\n").endswith(b"data: two\n\n\r\n")
        sock.settimeout(0.5)
        with pytest.raises(TimeoutError):
            sock.recv(1)
    assert weather.exchanges(1)[0].faults == ("hang",)


def test_a_body_that_is_shorter_passes_and_is_no_hit(net: World) -> None:
    weather = storm(net, [rule("hang", after_bytes=10)], HttpUpstream(says(response(b"0123456789"))))
    assert requests.get(url(weather), headers=HEADERS, timeout=60).text == "0123456789"
    assert requests.head(url(weather), headers=HEADERS, timeout=60).ok
    assert [exchange.faults for exchange in weather.exchanges(2)] == [(), ()]
    report = weather.report("hang")
    assert (report.matched, report.fired) == (2, 0)
    assert report.notes == ("passed whole 2 times: not longer than after_bytes",)


def test_what_a_lasting_silence_keeps_from_the_agent_is_known(net: World) -> None:
    body = json.dumps({"total": "1042.50"}).encode()
    weather = storm(net, [rule("hang")], HttpUpstream(says(response(body))))
    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.get(url(weather), headers=HEADERS, timeout=1)
    (exchange,) = weather.exchanges(1)
    assert exchange.withheld is not None
    assert exchange.withheld.text == body.decode()
    assert exchange.response_body is None


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"then": "answer"}, "then: answer needs 'for'"),
        ({"then": "answer", "for": "1s", "upstream": "not-called"}, "upstream: not-called gives none"),
        ({"after_bytes": 1, "upstream": "not-called"}, "'after_bytes' needs an answer"),
        ({"for": "25h"}, "expected a duration"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(params: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Hang.read(params)


# -- plain TCP ---------------------------------------------------------------------------------------------------------


class Server:
    """Answers each four bytes, and remembers them."""

    def __init__(self) -> None:
        self.heard = b""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4):
            self.heard += data
            writer.write(data * 2)


@pytest.mark.parametrize(("upstream", "heard"), [("called", b"data"), ("not-called", b"")])
def test_a_carried_connection_is_silent_until_its_client_leaves(
    net: World, upstream: str, heard: bytes
) -> None:
    server = Server()
    wire = link(net, [rule("hang", upstream=upstream)], server)
    with connect(wire.port) as sock:
        sock.sendall(b"data")
        sock.settimeout(1)
        with pytest.raises(TimeoutError):
            sock.recv(1)
    (exchange,) = wire.server.wait_for(1)
    assert exchange.error == "client-gone: the client left while nothing came"
    assert exchange.faults == ("hang",)
    assert exchange.response_body is None, "nothing has reached the client"
    assert server.heard == heard


def test_a_greeting_is_kept_back_too(net: World) -> None:
    async def greeter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        await reader.read()

    wire = link(net, [rule("hang")], greeter)
    with connect(wire.port) as sock:
        sock.settimeout(1)
        with pytest.raises(TimeoutError):
            sock.recv(1)
    assert wire.server.wait_for(1)[0].error == "client-gone: the client left while nothing came"


@pytest.mark.parametrize("params", [{}, {"upstream": "not-called"}, {"after_bytes": 3}])
def test_a_silent_connection_is_closed_after_its_time(net: World, params: dict[str, Any]) -> None:
    wire = link(net, [rule("hang", **{"for": "700ms"}, **params)], Server())
    began = time.monotonic()
    got, how = ask_and_end(wire.port, b"data")
    assert (got, how) == (b"dat" if "after_bytes" in params else b"", "end")
    assert time.monotonic() - began >= 0.6
    (exchange,) = wire.server.wait_for(1)
    assert (exchange.error or "").startswith("injected: ")


def test_a_silent_connection_may_go_on(net: World) -> None:
    wire = link(net, [rule("hang", **{"for": "500ms"}, then="answer", after_bytes=3)], Server())
    began = time.monotonic()
    with connect(wire.port) as sock:
        sock.sendall(b"data")
        assert read_until(sock, b"datadata") == b"datadata"
        assert time.monotonic() - began >= 0.5
        sock.sendall(b"more")
        assert read_until(sock, b"moremore") == b"moremore"
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b""
    assert wire.server.wait_for(1)[0].error is None


def test_a_connection_that_carries_less_passes_and_is_no_hit(net: World) -> None:
    wire = link(net, [rule("hang", after_bytes=8)], Server())
    with connect(wire.port) as sock:
        sock.sendall(b"data")
        sock.shutdown(socket.SHUT_WR)
        assert sock.makefile("rb").read() == b"datadata"
    assert wire.server.wait_for(1)[0].faults == ()
    assert wire.report("hang").fired == 0


def test_several_may_hang_at_once(net: World) -> None:
    weather = storm(net, [rule("hang", **{"for": "500ms"})])
    port = weather.port
    socks = [connect(port) for _ in range(5)]
    for sock in socks:
        sock.sendall(GET)
    assert [sock.recv(1) for sock in socks] == [b""] * 5
    for sock in socks:
        sock.close()
    assert len(weather.exchanges(5)) == 5
    assert ask(port, GET) == b""
