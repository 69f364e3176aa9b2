from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import httpx
import openai
import pytest
import requests
import zstandard

from aegis.faults.truncate import Truncate
from support.gateway_server import World
from support.http_upstream import HttpUpstream, chunk, event_stream, response, says
from support.raw_client import ask
from support.storm import HOST, Storm, rule, storm
from support.wild_tcp import ask_and_end, ask_inside_tls

ORDERS = json.dumps({"orders": [{"id": number, "status": "paid"} for number in range(200)]}).encode()
GET = b"GET /orders HTTP/1.1\r\nHost: api.example\r\n\r\n"
HEADERS = {"Host": HOST}


def served(body: bytes = ORDERS, **headers: str) -> HttpUpstream:
    return HttpUpstream(says(response(body, Content_Type="application/json", **headers)))


def url(weather: Storm) -> str:
    return f"http://127.0.0.1:{weather.port}/orders"


def parts(data: bytes) -> tuple[bytes, bytes]:
    head, _, body = data.partition(b"\r\n\r\n")
    return head.lower(), body


@pytest.mark.parametrize(
    ("place", "kept"), [({"at_byte": 0}, 0), ({"at_byte": 37}, 37), ({"at": 0.25}, 0.25), ({}, 0.5)]
)
def test_right_length_is_a_shorter_body_that_fits(net: World, place: dict[str, Any], kept: float) -> None:
    weather = storm(net, [rule("truncate", **place)], served())
    size = kept if isinstance(kept, int) else int(len(ORDERS) * kept)
    head, body = parts(ask(weather.port, GET[:-2] + b"Connection: close\r\n\r\n"))
    assert b"content-length: %d\r\n" % size in head + b"\r\n"
    assert body == ORDERS[:size]
    assert weather.exchanges(1)[0].error is None


def test_right_length_keeps_the_connection_and_the_client_sees_bad_json(net: World) -> None:
    weather = storm(net, [rule("truncate", on=(1,))], served())
    address = url(weather)
    with requests.Session() as session:
        answer = session.get(address, headers=HEADERS, timeout=60)
        with pytest.raises(requests.JSONDecodeError):
            answer.json()
        assert session.get(address, headers=HEADERS, timeout=60).content == ORDERS
    first, again = weather.exchanges(2)
    assert first.connection == again.connection
    assert (first.faults, again.faults) == (("truncate",), ())


@pytest.mark.parametrize("coding", ["gzip", "zstd", "chunked"])
def test_what_upstream_sends_in_another_form_is_cut_all_the_same(net: World, coding: str) -> None:
    if coding == "chunked":
        data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(ORDERS) + chunk(b"")
        upstream = HttpUpstream(says(data))
    else:
        coded = gzip.compress(ORDERS) if coding == "gzip" else zstandard.compress(ORDERS)
        upstream = served(coded, Content_Encoding=coding)
    weather = storm(net, [rule("truncate", at_byte=100)], upstream)
    answer = requests.get(url(weather), headers=HEADERS, timeout=60)
    assert answer.content == ORDERS[:100]
    assert "Content-Encoding" not in answer.headers
    assert answer.headers["Content-Length"] == "100"


def test_wrong_length_promises_the_whole(net: World) -> None:
    weather = storm(net, [rule("truncate", how="wrong-length", at_byte=64)], served())
    data, how = ask_and_end(weather.port, GET)
    head, body = parts(data)
    assert b"content-length: %d\r\n" % len(ORDERS) in head + b"\r\n"
    assert (body, how) == (ORDERS[:64], "end")
    (exchange,) = weather.exchanges(1)
    assert exchange.error == f"injected: the body ends after 64 of {len(ORDERS)} bytes"
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        requests.get(url(weather), headers=HEADERS, timeout=60)
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(url(weather), headers=HEADERS, timeout=60)


@pytest.mark.parametrize("kept", [0, 64])
def test_in_chunk_ends_inside_a_chunk(net: World, kept: int) -> None:
    weather = storm(net, [rule("truncate", how="in-chunk", at_byte=kept)], served())
    data, how = ask_and_end(weather.port, GET)
    head, body = parts(data)
    assert b"transfer-encoding: chunked" in head
    assert b"content-length" not in head
    size = b"%x\r\n" % len(ORDERS)
    assert (body, how) == (size + ORDERS[:kept] if kept else b"", "end")
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        requests.get(url(weather), headers=HEADERS, timeout=60)
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(url(weather), headers=HEADERS, timeout=60)


def test_in_chunk_for_a_client_that_knows_no_chunks(net: World) -> None:
    weather = storm(net, [rule("truncate", how="in-chunk", at_byte=64)], served())
    head, body = parts(ask(weather.port, GET.replace(b"HTTP/1.1", b"HTTP/1.0")))
    assert b"chunked" not in head
    assert body == ORDERS[:64]


def test_in_gzip_goes_unnoticed(net: World) -> None:
    weather = storm(net, [rule("truncate", how="in-gzip")], served())
    data = ask(weather.port, GET[:-2] + b"Accept-Encoding: gzip\r\nConnection: close\r\n\r\n")
    head, body = parts(data)
    assert b"content-encoding: gzip" in head
    assert b"content-length: %d\r\n" % len(body) in head + b"\r\n"
    decoder = zlib.decompressobj(16 + zlib.MAX_WBITS)
    got = decoder.decompress(body)
    assert not decoder.eof
    assert got
    assert ORDERS.startswith(got)
    assert got != ORDERS
    # Neither client says a word about the stream that never ended.
    assert ORDERS.startswith(requests.get(url(weather), headers=HEADERS, timeout=60).content)
    answer = httpx.get(url(weather), headers=HEADERS, timeout=60)
    assert ORDERS.startswith(answer.content)
    with pytest.raises(json.JSONDecodeError):
        answer.json()


