from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import openai
import pytest
import requests

from aegis.faults.duplicate_delivery import MAX_BODY_BYTES, DuplicateDelivery
from support import wire
from support.gateway_server import World
from support.http_upstream import HttpUpstream, Received, chunk, event_stream, response, says
from support.mcp_storm import mcp_storm
from support.raw_client import ask
from support.storm import HOST, Storm, rule, storm

HEADERS = {"Host": HOST, "Authorization": "Bearer t", "X-Trace": "1"}
ONCE = b"GET / HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n"


async def count(request: Received, writer: asyncio.StreamWriter) -> None:
    """Numbers the answers."""
    count.number = getattr(count, "number", 0) + 1  # type: ignore[attr-defined]
    writer.write(response(json.dumps({"answer": count.number}).encode()))  # type: ignore[attr-defined]


@pytest.fixture
def counting() -> HttpUpstream:
    count.number = 0  # type: ignore[attr-defined]
    return HttpUpstream(count)


def url(weather: Storm) -> str:
    return f"http://127.0.0.1:{weather.port}/payments"


@pytest.mark.parametrize("times", [2, 4])
@pytest.mark.parametrize("form", ["sized", "chunked", "empty"])
def test_upstream_gets_the_same_again_and_the_agent_the_first_answer(
    net: World, counting: HttpUpstream, times: int, form: str
) -> None:
    weather = storm(net, [rule("duplicate-delivery", times=times)], counting)
    body = {"sized": b'{"amount": 5}', "chunked": iter([b'{"amount"', b": 5}"]), "empty": b""}[form]
    answer = requests.post(url(weather), data=body, headers=HEADERS, timeout=60)
    assert answer.json() == {"answer": 1}
    received = weather.upstream.received
    assert len(received) == times
    sent = b"" if form == "empty" else b'{"amount": 5}'
    assert [item.body for item in received] == [sent] * times
    assert (
        len(
            {
                (item.method, item.target, item.headers["authorization"], item.headers["x-trace"])
                for item in received
            }
        )
        == 1
    )
    (exchange,) = weather.exchanges(1)
    assert exchange.faults == ("duplicate-delivery",)
    assert exchange.request_body is None or exchange.request_body.size_bytes == len(sent)


def test_only_the_hit_is_delivered_twice_and_connections_are_kept(net: World, counting: HttpUpstream) -> None:
    weather = storm(net, [rule("duplicate-delivery", on=(2,))], counting)
    address = url(weather)
    with requests.Session() as session:
        found = [
            session.post(address, json={}, headers=HEADERS, timeout=60).json()["answer"] for _ in range(4)
        ]
    assert found == [1, 2, 4, 5]
    assert weather.upstream.connections == 2


def test_a_further_delivery_that_fails_is_nobodys_trouble(net: World) -> None:
    async def once(request: Received, writer: asyncio.StreamWriter) -> None:
        if len(weather.upstream.received) == 1:
            writer.write(response(b"first"))
        else:
            writer.close()

    weather = storm(net, [rule("duplicate-delivery", times=3)], HttpUpstream(once))
    assert requests.post(url(weather), data=b"x", headers=HEADERS, timeout=60).text == "first"
    assert len(weather.upstream.received) == 3
    (note,) = weather.report("duplicate-delivery").notes
    assert note.startswith("a further delivery failed: upstream-closed: ")
    assert note.endswith(" (2 times)")


def test_an_answer_in_pieces_waits_for_the_copy(net: World) -> None:
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"ab") + chunk(b"cd") + chunk(b"")
    weather = storm(net, [rule("duplicate-delivery")], HttpUpstream(says(data)))
    assert requests.post(url(weather), data=b"x", headers=HEADERS, timeout=60).text == "abcd"
    assert len(weather.upstream.received) == 2


def test_a_long_body_is_delivered_once_and_whole(net: World, counting: HttpUpstream) -> None:
    weather = storm(net, [rule("duplicate-delivery")], counting)
    body = bytes(range(256)) * (MAX_BODY_BYTES // 256) + b"!"
    requests.post(url(weather), data=body, headers=HEADERS, timeout=120)
    requests.post(url(weather), data=iter([body[:70_000], body[70_000:]]), headers=HEADERS, timeout=120)
    assert [item.body == body for item in weather.upstream.received] == [True, True]
    report = weather.report("duplicate-delivery")
    note = f"passed unchanged: the request's body is longer than {MAX_BODY_BYTES} bytes (2 times)"
    assert (report.fired, report.notes) == (0, (note,))


def test_a_body_at_the_bound_is_delivered_twice(net: World, counting: HttpUpstream) -> None:
    # Another rule that reads bodies leaves them as whole as they were.
    rules = [rule("duplicate-delivery"), rule("tool-error", match={"tool": ("x",)})]
    weather = storm(net, rules, counting)
    body = b"y" * MAX_BODY_BYTES
    assert requests.post(url(weather), data=body, headers=HEADERS, timeout=120).json() == {"answer": 1}
    assert [item.body == body for item in weather.upstream.received] == [True, True]


def test_a_tool_has_run_twice(net: World) -> None:
    with mcp_storm(net, [rule("duplicate-delivery", match={"tool": ("cancel_order",)})]) as world:
        (result,) = world.call("cancel_order", 5)
        assert world.shop.calls == [("cancel_order", 5)] * 2
    assert result.content[0].text == "order 5 is cancelled"


@pytest.mark.parametrize(
    ("params", "names"),
    [
        ({}, "aabbcc"),
        ({"times": 3}, "aaabbbccc"),
        ({"at_event": 2}, "abbc"),
    ],
)
def test_events_come_again(net: World, params: dict[str, Any], names: str) -> None:
    stream = HttpUpstream(event_stream([b"a", b"b", b"c"]))
    weather = storm(net, [rule("duplicate-delivery", what="event", **params)], stream)
    answer = requests.get(url(weather), headers=HEADERS, timeout=60)
    assert answer.text == "".join(f"data: {name}\n\n" for name in names)
    assert len(weather.upstream.received) == 1


def test_official_clients_repeat_the_text(net: World) -> None:
    data = response(wire.CHAT_STREAM.encode(), Content_Type="text/event-stream")
    weather = storm(net, [rule("duplicate-delivery", what="event", at_event=2)], HttpUpstream(says(data)))
    http = httpx.Client(headers=HEADERS, timeout=60)
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{weather.port}", api_key="k", http_client=http)
    pieces = client.chat.completions.create(model="m", messages=[], stream=True)
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
    assert text == "Let me Let me look."


@pytest.mark.parametrize(
    ("upstream", "why"),
    [
        (HttpUpstream(says(response(b"{}"))), "the response is no event stream"),
        (HttpUpstream(event_stream([b"a"])), "the stream had no such event"),
    ],
)
def test_a_response_without_that_event_passes_and_is_no_hit(
    net: World, upstream: HttpUpstream, why: str
) -> None:
    weather = storm(net, [rule("duplicate-delivery", what="event", at_event=2)], upstream)
    assert ask(weather.port, ONCE) == ask(storm(net, [], upstream).port, ONCE)
    report = weather.report("duplicate-delivery")
    assert (report.fired, report.notes) == (0, (f"passed unchanged: {why}",))


@pytest.mark.parametrize(
    ("params", "words"), [({"times": 1}, "from 2 to 10"), ({"at_event": 1}, "goes with what: event")]
)
def test_parameters_that_make_no_sense(params: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        DuplicateDelivery.read(params)
