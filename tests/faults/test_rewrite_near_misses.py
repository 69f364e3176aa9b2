from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rewriting import ORDERS, ask, call, get, serving, texts, tool_server

from aegis.faults.base import Seen
from aegis.faults.rewrites.near_misses import NearMisses
from aegis.faults.rewrites.records import scalar, shared
from aegis.faults.rewrites.toollists import Room
from aegis.gateway.base import Request
from aegis.gateway.deliver import Whole
from support.fuzzing import examples
from support.gateway_server import World
from support.storm import HOST, Storm, rule, storm

NEAR = "rewrite/near-misses"
TARGET = ORDERS[0]


def near(net: World, value: Any, target: str = "/orders", **params: Any) -> tuple[Any, Storm]:
    given = {"named": ["1042"], "count": 3, **params}
    weather = storm(net, [rule(NEAR, id="near", **given)], serving({target.partition("?")[0]: value}))
    return get(weather, target).json(), weather


def added(found: list[Any], before: list[Any]) -> list[Any]:
    left = [item for item in found if item not in before]
    assert [item for item in found if item in before] == before
    return left


def test_near_misses_are_the_target_but_for_its_key_and_one_more_value(net: World) -> None:
    found, weather = near(net, {"data": ORDERS, "total": 3})
    made = added(found["data"], ORDERS)
    assert found["total"] == 3
    assert len(made) == 3
    assert len({record["id"] for record in made} | {order["id"] for order in ORDERS}) == 6
    for record in made:
        assert list(record) == list(TARGET)
        assert (record["customer"], record["item"]) == (17, "Standing desk")
        digits = sum(a != b for a, b in zip(str(record["id"]), "1042", strict=True))
        assert 1 <= digits <= 2
        assert (record["total"] == TARGET["total"]) is not (record["ordered_on"] == TARGET["ordered_on"])
    assert get(weather, "/orders").json() == found
    assert [item.rewrites for item in weather.exchanges(2)] == [("near",), ("near",)]


def test_a_near_miss_can_be_looked_up_and_the_target_stays_upstreams(net: World) -> None:
    pages = {"/orders": ORDERS, "/orders/1042": TARGET}
    weather = storm(net, [rule(NEAR, named=["1042"])], serving(pages))
    assert get(weather, "/orders/1043").status_code == 404
    made = added(get(weather, "/orders").json(), ORDERS)
    for record in made:
        answer = get(weather, f"/orders/{record['id']}")
        assert (answer.status_code, answer.json()) == (200, record)
    assert get(weather, "/orders/1042").json() == TARGET
    assert get(weather, "/orders/9999").status_code == 404


def test_a_search_keeps_its_best_result_first(net: World) -> None:
    found, _ = near(net, ORDERS, "/search?q=standing+desk", count=12)
    assert found[0] == TARGET
    assert len(found) == 15


def test_what_was_filtered_by_stays(net: World) -> None:
    found, _ = near(net, {"results": ORDERS}, "/orders?customer=17&sort=id")
    assert {record["customer"] for record in found["results"]} == {17}
    assert len(found["results"]) == 6


@pytest.mark.parametrize(
    ("value", "target", "params"),
    [
        (TARGET, "/orders/1042", {}),
        ({"order": TARGET}, "/orders/1042", {}),
        ({"data": ORDERS}, "/orders?limit=3", {}),
        ({"data": ORDERS}, "/orders?id=1042", {}),
        ({"data": ORDERS}, "/orders?status=open", {}),
        ({"data": ORDERS}, "/orders", {"named": ["9999"]}),
        ({"data": ORDERS}, "/orders?customer=17", {"named": ["17"]}),
        ({"id": 1042, "lines": [{"id": 1, "order": 1042}, {"id": 2, "order": 1042}]}, "/x", {}),
        ([1042, 1043], "/ids", {}),
    ],
)
def test_where_there_is_nothing_to_mistake_nothing_is_added(
    net: World, value: Any, target: str, params: dict[str, Any]
) -> None:
    found, weather = near(net, value, target, **params)
    assert found == value
    assert [item.rewrites for item in weather.exchanges(1)] == [()]


