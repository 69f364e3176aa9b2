from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import pytest
import requests

from aegis.faults import aging, memory
from aegis.faults.stale import Stale
from support.gateway_server import World
from support.http_upstream import HttpUpstream, Received, event_stream, response, says
from support.mcp_storm import mcp_storm
from support.storm import HOST, Storm, rule, storm

HEADERS = {"Host": HOST}
NOTHING_YET = "passed unchanged: no earlier answer to this request is known"


class Orders:
    """An upstream whose orders change with every request that it gets."""

    def __init__(self, **headers: str) -> None:
        self.version = 0
        self.headers = headers

    async def __call__(self, request: Received, writer: asyncio.StreamWriter) -> None:
        self.version += 1
        value = {"version": self.version, "target": request.target, "at": "2026-03-01T10:00:00.5Z"}
        writer.write(response(json.dumps(value).encode(), Content_Type="application/json", **self.headers))


def get(weather: Storm, path: str = "/orders/1", **headers: str) -> requests.Response:
    url = f"http://127.0.0.1:{weather.port}{path}"
    return requests.get(url, headers={**HEADERS, **headers}, timeout=60)


def versions(weather: Storm, count: int, path: str = "/orders/1", **headers: str) -> list[int]:
    return [get(weather, path, **headers).json()["version"] for _ in range(count)]


def test_the_first_answer_comes_again_and_upstream_is_not_asked(net: World) -> None:
    weather = storm(net, [rule("stale", on=(2, 3))], HttpUpstream(Orders()))
    assert versions(weather, 4) == [1, 1, 1, 2]
    assert len(weather.upstream.received) == 2
    assert [exchange.faults for exchange in weather.exchanges(4)] == [(), ("stale",), ("stale",), ()]


def test_the_first_match_has_nothing_earlier_and_is_no_hit(net: World) -> None:
    weather = storm(net, [rule("stale")], HttpUpstream(Orders()))
    assert versions(weather, 3) == [1, 1, 1]
    report = weather.report("stale")
    assert (report.matched, report.fired, report.notes) == (3, 2, (NOTHING_YET,))
    assert "Age" not in get(storm(net, [rule("stale")], HttpUpstream(Orders()))).headers


def test_what_was_written_is_not_read_back(net: World) -> None:
    hit = rule("stale", match={"method": ("GET",)})
    weather = storm(net, [hit], HttpUpstream(Orders()))
    before = get(weather).json()
    requests.put(f"http://127.0.0.1:{weather.port}/orders/1", json={}, headers=HEADERS, timeout=60)
    assert get(weather).json() == before
    assert [item.method for item in weather.upstream.received] == ["GET", "PUT"]


def test_only_the_same_request_gets_it(net: World) -> None:
    weather = storm(net, [rule("stale")], HttpUpstream(Orders()))
    assert versions(weather, 2) == [1, 1]
    assert versions(weather, 2, "/orders/1?full=1") == [2, 2]
    assert versions(weather, 2, Authorization="Bearer other") == [3, 3]
    assert versions(weather, 2, Range="bytes=0-") == [4, 4]
    assert versions(weather, 1) == [1]


def test_only_what_matches_is_kept(net: World) -> None:
    weather = storm(net, [rule("stale", match={"path": ("/orders/2",)})], HttpUpstream(Orders()))
    assert versions(weather, 2, "/orders/1") == [1, 2]
    assert versions(weather, 2, "/orders/2") == [3, 3]


def test_the_headers_tell_its_age(net: World) -> None:
    upstream = Orders(
        Date="Sun, 01 Mar 2026 10:00:00 GMT",
        Last_Modified="Sun, 01 Mar 2026 09:00:00 GMT",
        Expires="0",
        Age="3",
        ETag='"1"',
    )
    weather = storm(net, [rule("stale", age="36h", on=(2,))], HttpUpstream(upstream))
    get(weather)
    headers = get(weather).headers
    assert headers["Date"] == "Fri, 27 Feb 2026 22:00:00 GMT"
    assert headers["Last-Modified"] == "Fri, 27 Feb 2026 21:00:00 GMT"
    assert (headers["Expires"], headers["Age"], headers["ETag"]) == ("0", str(36 * 3600), '"1"')


