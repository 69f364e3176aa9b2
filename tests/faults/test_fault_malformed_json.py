from __future__ import annotations

import json
from typing import Any

import httpx
import openai
import pytest
import requests

from aegis.faults import brokenjson
from aegis.faults.malformed_json import MalformedJson
from support import wire
from support.gateway_server import World
from support.http_upstream import HttpUpstream, response, says
from support.mcp_storm import mcp_storm
from support.raw_client import ask
from support.storm import HOST, Storm, rule, storm

BODY = r"""{ "id": 1042, "paid": true, "note": null, "it's": "a \"b\" \u00e9", "tags": ["c", "d"] }"""
HEADERS = {"Host": HOST}
ONCE = b"GET / HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n"


def served(body: bytes, kind: str = "application/json") -> HttpUpstream:
    return HttpUpstream(says(response(body, Content_Type=kind)))


def get(weather: Storm, path: str = "/") -> requests.Response:
    return requests.get(f"http://127.0.0.1:{weather.port}{path}", headers=HEADERS, timeout=60)


EXPECTED = {
    "trailing-comma": BODY[:-2] + ", }",
    "unquoted-keys": r"""{ id: 1042, paid: true, note: null, "it's": "a \"b\" \u00e9", tags: ["c", "d"] }""",
    "single-quotes": r"""{ 'id': 1042, 'paid': true, 'note': null, 'it\'s': 'a "b" \u00e9', 'tags': ['c', 'd'] }""",
    "python-literals": BODY.replace("true", "True").replace("null", "None"),
    "unterminated-string": BODY.replace(r"""e9",""", r"""e9,"""),
    "raw-newline": BODY.replace(r"""e9",""", 'e9\n",'),
    "nan": BODY.replace("1042", "NaN"),
    "two-documents": f"{BODY}\n{BODY}",
    "bom": f"\ufeff{BODY}",
}


@pytest.mark.parametrize("how", brokenjson.WAYS)
def test_each_way_on_the_wire(net: World, how: str) -> None:
    body = json.dumps({"id": 7, "tags": ["a", "b"], "paid": True}).encode()
    weather = storm(net, [rule("malformed-json", how=how)], served(body))
    head, _, got = ask(weather.port, ONCE).partition(b"\r\n\r\n")
    assert f"content-length: {len(got)}\r\n" in head.decode().lower() + "\r\n"
    assert got != body
    if how == "nan":
        assert got == body.replace(b"7", b"NaN")
    else:
        with pytest.raises(ValueError):
            json.loads(got.decode())
    assert weather.report("malformed-json").fired == 1


@pytest.mark.parametrize("way", EXPECTED)
def test_each_way_in_the_text(way: str) -> None:
    assert brokenjson.broken(BODY.encode(), (way,), lambda purpose: 0.0) == EXPECTED[way].encode()


@pytest.mark.parametrize(
    ("text", "way", "broken"),
    [
        ('{"a": "it\'s \\"so\\""}', "single-quotes", "{'a': 'it\\'s \"so\"'}"),
        ("[1, []]", "trailing-comma", "[1, [],]"),
        ("[[1], {}]", "trailing-comma", "[[1], {},]"),
        ("[]", "trailing-comma", None),
        ('{"a-b": 1}', "unquoted-keys", None),
        ('["a:", "b"]', "unquoted-keys", None),
        ("[1, 2]", "python-literals", None),
        ('["true"]', "python-literals", None),
        ('{"a": ""}', "unterminated-string", None),
        ('{"a": "b"}', "unterminated-string", '{"a": "b}'),
        ('{"a": "b"}', "raw-newline", '{"a": "b\n"}'),
        ('["1", -2.5]', "nan", '["1", NaN]'),
        ("12", "two-documents", "12\n12"),
    ],
)
def test_ways_at_their_edges(text: str, way: str, broken: str | None) -> None:
    found = brokenjson.broken(text.encode(), (way,), lambda purpose: 0.0)
    assert found == (None if broken is None else broken.encode())