def test_the_same_number_in_another_account(net: World) -> None:
    records = [
        {"account": "A-17", "number": 1042, "state": "open"},
        {"account": "A-18", "number": 2001, "state": "done"},
    ]
    found, _ = near(net, records, count=4, key=["account", "number"])
    made = added(found, records)
    assert [record["number"] == 1042 for record in made].count(True) == 2
    assert [record["account"] == "A-17" for record in made].count(True) == 2
    keys = {(record["account"], record["number"]) for record in found}
    assert len(keys) == 6


def test_a_tool_that_lists(net: World) -> None:
    tools = [{"name": "list_orders", "outputSchema": {"type": "object"}}]
    weather = storm(
        net,
        [rule(NEAR, named=["1042"])],
        tool_server(tools, lambda name, arguments: texts({"orders": ORDERS})),
    )
    ask(weather, "tools/list")
    found = call(weather, "list_orders", customer=17)
    assert len(added(found["structuredContent"]["orders"], ORDERS)) == 3
    assert json.loads(found["content"][0]["text"]) == found["structuredContent"]
    assert call(weather, "list_orders", limit=5) == texts({"orders": ORDERS})
    assert call(weather, "get_order", order_id=1042) == texts({"orders": ORDERS})


SCALARS = st.none() | st.booleans() | st.integers(0, 99) | st.text("ab1é#", max_size=3)
RECORDS = st.lists(
    st.dictionaries(st.sampled_from(["id", "order", "name", "sku", "x"]), SCALARS, min_size=1),
    min_size=1,
    max_size=5,
)


def seen() -> Seen:
    return Seen(Request("GET", "https", HOST, 443, "/x", (), Whole(b"")), b"", None, 0.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("listing", "named"),
    [
        ([{"id": 40, "order": 0}, {"id": 0}, {"id": None, "order": 31, "name": "a"}], ["40", "a"]),
        ([{"x": 1, "name": 1, "id": 0}, {"name": 1}, {"name": 2}], ["1", "0"]),
        ([{"id": "", "order": 0, "name": 5}], ["5"]),
    ],
)
def test_no_value_that_was_moved_or_kept_makes_one_of_what_is_named(
    listing: list[Any], named: list[str]
) -> None:
    for count in range(1, 40):
        changed = [dict(record) for record in listing]
        NearMisses(NearMisses.read({"named": named, "count": count}))._add(seen(), changed, Room())
        added = [record for record in changed if record not in listing]
        assert not [record for record in added if {scalar(value) for value in record.values()} & set(named)]


def test_an_id_that_is_also_what_records_have_in_common_names_none() -> None:
    listing = [{"id": "1", "order": "1"}, {"id": "2", "order": "1"}]
    assert not NearMisses(NearMisses.read({"named": ["1"], "count": 1}))._add(seen(), listing, Room())


@settings(max_examples=examples(300), deadline=None)
@given(RECORDS, st.data())
def test_no_near_miss_has_the_key_of_a_target(records: list[dict[str, Any]], data: Any) -> None:
    known = [text for record in records for value in record.values() if (text := scalar(value))]
    named = set(data.draw(st.lists(st.sampled_from(known), max_size=2))) if known else set()
    count = data.draw(st.integers(1, 5))
    before = json.dumps(records)
    listing = json.loads(before)
    rewrite = NearMisses(NearMisses.read({"named": list(named), "count": count}))
    changed = rewrite._add(seen(), listing, Room())
    assert changed is (len(listing) > len(records))
    left = iter(listing)
    assert all(any(item == wanted for item in left) for wanted in records)

    told = rewrite.named - shared(records)

    def naming(items: list[dict[str, Any]]) -> list[Any]:
        return [item for item in items if {scalar(value) for value in item.values()} & told]

    if changed:
        assert len(naming(listing)) == len(naming(records))


@pytest.mark.parametrize("params", [{"count": 0}, {"key": "id"}, {"named": 1042}])
def test_parameters_that_make_no_sense(params: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        NearMisses.read(params)
