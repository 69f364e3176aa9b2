from __future__ import annotations

import asyncio
import gzip
import json
import random
from typing import Any

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st
from rewriting import ORDERS, ask, call, get, serving, texts, tool_server

from aegis.faults.base import Seen
from aegis.faults.rewrites import documents
from aegis.faults.rewrites.grow import Grow, add_members, holds, mix
from aegis.faults.rewrites.making import Maker
from aegis.faults.rewrites.records import scalar
from aegis.faults.rewrites.toollists import Room
from aegis.gateway.base import Request
from aegis.gateway.deliver import Whole
from aegis.trace.tokens import estimate
from support.fuzzing import examples
from support.gateway_server import World
from support.http_upstream import HttpUpstream, response, says
from support.mcp_stdio import start, tool
from support.mcp_storm import mcp_storm
from support.storm import HOST, Storm, rule, storm

GROW = "rewrite/grow"
ORDER = ORDERS[0]


def rewrites(weather: Storm, count: int) -> list[tuple[str, ...]]:
    return [exchange.rewrites for exchange in weather.exchanges(count)]


def grown(net: World, value: Any, target: str = "/orders", **params: Any) -> tuple[Any, Storm]:
    weather = storm(net, [rule(GROW, id="bloat", **params)], serving({target.partition("?")[0]: value}))
    return get(weather, target).json(), weather


@pytest.mark.parametrize("tokens", [8_000, 32_000])
@pytest.mark.parametrize("value", [ORDER, {"data": ORDERS, "total": 3}, ORDERS, {"order": ORDER}])
def test_results_grow_to_about_their_size_around_what_they_were(net: World, tokens: int, value: Any) -> None:
    found, weather = grown(net, value, tokens=tokens, named=["1042"])
    assert holds(found, value)
    assert 0.9 * tokens < estimate(json.dumps(found, separators=(",", ":"))) < 1.15 * tokens
    assert rewrites(weather, 1) == [("bloat",)]
    assert weather.weather.reports() == ()


def test_a_listing_has_more_records_with_keys_of_their_own(net: World) -> None:
    found, weather = grown(net, {"data": ORDERS}, tokens=8_000, named=["1042"], said=["desk"])
    records = found["data"]
    assert len(records) > 50
    ids = [record["id"] for record in records]
    assert len(set(ids)) == len(ids)
    own = [record for record in records if record["id"] in (1042, 1061, 1077)]
    assert [record["id"] for record in own] == [1042, 1061, 1077]
    assert records.index(own[0]) > 0
    others = [record for record in records if record not in own]
    assert all(record.keys() >= ORDER.keys() for record in others)
    assert not any("desk" in record["item"].casefold() for record in others)
    again = get(weather, "/orders").json()
    assert [record["id"] for record in again["data"]] == ids


@pytest.mark.parametrize(
    ("value", "target", "named"),
    [
        ({"data": ORDERS}, "/orders", []),
        ({"data": ORDERS}, "/orders", ["2001"]),
        ({"data": ORDERS}, "/orders?limit=3", ["1042"]),
        ({"data": ORDERS}, "/orders?q=desk", ["1042"]),
        ({"data": ORDERS}, "/orders?number=1042", ["1042"]),
        ({"data": ORDERS}, "/orders?open=yes", ["1042"]),
        ({"id": 1042, "lines": [{"line": 1, "order": 1042}, {"line": 2, "order": 1042}]}, "/x", ["1042"]),
        ({"lines": [{"line": 1, "order": 1042}, {"line": 2, "order": 1042}]}, "/orders/1042/lines", ["1042"]),
        ({"lines": [{"line": 1, "order": 1042}, {"line": 2, "order": 1042}]}, "/lines", ["1042"]),
    ],
)
def test_a_list_whose_records_may_all_be_meant_gets_none(
    net: World, value: Any, target: str, named: list[str]
) -> None:
    found, _ = grown(net, value, target, tokens=8_000, named=named)
    assert holds(found, value)
    name = "data" if "data" in value else "lines"
    assert len(found[name]) == len(value[name])
    assert estimate(json.dumps(found)) > 7_000