def test_unless_nobody_is_to_know(net: World) -> None:
    upstream = Orders(Date="Sun, 01 Mar 2026 10:00:00 GMT")
    weather = storm(net, [rule("stale", disclosed=False, on=(2,))], HttpUpstream(upstream))
    assert get(weather).headers == get(weather).headers


def test_old_values_and_times_are_put_into_the_first_answer_too(net: World) -> None:
    hit = rule("stale", set={"$.version": 0, "$.target": {"a": 1}, "$.none": 1}, fields=["$.at"])
    weather = storm(net, [hit], HttpUpstream(Orders()))
    expected = {"version": 0, "target": {"a": 1}, "at": "2026-02-28T10:00:00.5Z"}
    assert [get(weather).json() for _ in range(3)] == [expected] * 3
    assert len(weather.upstream.received) == 1
    assert weather.report("stale").fired == 3


@pytest.mark.parametrize(
    ("body", "expected"), [({"version": "old"}, b'{"version":"old"}'), ("<old/>", b"<old/>"), ([], b"[]")]
)
def test_yesterdays_body_can_be_given(net: World, body: Any, expected: bytes) -> None:
    weather = storm(net, [rule("stale", body=body)], HttpUpstream(Orders(ETag='"7"')))
    for _ in range(2):
        answer = get(weather)
        assert (answer.content, answer.headers["ETag"]) == (expected, '"7"')
        assert answer.headers["Content-Length"] == str(len(expected))
        assert answer.headers["Age"] == "86400"


def test_a_coded_answer_is_kept_decoded(net: World) -> None:
    data = response(gzip.compress(b'{"a": 1}', mtime=0), Content_Encoding="gzip")
    weather = storm(net, [rule("stale")], HttpUpstream(says(data)))
    first, again = get(weather), get(weather, **{"Accept-Encoding": "identity"})
    assert first.content == again.content == b'{"a": 1}'
    assert (first.headers.get("Content-Encoding"), again.headers.get("Content-Encoding")) == ("gzip", None)


@pytest.mark.parametrize("json_response", [True, False])
@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_an_mcp_tool_returns_what_it_returned_before(net: World, json_response: bool, mode: str) -> None:
    hit = rule("stale", match={"tool": ("lookup_order",)}, first=2)
    with mcp_storm(net, [hit], json_response=json_response) as world:

        async def work(client: Any) -> list[Any]:
            await client.call_tool("lookup_order", {"order_id": 5})
            await client.call_tool("cancel_order", {"order_id": 5})
            return [
                await client.call_tool("lookup_order", {"order_id": 5}),
                await client.call_tool("lookup_order", {"order_id": 6}),
            ]

        stale, other = world.use(work, mode=mode)
        assert world.shop.calls == [("lookup_order", 5), ("cancel_order", 5), ("lookup_order", 6)]
    assert stale.structured_content == {"order_id": 5, "status": "paid"}
    assert json.loads(stale.content[0].text)["status"] == "paid"
    assert other.structured_content == {"order_id": 6, "status": "paid"}
    report = world.report("stale")
    assert (report.fired, report.notes) == (1, (NOTHING_YET,))


@pytest.mark.parametrize("json_response", [True, False])
def test_values_that_an_mcp_tool_returned_are_changed(net: World, json_response: bool) -> None:
    hit = rule("stale", match={"tool": ("lookup_order",)}, set={"$.status": "pending"})
    with mcp_storm(net, [hit], json_response=json_response) as world:
        results = world.call("lookup_order", 5, 5)
        assert world.shop.calls == [("lookup_order", 5)]
    assert [item.structured_content["status"] for item in results] == ["pending", "pending"]
    assert [json.loads(item.content[0].text)["status"] for item in results] == ["pending", "pending"]
    assert world.report("stale").fired == 2


