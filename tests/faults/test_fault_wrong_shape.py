from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from aegis.faults import jsonpath, shapes
from aegis.faults.wrong_shape import WrongShape
from support.gateway_server import World
from support.http_upstream import HttpUpstream, response, says
from support.mcp_storm import mcp_storm
from support.storm import HOST, Storm, rule, storm

ORDER = {
    "order_id": 1042,
    "status": "paid",
    "lines": [{"unit_price": 9.5, "sku": "a"}, {"unit_price": 1, "sku": "b"}],
}


def served(value: Any) -> HttpUpstream:
    return HttpUpstream(says(response(json.dumps(value).encode(), Content_Type="application/json")))


def get(weather: Storm, path: str = "/orders/1042") -> Any:
    return requests.get(f"http://127.0.0.1:{weather.port}{path}", headers={"Host": HOST}, timeout=60).json()


def test_fields_are_gone_renamed_and_of_another_type(net: World) -> None:
    params = {
        "remove": ["$.lines[*].sku"],
        "rename": {"status": "state", "$.lines[*].unit_price": "price"},
        "retype": {"$.order_id": "string", "$.lines[*].unit_price": "string"},
    }
    assert get(storm(net, [rule("wrong-shape", **params)], served(ORDER))) == {
        "order_id": "1042",
        "state": "paid",
        "lines": [{"price": "9.5"}, {"price": "1"}],
    }


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (
            "string",
            [("a", "a"), (1.5, "1.5"), (True, "true"), (None, ""), ([1], "[1]"), ({"a": "é"}, '{"a":"é"}')],
        ),
        ("number", [("12", 12), ("-1.5", -1.5), ("abc", 0), ("1e5", 0), (True, 1), (None, 0), (7, 7)]),
        ("boolean", [("a", True), (0, False), ([], False)]),
        ("null", [("a", None)]),
        ("list", [("a", ["a"]), ([1], [1]), (None, [None])]),
        ("object", [("a", {"value": "a"}), ({"b": 1}, {"b": 1})]),
    ],
)
def test_other_types(kind: str, values: list[tuple[Any, Any]]) -> None:
    for old, new in values:
        place = {"a": old}
        changed = shapes.retype(place, jsonpath.parse("a"), kind)
        assert place == {"a": new}
        assert type(place["a"]) is type(new)
        assert changed is (type(old) is not type(new))


def test_a_renamed_field_keeps_its_place() -> None:
    value = {"a": 1, "b": 2, "c": 3}
    assert shapes.rename(value, jsonpath.parse("b"), "beta")
    assert list(value.items()) == [("a", 1), ("beta", 2), ("c", 3)]
    assert shapes.rename(value, jsonpath.parse("beta"), "a")
    assert list(value.items()) == [("a", 2), ("c", 3)]


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("created_at", "createdAt"),
        ("createdAt", "created_at"),
        ("line_2_total", "line2Total"),
        ("id", None),
        ("URL", None),
        ("_id", None),
    ],
)
def test_the_other_way_to_write_a_name(name: str, other: str | None) -> None:
    assert shapes.other_case(name) == other


def test_without_parameters_one_field_of_every_element_changes(net: World) -> None:
    def answers() -> list[Any]:
        weather = storm(net, [rule("wrong-shape")], served(ORDER))
        return [get(weather) for _ in range(20)]

    found = answers()
    assert found == answers()
    one = {key: value for key, value in ORDER.items() if key != "order_id"}
    assert {json.dumps(item, sort_keys=True) for item in found} == {
        json.dumps(item, sort_keys=True)
        for item in (
            {**one, "orderId": 1042},
            {**ORDER, "lines": [{"unitPrice": 9.5, "sku": "a"}, {"unitPrice": 1, "sku": "b"}]},
            {**ORDER, "lines": [{"unit_price": 9.5}, {"unit_price": 1}]},
            {key: value for key, value in ORDER.items() if key != "status"},
        )
    }


@pytest.mark.parametrize("json_response", [True, False])
@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_what_an_mcp_tool_returns_breaks_its_own_schema(net: World, json_response: bool, mode: str) -> None:
    hit = rule("wrong-shape", match={"tool": ("lookup_order",)}, rename={"$.order_id": "orderId"})
    with mcp_storm(net, [hit], json_response=json_response) as world:
        with pytest.raises((RuntimeError, BaseExceptionGroup)) as raised:
            world.call("lookup_order", 5, mode=mode)
        assert "'order_id' is a required property" in _texts(raised.value)
        assert world.shop.calls == [("lookup_order", 5)]
        assert world.report("wrong-shape").fired == 1