def test_further_records_pass_the_filter_that_was_asked_with(net: World) -> None:
    for target in ("/orders?customer=17&sort=-date&page=1", "/customers/17/orders"):
        found, _ = grown(net, {"data": ORDERS}, target, tokens=8_000, named=["1042"])
        assert len(found["data"]) > 50
        assert {record["customer"] for record in found["data"]} == {17}


def test_numbers_stay_as_they_were_written(net: World) -> None:
    body = b'{"total": 42.00, "rate": 1e-2, "big": 12345678901234567890.5, "text": "\\ud800"}'
    weather = storm(
        net, [rule(GROW, tokens=500)], HttpUpstream(says(response(body, Content_Type="application/json")))
    )
    answer = get(weather, "/x")
    for text in (b'"total":42.00,', b'"rate":1e-2', b'"big":12345678901234567890.5', b'"text":"\\ud800"'):
        assert text in answer.content
    assert int(answer.headers["Content-Length"]) == len(answer.content)


def test_coded_bodies_are_taken_apart_and_digests_left_out(net: World) -> None:
    body = gzip.compress(json.dumps(ORDER).encode(), mtime=0)
    headers = {"Content_Encoding": "gzip", "Content_Digest": "sha-256=:x:", "ETag": '"a"'}
    upstream = HttpUpstream(says(response(body, Content_Type="application/json", **headers)))
    answer = get(storm(net, [rule(GROW, tokens=1_000)], upstream), "/x")
    assert holds(answer.json(), ORDER)
    assert estimate(answer.text) > 900
    assert answer.headers.keys() & {"Content-Encoding", "Content-Digest"} == set()
    assert answer.headers["ETag"] == '"a"'


def test_what_writes_is_left_alone_unless_it_is_asked_for(net: World) -> None:
    for writes in (False, True):
        weather = storm(net, [rule(GROW, tokens=1_000, writes=writes)], serving({"/orders": ORDER}))
        url = f"http://127.0.0.1:{weather.port}/orders"
        for method in ("POST", "DELETE"):
            answer = requests.request(method, url, json={"a": 1}, headers={"Host": HOST}, timeout=60).json()
            assert (answer == ORDER) is not writes
        assert holds(get(weather, "/orders").json(), ORDER)


def test_hosts_of_models_are_left_alone(net: World) -> None:
    models = {"data": [{"id": "gpt-5"}], "choices": []}
    weather = storm(
        net, [rule(GROW, tokens=1_000)], serving({"/v1/models": models, "/v1/chat/completions": models})
    )
    url = f"http://127.0.0.1:{weather.port}/v1/chat/completions"
    assert requests.post(url, json={"messages": []}, headers={"Host": HOST}, timeout=60).json() == models
    assert get(weather, "/v1/models").json() == models
    assert rewrites(weather, 2) == [(), ()]


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        ("500 Oh", b'{"a": 1}', {}),
        ("206 Partial Content", b'{"a": 1}', {}),
        ("200 OK", b"<html></html>", {"Content_Type": "text/html"}),
        ("200 OK", b"data: {}\n\n", {"Content_Type": "text/event-stream"}),
        ("200 OK", b'"text"', {}),
        ("200 OK", b'{"a": 1e999}', {}),
        ("200 OK", b"[" * 2000 + b"]" * 2000, {}),
        ("200 OK", b"", {}),
    ],
)
def test_what_cannot_grow_passes_unchanged(net: World, status: str, body: bytes, headers: Any) -> None:
    weather = storm(net, [rule(GROW, tokens=1_000)], HttpUpstream(says(response(body, status, **headers))))
    assert get(weather, "/x").content == body
    assert rewrites(weather, 1) == [()]


