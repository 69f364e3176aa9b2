from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import pytest
import requests

from aegis.faults.dribble import by_event, even, in_pieces
from aegis.faults.slow_body import SlowBody
from aegis.gateway.failures import Cut
from support.gateway_server import World
from support.http_upstream import HttpUpstream, event_stream, response, says
from support.raw_client import ask, connect
from support.storm import Storm, rule, storm
from support.wild_tcp import link, pieces

BODY = b"0123456789abcdef"
GET = b"GET /x HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n"


def url(weather: Storm) -> str:
    return f"http://127.0.0.1:{weather.port}/x"


def get(weather: Storm) -> requests.Response:
    return requests.get(url(weather), headers={"Host": "api.example"}, timeout=60)


def sizes(weather: Storm) -> list[int]:
    (exchange,) = weather.exchanges(1)
    return [size for _, size in exchange.chunks]


def test_a_body_with_a_length_comes_in_so_many_pieces_over_the_time(net: World) -> None:
    weather = storm(net, [rule("slow-body", chunks=5, duration="500ms")], HttpUpstream(says(response(BODY))))
    began = time.monotonic()
    answer = get(weather)
    assert time.monotonic() - began >= 0.5
    assert (answer.content, answer.headers["Content-Length"]) == (BODY, "16")
    assert sizes(weather) == [3, 3, 3, 3, 4]
    assert weather.report("slow-body").fired == 1


def test_the_headers_come_at_once(net: World) -> None:
    weather = storm(net, [rule("slow-body", chunks=2, duration="1h")], HttpUpstream(says(response(BODY))))
    with connect(weather.port) as sock:
        sock.sendall(GET)
        head = b""
        while b"\r\n\r\n" not in head:
            head += sock.recv(65536)
        assert head.endswith(b"\r\n\r\n")
    (exchange,) = weather.exchanges(1)
    assert (exchange.error or "").startswith("client-gone: ")


def test_so_many_bytes_every_so_often_however_they_arrived(net: World) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"".join(
        b"%x\r\n%s\r\n" % (len(part), part) for part in (b"012", b"3456789a", b"bcdef", b"")
    )
    weather = storm(net, [rule("slow-body", chunk_bytes=5, pause="50ms")], HttpUpstream(says(chunked)))
    began = time.monotonic()
    answer = ask(weather.port, GET)
    assert time.monotonic() - began >= 0.2
    assert answer.endswith(b"\r\n\r\n5\r\n01234\r\n5\r\n56789\r\n5\r\nabcde\r\n1\r\nf\r\n0\r\n\r\n")


def test_a_body_of_unknown_length_is_divided_too(net: World) -> None:
    said = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + BODY
    weather = storm(
        net,
        [rule("slow-body", chunks=4, duration="200ms")],
        HttpUpstream(says(said, close=True)),
    )
    assert get(weather).content == BODY
    assert sizes(weather) == [4, 4, 4, 4]


@pytest.mark.parametrize("params", [{"by": "event", "pause": "100ms"}, {"chunks": 3, "duration": "300ms"}])
def test_an_event_stream_goes_event_by_event(net: World, params: dict[str, Any]) -> None:
    upstream = HttpUpstream(event_stream([b"one", b"two", b"three"]))
    weather = storm(net, [rule("slow-body", **params)], upstream)
    began = time.monotonic()
    with httpx.stream("GET", url(weather), headers={"Host": "api.example"}, timeout=60) as answer:
        lines = [line for line in answer.iter_lines() if line]
    assert time.monotonic() - began >= 0.3
    assert lines == ["data: one", "data: two", "data: three"]
    assert sizes(weather) == [11, 11, 13]


def test_what_has_no_body_passes_and_is_no_hit(net: World) -> None:
    upstream = HttpUpstream(says(b"HTTP/1.1 204 No Content\r\n\r\n"))
    weather = storm(net, [rule("slow-body", chunks=2, duration="1h")], upstream)
    assert get(weather).status_code == 204
    report = weather.report("slow-body")
    assert (report.matched, report.fired) == (1, 0)
    assert report.notes == ("passed unchanged once: there was no body to slow down",)
    assert weather.exchanges(1)[0].faults == ()