@pytest.mark.parametrize("text", ["{}", "[]", "1", '"x"', "null", '{"a": 1}', '[{"a_b": "c"}, false]'])
def test_whatever_is_drawn_no_parser_takes_it(text: str) -> None:
    for step in range(50):
        broken = brokenjson.broken(text.encode(), brokenjson.REFUSED_BY_ALL, lambda purpose, at=step: at / 50)
        assert broken is not None
        with pytest.raises(ValueError):
            json.loads(broken)


def test_the_way_varies_and_is_the_same_in_every_run(net: World) -> None:
    body = json.dumps({"id": 7, "tags": ["a", "b"], "paid": True, "name": "x"}).encode()

    def texts() -> list[str]:
        weather = storm(net, [rule("malformed-json")], served(body))
        return [get(weather).text for _ in range(12)]

    found = texts()
    assert found == texts()
    assert len(set(found)) > 3


def test_official_clients_raise_and_do_not_try_again(net: World) -> None:
    weather = storm(net, [rule("malformed-json")], served(json.dumps(wire.chat()).encode()))
    http = httpx.Client(headers=HEADERS, timeout=60)
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{weather.port}", api_key="k", http_client=http)
    with pytest.raises(json.JSONDecodeError):
        client.chat.completions.create(model="m", messages=[])
    assert len(weather.upstream.received) == 1


def test_of_a_stream_the_first_json_is_broken(net: World) -> None:
    stream = (
        b': hi\n\nevent: note\ndata: hello\n\nid: 4\ndata: {"a": 1}\n\ndata: {"a": 2}\n\ndata: [DONE]\n\n'
    )
    weather = storm(
        net, [rule("malformed-json", how="html-prefix")], served(stream, "text/event-stream; charset=utf-8")
    )
    lines = get(weather).text.split("\n\n")
    assert [lines[0], lines[1], *lines[3:]] == [
        ": hi",
        "event: note\ndata: hello",
        'data: {"a": 2}',
        "data: [DONE]",
        "",
    ]
    assert lines[2].startswith("id: 4\ndata: <br />\ndata: <b>Warning</b>")
    assert lines[2].endswith('\ndata: {"a": 1}')


@pytest.mark.parametrize("json_response", [True, False])
def test_an_mcp_client_raises_though_the_tool_has_run(net: World, json_response: bool) -> None:
    from mcp import MCPError

    hit = rule("malformed-json", match={"tool": ("*",)}, how="unterminated-string")
    with mcp_storm(net, [hit], json_response=json_response) as world:
        with pytest.raises((MCPError, BaseExceptionGroup)):
            world.call("lookup_order", 1)
        assert world.shop.calls == [("lookup_order", 1)]


@pytest.mark.parametrize(
    ("body", "kind", "how", "why"),
    [
        (b"<html>", "text/html", None, "the response is not JSON"),
        (b"", "application/json", None, "the response is not JSON"),
        (b"[" * 100_000, "application/json", None, "the response is not JSON"),
        (b'{"a": "\xff"}', "application/json", None, "the response is not JSON"),
        (b"{}", "application/json", "nan", "the JSON has nothing to break by nan"),
        (b"data: x\n\n", "text/event-stream", None, "no event of the stream could be broken so"),
    ],
)
def test_what_cannot_be_broken_passes_and_is_no_hit(
    net: World, body: bytes, kind: str, how: str | None, why: str
) -> None:
    params: dict[str, Any] = {} if how is None else {"how": how}
    weather = storm(net, [rule("malformed-json", **params)], served(body, kind))
    assert get(weather).content == body
    weather.exchanges(1)
    report = weather.report("malformed-json")
    assert (report.fired, report.notes) == (0, (f"passed unchanged: {why}",))


def test_an_unknown_way_is_refused() -> None:
    with pytest.raises(ValueError, match="did you mean 'trailing-comma'"):
        MalformedJson.read({"how": "trailing-comas"})
