from __future__ import annotations

import json
from typing import Any

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st
from rewriting import ask, call, get, serving, texts, tool_server

from aegis.faults import pages
from aegis.faults.rewrites.shorten import Shorten, _Cut, _WayOn
from aegis.faults.rewrites.toollists import Room
from support.fuzzing import examples
from support.gateway_server import World
from support.storm import HOST, Storm, rule, storm

SHORTEN = "rewrite/shorten"
ITEMS = [{"id": number} for number in range(1, 9)]


def cut(net: World, value: Any, items: int = 3, path: str = "/orders", **headers: str) -> Storm:
    return storm(net, [rule(SHORTEN, id="cut", items=items)], serving({path: value}, **headers))


def follow(weather: Storm, url: str) -> requests.Response:
    """Ask what a `next` names, at the gateway."""
    assert url.startswith(f"http://{HOST}/")
    return get(weather, url.removeprefix(f"http://{HOST}"))


def test_every_item_is_on_one_of_the_pages(net: World) -> None:
    weather = cut(net, {"data": ITEMS, "total": 8})
    found = get(weather, "/orders?status=open").json()
    assert found["data"] == ITEMS[:3]
    assert (found["truncated"], found["has_more"], found["total"]) == (True, True, 8)
    assert "status=open&cursor=" in found["next"]
    seen = list(found["data"])
    while found["next"]:
        found = follow(weather, found["next"]).json()
        seen += found["data"]
    assert seen == ITEMS
    assert (found["truncated"], found["has_more"], found["next"]) == (False, False, None)
    assert [item.rewrites for item in weather.exchanges(3)] == [("cut",)] * 3
    assert [request.target for request in weather.upstream.received] == ["/orders?status=open"] * 3


def test_the_members_that_a_listing_has_for_it_are_used(net: World) -> None:
    listing = {"data": ITEMS, "has_more": False, "page_info": {"next_cursor": None}}
    weather = cut(net, listing, 5)
    first = get(weather, "/orders").json()
    assert first["has_more"] is True
    token = first["page_info"]["next_cursor"]
    assert first.keys() == listing.keys()
    # By whatever parameter the agent knows.
    for name in ("cursor", "starting_after", "page_token"):
        second = get(weather, f"/orders?limit=50&{name}={token}").json()
        assert second == {"data": ITEMS[5:], "has_more": False, "page_info": {"next_cursor": None}}


def test_a_bare_list_has_its_way_on_in_a_header(net: World) -> None:
    weather = cut(net, ITEMS, 5)
    first = get(weather, "/orders")
    assert first.json() == ITEMS[:5]
    second = follow(weather, first.links["next"]["url"])
    assert second.json() == ITEMS[5:]
    assert "Link" not in second.headers


@pytest.mark.parametrize(
    ("value", "headers"),
    [
        ({"data": ITEMS[:3]}, {}),
        ({"id": 1, "name": "x"}, {}),
        ({"data": ITEMS, "next": "https://api.example/orders?page=2"}, {}),
        ({"data": ITEMS, "paging": {"hasMore": True}}, {}),
        (ITEMS, {"Link": '<https://api.example/orders?page=2>; rel="next"'}),
    ],
)
def test_short_lists_and_those_with_pages_of_their_own_pass(
    net: World, value: Any, headers: dict[str, str]
) -> None:
    weather = cut(net, value, **headers)
    assert get(weather, "/orders").json() == value
    assert [item.rewrites for item in weather.exchanges(1)] == [()]


def test_a_token_is_of_its_own_listing(net: World) -> None:
    weather = storm(net, [rule(SHORTEN, items=3)], serving({"/a": ITEMS, "/b": ITEMS}))
    link = get(weather, "/a").links["next"]["url"]
    query = link.partition("?")[2]
    assert get(weather, f"/b?{query}").json() == ITEMS[:3]
    assert get(weather, "/a?cursor=pg_000000000000").json() == ITEMS[:3]


# -- tools -------------------------------------------------------------------------------------------------------------