def test_a_replay_gives_what_was_recorded(net: World) -> None:
    grow = Grow(Grow.read({"tokens": 1_000}))
    recorded = json.dumps(ORDER).encode()
    request = Request("GET", "https", HOST, 443, "/x", (), Whole(b""))  # type: ignore[arg-type]
    from aegis.faults.base import Hit, TrialKey
    from aegis.gateway.base import Framing, ResponsePlan

    async def forward(request: Request) -> ResponsePlan:
        return ResponsePlan(200, "OK", (), Framing.CHUNKED, Whole(recorded), replayed=True)

    async def run() -> bytes:
        hit = Hit("bloat", "r", 1, 1, 0.0, TrialKey("s", "c", "v", 1))
        plan = await grow.apply(hit, Seen(request, b"", None, 0.0), forward)
        return b"".join([piece async for piece in plan.body])

    assert asyncio.run(run()) == recorded


# -- tools -------------------------------------------------------------------------------------------------------------

LOOKUP = {"name": "lookup_order", "inputSchema": {"type": "object"}}


@pytest.mark.parametrize("json_response", [True, False])
@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_result_of_an_mcp_tool_satisfies_the_official_client(
    net: World, json_response: bool, mode: str
) -> None:
    with mcp_storm(net, [rule(GROW, tokens=8_000)], json_response=json_response) as world:
        [found] = world.call("lookup_order", 5, mode=mode)
        assert holds(found.structured_content, {"order_id": 5, "status": "paid"})
        assert json.loads(found.content[0].text) == found.structured_content
        assert estimate(found.content[0].text) > 7_000
        [cancelled] = world.call("cancel_order", 5, mode=mode)
        assert cancelled.content[0].text == "order 5 is cancelled"


def test_a_closed_output_schema_lets_records_be_added_only(net: World) -> None:
    def result(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        return texts({"orders": ORDERS} if name == "list_orders" else ORDER)

    closed = {"type": "object", "additionalProperties": False}
    tools = [{"name": name, "outputSchema": closed} for name in ("list_orders", "lookup_order")]
    weather = storm(net, [rule(GROW, tokens=4_000, named=["1042"])], tool_server(tools, result))
    ask(weather, "tools/list")
    found = call(weather, "list_orders")
    assert holds(found["structuredContent"], {"orders": ORDERS})
    assert found["structuredContent"].keys() == {"orders"}
    assert {frozenset(record) for record in found["structuredContent"]["orders"]} == {frozenset(ORDER)}
    assert json.loads(found["content"][0]["text"]) == found["structuredContent"]
    assert call(weather, "lookup_order") == texts(ORDER)


def test_a_tool_says_whether_it_reads(net: World) -> None:
    def tools(**hints: Any) -> list[dict[str, Any]]:
        return [{"name": name, "annotations": {"readOnlyHint": hint}} for name, hint in hints.items()]

    listed = tools(refund_report=True, weather=False)
    weather = storm(
        net, [rule(GROW, tokens=1_000)], tool_server(listed, lambda name, arguments: texts(ORDER))
    )
    ask(weather, "tools/list")
    expected = {
        "refund_report": True,
        "weather": False,
        "refund_order": False,
        "getOrder": True,
        "crm__create_lead": False,
        "forecast": True,
    }
    assert {name: call(weather, name) != texts(ORDER) for name in expected} == expected


def test_records_that_a_tool_writes_as_one_text_each(net: World) -> None:
    def result(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        parts = [
            {"type": "text", "text": json.dumps(order), "annotations": {"priority": 1}} for order in ORDERS
        ]
        return {"content": parts, "structuredContent": {"result": ORDERS}}

    weather = storm(net, [rule(GROW, tokens=4_000, named=["1042"])], tool_server([], result))
    found = call(weather, "list_orders")
    records = [json.loads(part["text"]) for part in found["content"]]
    assert records == found["structuredContent"]["result"]
    assert holds(records, ORDERS)
    assert len(records) > 10


def test_plain_text_of_a_tool_gets_lines_behind_it(net: World) -> None:
    said = "Order 1042 is paid."
    weather = storm(
        net,
        [rule(GROW, tokens=2_000)],
        tool_server([], lambda name, arguments: {"content": [{"type": "text", "text": said}]}),
    )
    text = call(weather, "lookup_order")["content"][0]["text"]
    assert text.startswith(f"{said}\n\n")
    assert estimate(text) == pytest.approx(2_000, rel=0.1)
    failed = {"content": [{"type": "text", "text": said}], "isError": True}
    weather = storm(net, [rule(GROW, tokens=2_000)], tool_server([], lambda name, arguments: failed))
    assert call(weather, "lookup_order") == failed


def test_a_tool_over_standard_input_and_output(net: World, tmp_path: Any) -> None:
    weather = storm(net, [rule(GROW, id="bloat", tokens=1_000)])
    with start(tmp_path, weather.proxy) as client:
        text = client.ask(tool(1, "lookup", order=5))["result"]["content"][0]["text"]
        assert text.startswith('lookup {"order": 5}\n\n')
        assert client.ask(tool(2, "delete", order=5))["result"]["content"][0]["text"] == 'delete {"order": 5}'
    assert rewrites(weather, 2) == [("bloat",), ()]


# -- the growing itself ------------------------------------------------------------------------------------------------

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**6), 10**6)
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
)
RECORDS = st.dictionaries(st.text(min_size=1, max_size=6), SCALARS, min_size=1, max_size=6)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