def test_a_result_for_an_mcp_tool_can_be_given(net: World) -> None:
    old = {"order_id": 5, "status": "draft"}
    with mcp_storm(net, [rule("stale", match={"tool": ("lookup_order",)}, body=old)]) as world:
        (result,) = world.call("lookup_order", 5)
    assert (result.structured_content, json.loads(result.content[0].text)) == (old, old)


@pytest.mark.parametrize(
    ("upstream", "method", "why"),
    [
        (HttpUpstream(says(response(b"{}", "404 Not Found"))), "GET", "the response is no success"),
        (HttpUpstream(says(b"HTTP/1.1 204 No Content\r\n\r\n")), "GET", "the response has no body"),
        (HttpUpstream(says(response(b"{}"))), "POST", None),
        (HttpUpstream(says(response(b"{}"))), "GET", "nothing that it changes is in the response"),
        (HttpUpstream(says(response(b"text"))), "GET", "the response is not JSON"),
        (HttpUpstream(event_stream([b"{}"])), "GET", "the response is an event stream"),
    ],
)
def test_what_cannot_be_stale_passes_and_is_no_hit(
    net: World, upstream: HttpUpstream, method: str, why: str | None
) -> None:
    weather = storm(net, [rule("stale", set={"$.a": 1})], upstream)
    plain = storm(net, [], upstream)
    answers = [
        requests.request(method, f"http://127.0.0.1:{world.port}/x", headers=HEADERS, timeout=60)
        for world in (weather, plain)
    ]
    assert answers[0].content == answers[1].content
    assert answers[0].headers == answers[1].headers
    report = weather.report("stale")
    assert (report.fired, report.notes) == (0, () if why is None else (f"passed unchanged: {why}",))


def test_long_answers_are_not_kept(net: World) -> None:
    body = b"x" * (memory.MAX_BODY_BYTES + 1)
    weather = storm(net, [rule("stale")], HttpUpstream(says(response(body))))
    assert [get(weather).content == body for _ in range(2)] == [True, True]
    assert len(weather.upstream.received) == 2
    assert weather.report("stale").notes == (f"{NOTHING_YET} (2 times)",)


def test_of_many_answers_some_are_kept(net: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MAX_ANSWERS", 2)
    weather = storm(net, [rule("stale")], HttpUpstream(Orders()))
    assert [versions(weather, 2, f"/orders/{number}") for number in range(3)] == [[1, 1], [2, 2], [3, 4]]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-03-01", "2026-02-28"),
        ("2026-03-01T00:00:00Z", "2026-02-28T00:00:00Z"),
        ("2026-03-01 00:00:00.123456789+02:00", "2026-02-28 00:00:00.123456789+02:00"),
        ("2026-03-01T00:00", "2026-02-28T00:00"),
        ("Sun, 01 Mar 2026 10:00:00 GMT", "Sat, 28 Feb 2026 10:00:00 GMT"),
        ("Sun, 01 Mar 2026 10:00:00 +0100", "Sat, 28 Feb 2026 10:00:00 +0100"),
        (1772323200, 1772236800),
        (1772323200.25, 1772236800.25),
        (1772323200123, 1772236800123),
        (1042, None),
        ("1042", None),
        ("soon", None),
        ("2026-13-01", None),
        ("0001-01-01", None),
        (True, None),
        (None, None),
        ([], None),
    ],
)
def test_times_become_earlier_in_their_own_form(value: Any, expected: Any) -> None:
    assert aging.earlier(value, 24 * 3600.0) == expected


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"body": {}, "set": {"$.a": 1}}, "write them into 'body'"),
        ({"age": "0s"}, "longer than zero"),
        ({"fields": ["$.a["]}, "JSON path"),
        ({"set": {"a b": 1}}, "JSON path"),
    ],
)
def test_parameters_that_make_no_sense(params: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Stale.read(params)
