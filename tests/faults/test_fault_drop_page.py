from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from aegis.faults import pages
from aegis.faults.base import Seen
from aegis.faults.drop_page import DropPage
from aegis.gateway.base import Request
from aegis.gateway.deliver import Whole
from support.gateway_server import World
from support.http_upstream import HttpUpstream, response, says
from support.storm import HOST, Storm, rule, storm

LINKS = (
    '<https://api.example/orders?page=1>; rel="prev", <https://api.example/orders?page=3&a=1,2>; rel="next", '
    '<https://api.example/orders?page=9>; rel="last"'
)


def served(value: Any, **headers: str) -> HttpUpstream:
    return HttpUpstream(
        says(response(json.dumps(value).encode(), Content_Type="application/json", **headers))
    )


def get(weather: Storm, target: str = "/orders?page=2") -> requests.Response:
    return requests.get(f"http://127.0.0.1:{weather.port}{target}", headers={"Host": HOST}, timeout=60)


def bent(net: World, value: Any, target: str = "/orders?page=2", **params: Any) -> Any:
    return get(storm(net, [rule("drop-page", **params)], served(value)), target).json()


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("empty", {"data": [], "has_more": True, "next_page_token": "abc", "total": 2}),
        ("last", {"data": [1, 2], "has_more": False, "total": 2}),
        ("empty-last", {"data": [], "has_more": False, "total": 2}),
    ],
)
def test_what_is_missing(net: World, page: str, expected: Any) -> None:
    listing = {"data": [1, 2], "has_more": True, "next_page_token": "abc", "total": 2}
    assert bent(net, listing, page=page) == expected


def test_a_link_header_loses_its_way_on(net: World) -> None:
    weather = storm(net, [rule("drop-page", page="last")], served([{"id": 1}], Link=LINKS))
    answer = get(weather)
    assert answer.json() == [{"id": 1}]
    assert answer.links.keys() == {"prev", "last"}
    assert weather.report("drop-page").fired == 1
    weather = storm(net, [rule("drop-page", page="empty-last")], served([{"id": 1}], Link=LINKS))
    assert get(weather).json() == []
    weather = storm(net, [rule("drop-page", page="empty")], served([{"id": 1}], Link=LINKS))
    assert get(weather).links.keys() == {"prev", "next", "last"}


@pytest.mark.parametrize(
    ("value", "left"),
    [
        (b'<https://a.example/?x="1">; rel="next"', None),
        (b"</2>; rel=next", None),
        (b'</2>; title="a, b; rel=next"; rel="up"', b'</2>; title="a, b; rel=next"; rel="up"'),
        (b'</2>; rel="last next", </1>; rel=prev', b"</1>; rel=prev"),
        (b'</2>; rel="nextish"', b'</2>; rel="nextish"'),
        (b"broken", b"broken"),
    ],
)
def test_links_of_any_form(value: bytes, left: bytes | None) -> None:
    found = pages.without_next_link(((b"X-A", b"1"), (b"link", value)))
    assert found == ((b"X-A", b"1"), *(() if left is None else ((b"link", left),)))


@pytest.mark.parametrize(
    ("listing", "expected"),
    [
        (
            {"next": "https://x/?page=3", "results": [1], "count": 9},
            {"next": None, "results": [1], "count": 9},
        ),
        ({"items": [1], "nextPageToken": "t"}, {"items": [1]}),
        ({"value": [1], "@odata.nextLink": "https://x"}, {"value": [1]}),
        (
            {"members": [1], "response_metadata": {"next_cursor": "c"}},
            {"members": [1], "response_metadata": {}},
        ),
        (
            {"data": {"orders": {"nodes": [1], "pageInfo": {"hasNextPage": True, "endCursor": "c"}}}},
            {"data": {"orders": {"nodes": [1], "pageInfo": {"hasNextPage": False, "endCursor": None}}}},
        ),
        (
            {"data": [{"next": "not the way"}], "links": {"next": {"href": "/2"}, "prev": None}},
            {"data": [{"next": "not the way"}], "links": {"next": None, "prev": None}},
        ),
    ],
)
def test_listings_of_many_services(net: World, listing: Any, expected: Any) -> None:
    assert bent(net, listing, page="last") == expected
    items = pages.items_of(listing)
    assert items is not None
    assert len(items) == 1