def seen(target: str) -> Seen:
    return Seen(Request("GET", "https", HOST, 443, target, (), Whole(b"")), b"", None, 0.0)  # type: ignore[arg-type]


def stripped(value: Any, before: Any) -> Any:
    """`value` without what `before` does not hold."""
    if isinstance(before, dict):
        return {name: stripped(value[name], before[name]) for name in value if name in before}
    if isinstance(before, list):
        left, kept = list(before), []
        for item in value:
            if left and holds(item, left[0]):
                kept.append(stripped(item, left.pop(0)))
        return kept
    return value


@settings(max_examples=examples(300), deadline=None)
@given(st.dictionaries(st.text(max_size=6), VALUES, max_size=5) | st.lists(RECORDS, max_size=5), st.data())
def test_taking_away_what_was_added_gives_the_result_back(value: Any, data: Any) -> None:
    text = documents.write(value)
    before, after = documents.parse(text), documents.parse(text)
    if before is None:
        return
    # As ids stand in a suite, which holds no NUL.
    names = [item for item in _scalars(before) if item and "\0" not in item]
    named = data.draw(st.lists(st.sampled_from(names), max_size=2)) if names else []
    grow = Grow(Grow.read({"tokens": 600, "named": named}))
    changed = grow._grow(seen("/things"), after, Room())
    assert documents.write(stripped(after, before)) == documents.write(before)
    assert changed is (documents.write(after) != documents.write(before))


def _scalars(value: Any) -> list[str]:
    if isinstance(value, dict | list):
        items = value.values() if isinstance(value, dict) else value
        return [text for item in items for text in _scalars(item)]
    text = scalar(value)
    return [] if text is None else [text]


@settings(max_examples=examples(200), deadline=None)
@given(
    st.lists(RECORDS, min_size=1, max_size=5), st.integers(0, 2**32), st.sets(st.text(max_size=4), max_size=3)
)
def test_further_records_have_keys_that_nothing_has(records: list[Any], seed: int, named: set[str]) -> None:
    maker = Maker(records, random.Random(seed), named={text.casefold() for text in named})
    known = set(_scalars(records)) | {text.casefold() for text in named}
    made = [maker.sibling() for _ in range(5)]
    for record in made:
        for name in maker._keys & record.keys():
            if isinstance(record[name], str | int) and not isinstance(record[name], bool):
                text = scalar(record[name])
                assert text not in known
                known.add(text or "")
    listing = list(records)
    mix(listing, made, random.Random(seed))
    assert [record for record in listing if any(record is own for own in records)] == records
    assert len(listing) == len(records) + 5


def test_growing_is_the_same_for_the_same_seed() -> None:
    def once(seed: int) -> str:
        value = {"a": 1, "items": [dict(order) for order in ORDERS]}
        add_members(value, random.Random(seed), 3_000)
        return json.dumps(value)

    assert once(1) == once(1)
    assert once(1) != once(2)


@pytest.mark.parametrize("params", [{}, {"tokens": 1}, {"tokens": 500, "nmaed": []}])
def test_parameters_that_make_no_sense(params: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"tokens|nmaed"):
        Grow.read(params)