def listing(parameters: dict[str, Any], value: Any, offset: str = "") -> Any:
    """A tool that lists; with `offset` it begins there itself."""
    tools = [{"name": "list_orders", "inputSchema": {"type": "object", "properties": parameters}}]

    def result(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        assert arguments.keys() <= {"status", offset}, "a token of ours reached the server"
        start = arguments.get(offset, 0)
        return texts({**value, "orders": value["orders"][start:]}) if offset else texts(value)

    return tool_server(tools, result)


def test_a_tool_with_a_cursor(net: World) -> None:
    parameters = {"cursor": {"anyOf": [{"type": "string"}, {"type": "null"}]}, "status": {"type": "string"}}
    weather = storm(net, [rule(SHORTEN, items=3)], listing(parameters, {"orders": ITEMS}))
    ask(weather, "tools/list")
    seen: list[Any] = []
    cursor = None
    for _ in range(3):
        arguments = {"status": "open", **({"cursor": cursor} if cursor else {})}
        found = call(weather, "list_orders", **arguments)
        told = found["structuredContent"]
        assert json.loads(found["content"][0]["text"]) == told
        seen += told["orders"]
        cursor = told["next_cursor"]
    assert seen == ITEMS
    assert (cursor, told["has_more"]) == (None, False)


def test_a_tool_with_an_offset(net: World) -> None:
    parameters = {"offset": {"type": "integer"}}
    weather = storm(net, [rule(SHORTEN, items=3)], listing(parameters, {"orders": ITEMS}, "offset"))
    ask(weather, "tools/list")
    seen: list[Any] = []
    offset = 0
    while offset is not None:
        told = call(weather, "list_orders", offset=offset)["structuredContent"]
        seen += told["orders"]
        offset = told.get("next_offset")
    assert seen == ITEMS


def test_a_bare_list_of_a_tool_has_a_note_beside_it(net: World) -> None:
    tools = [{"name": "list_orders", "inputSchema": {"properties": {"cursor": {"type": "string"}}}}]
    parts = [{"type": "text", "text": json.dumps(item)} for item in ITEMS]
    result = {"content": parts, "structuredContent": {"result": ITEMS}}
    weather = storm(net, [rule(SHORTEN, items=5)], tool_server(tools, lambda name, arguments: result))
    ask(weather, "tools/list")
    found = call(weather, "list_orders")
    assert found["structuredContent"] == {"result": ITEMS[:5]}
    assert found["content"][:5] == parts[:5]
    note = found["content"][5]["text"]
    assert note.startswith('[truncated: items 1 to 5 of 8; call again with cursor="pg_')
    cursor = note.split('"')[1]
    last = call(weather, "list_orders", cursor=cursor)
    assert last == {"content": parts[5:], "structuredContent": {"result": ITEMS[5:]}}


@pytest.mark.parametrize("schema", [{}, {"properties": {"status": {"type": "string"}}}])
def test_a_tool_that_cannot_be_asked_for_more_is_left_whole(net: World, schema: Any) -> None:
    tools = [{"name": "list_orders", "inputSchema": schema}]
    weather = storm(
        net, [rule(SHORTEN, items=3)], tool_server(tools, lambda name, arguments: texts({"orders": ITEMS}))
    )
    ask(weather, "tools/list")
    assert call(weather, "list_orders") == texts({"orders": ITEMS})


# -- the cutting itself ------------------------------------------------------------------------------------------------


@settings(max_examples=examples(200), deadline=None)
@given(
    st.lists(st.integers(), max_size=30),
    st.integers(1, 10),
    st.dictionaries(
        st.sampled_from(["next", "hasMore", "cursor", "total", "note"]), st.sampled_from([None, False, 0])
    ),
    st.booleans(),
)
def test_the_pages_of_any_listing_are_the_listing(
    numbers: list[int], items: int, more: dict[str, Any], bare: bool
) -> None:
    def way_on(start: int) -> _WayOn:
        return _WayOn(f"http://x/?c={start}", start, "next", "")

    seen: list[int] = []
    start: int | None = 0
    while start is not None:
        value: Any = list(numbers) if bare else {**more, "data": list(numbers)}
        page = _Cut(items, start, way_on)
        changed = page.value(value, Room())
        seen += value if bare else value["data"]
        assert changed is (start > 0 or len(numbers) > items)
        following = start + items if changed and start + items < len(numbers) else None
        if changed and not bare:
            assert any(parent[name] for parent, name, _ in pages.ways_on(value)) is (following is not None)
        start = following
    assert seen == numbers


@pytest.mark.parametrize("params", [{}, {"items": 0}])
def test_parameters_that_make_no_sense(params: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"items|expected"):
        Shorten.read(params)