def test_paths_that_are_given(net: World) -> None:
    listing = {"found": {"a": [1], "b": [2]}, "cursor": {"after": 4}}
    assert bent(net, listing, page="empty", items="$.found.b") == {
        "found": {"a": [1], "b": []},
        "cursor": {"after": 4},
    }
    assert bent(net, listing, page="last", next="$.cursor.after") == {
        "found": {"a": [1], "b": [2]},
        "cursor": {},
    }


@pytest.mark.parametrize(
    ("target", "body", "later"),
    [
        ("/orders", None, False),
        ("/orders?page=1", None, False),
        ("/orders?page=2", None, True),
        ("/orders?offset=0&limit=5", None, False),
        ("/orders?offset=5", None, True),
        ("/orders?page_token=", None, False),
        ("/orders?pageToken=x", None, True),
        ("/orders?starting_after=or_1", None, True),
        ("/orders?%24skip=20", None, True),
        ("/search", {"query": "x", "start_cursor": "c"}, True),
        ("/graphql", {"query": "{…}", "variables": {"after": None}}, False),
        ("/graphql", {"query": "{…}", "variables": {"after": "c"}}, True),
        ("/mcp", {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"cursor": "c"}}, True),
        (
            "/mcp",
            {
                "jsonrpc": "2.0",
                "id": 1,
                "method": "tools/call",
                "params": {"name": "x", "arguments": {"page": 2}},
            },
            True,
        ),
    ],
)
def test_which_pages_are_later_ones(target: str, body: Any, later: bool) -> None:
    request = Request("POST", "https", HOST, 443, target, (), Whole(b""))  # type: ignore[arg-type]
    assert pages.is_later_page(Seen(request, None, body, 0.0)) is later


@pytest.mark.parametrize(
    ("params", "hit"),
    [
        ({}, False),
        ({"first_page": True}, True),
        ({"page": "last"}, True),
        ({"page": "last", "first_page": False}, False),
        ({"page": "empty-last"}, False),
    ],
)
def test_the_first_page(net: World, params: dict[str, Any], hit: bool) -> None:
    weather = storm(net, [rule("drop-page", **params)], served({"items": [1], "next": "/2"}))
    get(weather, "/orders?limit=1")
    assert weather.report("drop-page").fired == int(hit)
    get(weather, "/orders?page=2")
    assert weather.report("drop-page").fired == int(hit) + 1


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (response(b'{"id": 1}'), "the response holds no items, or no way to a next page"),
        (response(b'{"items": []}'), "the response holds no items, or no way to a next page"),
        (response(b"<ul></ul>"), "the response is not JSON"),
        (response(b'{"items": [1]}', "404 Not Found"), "the response is no success"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "the response has no body"),
    ],
)
def test_what_is_no_listing_passes_and_is_no_hit(net: World, data: bytes, why: str) -> None:
    weather = storm(net, [rule("drop-page")], HttpUpstream(says(data)))
    assert get(weather).content == data.partition(b"\r\n\r\n")[2]
    report = weather.report("drop-page")
    assert (report.fired, report.notes) == (0, (f"passed unchanged: {why}",))


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"page": "last", "items": "$.a"}, "'items' goes with page: empty"),
        ({"next": "$.a"}, "'next' goes with page: last"),
        ({"items": "$..a"}, "JSON path"),
        ({"page": "first"}, "unknown page"),
    ],
)
def test_parameters_that_make_no_sense(params: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words.replace("$", r"\$")):
        DropPage.read(params)