@pytest.mark.parametrize("at", [0.0001, 0.999])
def test_in_gzip_cuts_the_deflate_stream_and_nothing_else(net: World, at: float) -> None:
    weather = storm(net, [rule("truncate", how="in-gzip", at=at)], served(b"{}"))
    _, body = parts(ask(weather.port, GET[:-2] + b"Accept-Encoding: gzip\r\nConnection: close\r\n\r\n"))
    coded = gzip.compress(b"{}", mtime=0)
    assert coded.startswith(body)
    assert 10 < len(body) < len(coded) - 8


def test_in_gzip_for_a_client_that_takes_none(net: World) -> None:
    weather = storm(net, [rule("truncate", how="in-gzip", at_byte=10)], served())
    for accepts in ("identity", "gzip;q=0, br"):
        headers = {**HEADERS, "Accept-Encoding": accepts}
        answer = requests.get(url(weather), headers=headers, timeout=60)
        assert answer.content == ORDERS[:10]
        assert "Content-Encoding" not in answer.headers
    report = weather.report("truncate")
    assert report.fired == 2
    assert report.notes == ("the client takes no gzip: the body was cut as right-length does (2 times)",)


@pytest.mark.parametrize(("ragged", "end"), [(False, "end"), (True, "ragged")])
def test_until_close_has_no_length_at_all(net: World, ragged: bool, end: str) -> None:
    weather = storm(net, [rule("truncate", how="until-close", at_byte=50, ragged=ragged)], served())
    data, how = ask_inside_tls(weather.tls_port, GET, net.ca_file(weather.server), HOST)
    head, body = parts(data)
    assert b"content-length" not in head
    assert b"chunked" not in head
    assert (body, how) == (ORDERS[:50], end)
    (exchange,) = weather.exchanges(1)
    assert (exchange.error is None) is not ragged


def test_httpx_and_requests_do_not_notice_the_missing_close_notify(net: World) -> None:
    weather = storm(net, [rule("truncate", how="until-close", at_byte=50, ragged=True)], served())
    ca, proxy = net.ca_file(weather.server), weather.proxy
    with requests.Session() as session:
        answer = session.get(f"https://{HOST}/", proxies={"https": proxy}, verify=ca, timeout=60)
        assert (answer.status_code, answer.content) == (200, ORDERS[:50])
    import ssl

    context = ssl.create_default_context(cafile=ca)
    with httpx.Client(proxy=proxy, verify=context, timeout=60) as client:
        assert client.get(f"https://{HOST}/").content == ORDERS[:50]


@pytest.mark.parametrize(("how", "attempts"), [("wrong-length", 3), ("right-length", 1), ("in-chunk", 3)])
def test_what_an_official_client_makes_of_it(net: World, how: str, attempts: int) -> None:
    answer = {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "x" * 400}, "finish_reason": "stop"}
        ],
    }
    weather = storm(net, [rule("truncate", how=how)], served(json.dumps(answer).encode()))
    http = httpx.Client(headers=HEADERS, timeout=60)
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{weather.port}", api_key="k", http_client=http)
    with pytest.raises((openai.APIConnectionError, json.JSONDecodeError)) as raised:
        client.chat.completions.create(model="m", messages=[])
    assert isinstance(raised.value, json.JSONDecodeError) is (how == "right-length")
    assert len(weather.upstream.received) == attempts


@pytest.mark.parametrize(
    ("upstream", "why"),
    [
        (served(b""), "the body is not longer than at_byte"),
        (served(b"0123"), "the body is not longer than at_byte"),
        (HttpUpstream(says(b"HTTP/1.1 204 No Content\r\n\r\n")), "the response has no body"),
        (HttpUpstream(event_stream([b"a", b"b"])), "the response is an event stream"),
        (
            served(b"not gzip at all", Content_Encoding="gzip"),
            "the response is longer than 8 MiB, or its content coding cannot be undone",
        ),
    ],
)
def test_what_cannot_be_cut_passes_and_is_no_hit(net: World, upstream: HttpUpstream, why: str) -> None:
    plain = storm(net, [], upstream)
    weather = storm(net, [rule("truncate", at_byte=4)], upstream)
    request = GET[:-2] + b"Connection: close\r\n\r\n"
    assert ask(weather.port, request) == ask(plain.port, request)
    report = weather.report("truncate")
    assert (report.matched, report.fired, report.notes) == (1, 0, (f"passed unchanged: {why}",))
    assert weather.exchanges(1)[0].faults == ()


def test_a_body_of_more_than_8_mib_passes(net: World) -> None:
    body = b"x" * (8 * 1024 * 1024 + 1)
    weather = storm(net, [rule("truncate")], served(body))
    assert requests.get(url(weather), headers=HEADERS, timeout=120).content == body
    assert weather.report("truncate").fired == 0


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"at": 0.5, "at_byte": 3}, "give one of them"),
        ({"at": 1.5}, "above 0, at most 0.999"),
        ({"at_byte": -1}, "whole number"),
        ({"ragged": True}, "until-close"),
        ({"how": "in-gip"}, "did you mean 'in-gzip'"),
    ],
)
def test_parameters_that_make_no_sense(params: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Truncate.read(params)