def test_what_is_no_event_stream_does_not_go_by_event(net: World) -> None:
    weather = storm(net, [rule("slow-body", by="event", pause="1h")], HttpUpstream(says(response(BODY))))
    assert get(weather).content == BODY
    report = weather.report("slow-body")
    assert report.fired == 0
    assert report.notes == ("passed unchanged once: the body was no event stream",)


def test_a_body_that_upstream_cuts_is_cut_after_what_came(net: World) -> None:
    cut = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + BODY
    weather = storm(
        net, [rule("slow-body", chunk_bytes=5, pause="10ms")], HttpUpstream(says(cut, close=True))
    )
    assert ask(weather.port, GET).endswith(b"\r\n\r\n" + BODY)
    (exchange,) = weather.exchanges(1)
    assert (exchange.error or "").startswith("upstream-protocol: ")


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"chunks": 5}, "give 'chunks' and 'duration'"),
        ({"chunks": 5, "duration": "1s", "pause": "1s"}, "give 'chunks' and 'duration'"),
        ({"by": "event"}, "by: event needs 'pause'"),
        ({"by": "event", "pause": "1s", "chunk_bytes": 4}, "by: event needs 'pause', and nothing else"),
        ({"chunks": 1, "duration": "1s"}, "from 2 to"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(params: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SlowBody.read(params)


def test_without_parameters_it_is_ten_pieces_in_five_seconds() -> None:
    assert SlowBody.read({}) == {"chunks": 10, "duration": 5.0, "by": "bytes"}


def test_a_carried_connection_is_slowed_towards_its_client(net: World) -> None:
    async def answerer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readexactly(4)) * 4)

    wire = link(net, [rule("slow-body", chunk_bytes=4, pause="100ms")], answerer)
    with connect(wire.port) as sock:
        began = time.monotonic()
        sock.sendall(b"data")
        found = pieces(sock)
    assert b"".join(data for _, data in found) == b"data" * 4
    assert found[-1][0] - began >= 0.4


def test_a_carried_connection_has_no_body_to_divide(net: World) -> None:
    async def answerer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(4))

    wire = link(net, [rule("slow-body", chunks=4, duration="1h")], answerer)
    assert ask(wire.port, b"data") == b"data"
    report = wire.report("slow-body")
    assert report.fired == 0
    assert "give chunk_bytes and pause" in report.notes[0]


# -- the pieces --------------------------------------------------------------------------------------------------------


async def said(*parts: bytes, cut: bool = False) -> Any:
    for part in parts:
        yield part
    if cut:
        raise Cut("broken")


def collected(pieces_of: Any) -> list[bytes]:
    async def run() -> list[bytes]:
        found = []
        try:
            async for piece in pieces_of:
                found.append(piece)
        except Cut:
            found.append(b"cut")
        return found

    return asyncio.run(run())


def test_pieces_are_the_same_however_the_body_arrived() -> None:
    for parts in ((b"abcdefgh",), (b"a", b"bcd", b"efgh"), tuple(bytes([c]) for c in b"abcdefgh")):
        assert collected(in_pieces(said(*parts), iter((3, 3)))) == [b"abc", b"def", b"gh"]
    assert collected(in_pieces(said(b"abcd", cut=True), iter((3, 3)))) == [b"abc", b"d", b"cut"]


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n"])
def test_an_event_ends_with_its_blank_line_however_it_arrived(end: bytes) -> None:
    stream = b"data: 1" + end + b": ping" + end + b"data: 3"
    wanted = [b"data: 1" + end, b": ping" + end, b"data: 3"]
    assert collected(by_event(said(stream))) == wanted
    assert b"".join(collected(by_event(said(*(bytes([c]) for c in stream))))) == stream
    assert collected(by_event(said(stream, cut=True))) == [*wanted, b"cut"]


def test_even_sizes() -> None:
    assert list(even(11, 3)) == [3, 4, 4]
    assert list(even(2, 10)) == [1, 1]
    assert list(even(0, 10)) == []
