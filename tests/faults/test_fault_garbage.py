from __future__ import annotations

import json
from typing import Any

import httpx
import openai
import pytest
import requests

from aegis.faults.garbage import Garbage
from support import wire
from support.gateway_server import World
from support.http_upstream import HttpUpstream, chunk, event_stream, response, says
from support.raw_client import ask
from support.storm import HOST, rule, storm
from support.wild_tcp import ask_and_end

BODY = json.dumps({"orders": [{"id": number, "note": "thanks"} for number in range(30)]}).encode()
GET = b"GET / HTTP/1.1\r\nHost: api.example\r\n\r\n"
ONCE = GET[:-2] + b"Connection: close\r\n\r\n"
HEADERS = {"Host": HOST}


def served(body: bytes = BODY) -> HttpUpstream:
    return HttpUpstream(says(response(body, Content_Type="application/json")))


def parts(data: bytes) -> tuple[str, bytes]:
    head, _, body = data.partition(b"\r\n\r\n")
    return head.decode().lower() + "\r\n", body


def of(net: World, how: str, body: bytes = BODY) -> tuple[str, bytes]:
    return parts(ask(storm(net, [rule("garbage", how=how)], served(body)).port, ONCE))


@pytest.mark.parametrize("body", [BODY, b"x", b"1", b"{}"])
@pytest.mark.parametrize("how", ["body", "middle", "prefix"])
def test_bytes_without_a_meaning_and_the_same_in_every_run(net: World, how: str, body: bytes) -> None:
    head, got = of(net, how, body)
    assert (head, got) == of(net, how, body)
    assert f"content-length: {len(got)}\r\n" in head
    assert "content-type: application/json\r\n" in head
    assert got != body
    with pytest.raises(ValueError):
        json.loads(got)


def test_where_the_garbage_is(net: World) -> None:
    _, whole = of(net, "body")
    assert len(whole) == len(BODY)
    assert sum(a == b for a, b in zip(whole, BODY, strict=True)) < len(BODY) // 10
    _, middle = of(net, "middle")
    changed = [at for at, (a, b) in enumerate(zip(middle, BODY, strict=True)) if a != b]
    assert changed == list(range(changed[0], changed[0] + 64))
    assert abs(changed[0] + 32 - len(BODY) // 2) <= 1
    _, prefix = of(net, "prefix")
    assert prefix[64:] == BODY


def test_it_differs_from_exchange_to_exchange(net: World) -> None:
    weather = storm(net, [rule("garbage")], served())
    assert len({parts(ask(weather.port, ONCE))[1] for _ in range(5)}) == 5


@pytest.mark.parametrize("body", [BODY, "{'é': 'ééé', 'a': 1}".encode(), b"1234567x"])
def test_a_letter_that_is_no_utf8(net: World, body: bytes) -> None:
    _, got = of(net, "bad-utf8", body)
    changed = [(old, new) for old, new in zip(body, got, strict=True) if old != new]
    assert [new for _, new in changed] == [0xE9]
    assert chr(changed[0][0]).isalpha()
    with pytest.raises(UnicodeDecodeError):
        got.decode()


def test_a_body_that_is_no_gzip(net: World) -> None:
    weather = storm(net, [rule("garbage", how="bad-gzip")], served())
    head, got = parts(ask(weather.port, ONCE))
    assert "content-encoding: gzip\r\n" in head
    assert f"content-length: {len(got)}\r\n" in head
    assert got == BODY
    url = f"http://127.0.0.1:{weather.port}/"
    with pytest.raises(requests.exceptions.ContentDecodingError):
        requests.get(url, headers=HEADERS, timeout=60)
    with pytest.raises(httpx.DecodingError):
        httpx.get(url, headers=HEADERS, timeout=60)


def test_official_clients_try_again_after_a_body_that_is_no_gzip(net: World) -> None:
    weather = storm(net, [rule("garbage", how="bad-gzip")], served(json.dumps(wire.chat()).encode()))
    http = httpx.Client(headers=HEADERS, timeout=60)
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{weather.port}", api_key="k", http_client=http)
    with pytest.raises(openai.APIConnectionError):
        client.chat.completions.create(model="m", messages=[])
    assert len(weather.upstream.received) == 3


def test_a_chunk_without_a_size(net: World) -> None:
    weather = storm(net, [rule("garbage", how="bad-chunk")], served(b"0123456789"))
    data, how = ask_and_end(weather.port, GET)
    head, got = parts(data)
    assert "transfer-encoding: chunked\r\n" in head
    assert (got, how) == (chunk(b"01234") + b"xyzzy\r\n", "end")
    assert weather.exchanges(1)[0].error == "injected: a chunk without a size"
    url = f"http://127.0.0.1:{weather.port}/"
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        requests.get(url, headers=HEADERS, timeout=60)
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(url, headers=HEADERS, timeout=60)


@pytest.mark.parametrize(
    ("upstream", "how", "why"),
    [
        (served(b""), "body", "the response has no body"),
        (HttpUpstream(says(b"HTTP/1.1 304 Not Modified\r\n\r\n")), "body", "the response has no body"),
        (HttpUpstream(event_stream([b"a"])), "middle", "the response is an event stream"),
        (served(b"[1, 2]"), "bad-utf8", "the body has no letter to spoil"),
    ],
)
def test_what_cannot_be_spoilt_passes_and_is_no_hit(
    net: World, upstream: HttpUpstream, how: str, why: str
) -> None:
    weather = storm(net, [rule("garbage", how=how)], upstream)
    assert ask(weather.port, ONCE) == ask(storm(net, [], upstream).port, ONCE)
    report = weather.report("garbage")
    assert (report.fired, report.notes) == (0, (f"passed unchanged: {why}",))


@pytest.mark.parametrize("params", [{"how": "bad"}, {"where": "body"}])
def test_what_is_unknown_is_refused(params: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="unknown"):
        Garbage.read(params)