@pytest.mark.parametrize("json_response", [True, False])
def test_the_texts_of_an_mcp_tool_change_with_its_structure(net: World, json_response: bool) -> None:
    hit = rule(
        "wrong-shape", match={"tool": ("lookup_order",)}, retype={"$.status": "string", "order_id": "number"}
    )
    other = rule(
        "wrong-shape", id="late", match={"tool": ("lookup_order",)}, on=(2,), rename={"$.order_id": "status"}
    )
    with mcp_storm(net, [other, hit], json_response=json_response) as world:

        async def work(client: Any) -> Any:
            await client.list_tools()
            first = await client.call_tool("lookup_order", {"order_id": 5})
            try:
                await client.call_tool("lookup_order", {"order_id": 6})
            except RuntimeError as error:
                return first, str(error)

        first, error = world.use(work)
    assert first.structured_content == {"order_id": 5, "status": "paid"}
    assert world.report("wrong-shape").notes == (
        "passed unchanged: nothing that it changes is in the response",
    )
    assert "6 is not of type 'string'" in error or "'order_id' is a required property" in error


def _texts(error: BaseException) -> str:
    inner = "".join(map(_texts, error.exceptions)) if isinstance(error, BaseExceptionGroup) else ""
    return f"{error} {inner}"


CALL = {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": "x", "arguments": {}}}


def test_texts_and_wrapped_values_of_a_tool(net: World) -> None:
    inner = json.dumps({"status": "paid", "id": 1})
    message = {
        "jsonrpc": "2.0",
        "id": 3,
        "result": {
            "content": [
                {"type": "text", "text": inner},
                {"type": "text", "text": "plain status"},
                {"type": "image"},
            ],
            "structuredContent": {"result": inner},
        },
    }
    weather = storm(net, [rule("wrong-shape", remove=["status"])], served([{"id": 9}, message]))
    url = f"http://127.0.0.1:{weather.port}/mcp"
    answer = requests.post(url, json=CALL, headers={"Host": HOST}, timeout=60).json()
    assert answer[0] == {"id": 9}
    assert answer[1]["result"] == {
        "content": [
            {"type": "text", "text": '{"id":1}'},
            {"type": "text", "text": "plain status"},
            {"type": "image"},
        ],
        "structuredContent": {"result": '{"id":1}'},
    }


def test_other_messages_of_the_protocol_pass(net: World) -> None:
    weather = storm(net, [rule("wrong-shape")], served({"jsonrpc": "2.0", "id": 3, "result": {"a_b": 1}}))
    url = f"http://127.0.0.1:{weather.port}/mcp"
    for body in ({"jsonrpc": "2.0", "id": 3, "method": "tools/list"}, [CALL]):
        answer = requests.post(url, json=body, headers={"Host": HOST}, timeout=60)
        assert answer.json() == {"jsonrpc": "2.0", "id": 3, "result": {"a_b": 1}}
    assert (weather.report("wrong-shape").matched, weather.report("wrong-shape").fired) == (2, 0)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (response(b'{"id": 1}'), "nothing that it changes is in the response"),
        (response(b'"status"'), "the response is not JSON"),
        (response(b'{"status": 1e999}'), "the response is not JSON"),
        (response(b'{"status": 1}', "500 Oh"), "the response is no success"),
        (response(b"data: {}\n\n", Content_Type="text/event-stream"), "the response is an event stream"),
    ],
)
def test_what_has_another_shape_passes_and_is_no_hit(net: World, data: bytes, why: str) -> None:
    weather = storm(net, [rule("wrong-shape", remove=["status"])], HttpUpstream(says(data)))
    url = f"http://127.0.0.1:{weather.port}/"
    body = data.partition(b"\r\n\r\n")[2]
    assert requests.get(url, headers={"Host": HOST}, timeout=60).content == body
    report = weather.report("wrong-shape")
    assert (report.fired, report.notes) == (0, (f"passed unchanged: {why}",))


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"remove": "$.a"}, "write it as a list"),
        ({"remove": ["$.a["]}, "expected a JSON path"),
        ({"rename": {"$.a": ""}}, "a name"),
        ({"retype": {"$.a": "strin"}}, "did you mean 'string'"),
    ],
)
def test_parameters_that_make_no_sense(params: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        WrongShape.read(params)
