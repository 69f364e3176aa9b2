from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
import requests

from aegis.faults.silent_noop import SilentNoop
from aegis.faults.toolschemas import plausible
from support.gateway_server import World
from support.mcp_storm import mcp_storm
from support.storm import HOST, Storm, rule, storm


def send(weather: Storm, method: str, path: str, **more: Any) -> requests.Response:
    url = f"http://127.0.0.1:{weather.port}{path}"
    return requests.request(method, url, headers={"Host": HOST}, timeout=60, **more)


def test_the_object_comes_back_with_an_id_and_nothing_is_done(net: World) -> None:
    def answers() -> list[Any]:
        weather = storm(net, [rule("silent-noop")])
        found = [send(weather, "POST", "/refunds", json={"order": 1042, "sum": 9.5}) for _ in range(3)]
        assert [item.status_code for item in found] == [200] * 3
        assert weather.upstream.received == []
        return [item.json() for item in found]

    found = answers()
    assert found == answers()
    ids = {item.pop("id") for item in found}
    assert len(ids) == 3
    assert found == [{"order": 1042, "sum": 9.5}] * 3


@pytest.mark.parametrize(
    ("method", "path", "sent", "expected"),
    [
        ("PUT", "/orders/or_7", {"json": {"status": "x"}}, {"id": "or_7", "status": "x"}),
        ("PATCH", "/orders/a%20b/?v=1", {"json": {"id": 3}}, {"id": 3}),
        ("DELETE", "/orders/or_7", {}, {"id": "or_7", "deleted": True}),
        ("PUT", "/orders/7", {"data": {"a": "1", "b": ""}}, {"id": "7", "a": "1", "b": ""}),
        ("PUT", "/orders/7", {"data": b"\xff\xfe"}, {"id": "7"}),
        ("POST", "/bulk", {"json": [{"a": 1}]}, [{"a": 1}]),
        ("PUT", "/orders/7", {"json": {"a": "\ud800"}}, {"id": "7", "a": "\ud800"}),
    ],
)
def test_what_each_kind_of_write_gets(net: World, method: str, path: str, sent: Any, expected: Any) -> None:
    weather = storm(net, [rule("silent-noop")])
    assert send(weather, method, path, **sent).json() == expected
    assert weather.upstream.received == []


def test_an_answer_can_be_given_with_places_that_the_request_fills(net: World) -> None:
    body = {
        "id": "re_1",
        "order": "{{$.order.id}}",
        "lines": ["{{ $.lines[1] }}", "{{$.none}}"],
        "note": "refund of {{$.sum}} for {{$.order}}{{$.none}}",
    }
    weather = storm(net, [rule("silent-noop", status=201, body=body)])
    answer = send(
        weather, "POST", "/refunds", json={"order": {"id": 1042}, "sum": 9.5, "lines": [1, {"a": 2}]}
    )
    assert (answer.status_code, answer.reason) == (201, "Created")
    assert answer.json() == {
        "id": "re_1",
        "order": 1042,
        "lines": [{"a": 2}, None],
        "note": 'refund of 9.5 for {"id":1042}',
    }


def test_no_content_has_none(net: World) -> None:
    weather = storm(net, [rule("silent-noop", status=204)])
    with requests.Session() as session:
        url = f"http://127.0.0.1:{weather.port}/orders/1"
        answers = [session.delete(url, headers={"Host": HOST}, timeout=60) for _ in range(2)]
    assert [(item.status_code, item.content) for item in answers] == [(204, b"")] * 2
    assert "Content-Length" not in answers[0].headers


def test_a_long_body_is_not_echoed(net: World) -> None:
    weather = storm(net, [rule("silent-noop")])
    assert send(weather, "PUT", "/files/7", data=b"x" * 2_000_000).json() == {"id": "7"}
    assert weather.upstream.received == []


@pytest.mark.parametrize(
    ("method", "body"),
    [
        ("GET", None),
        ("OPTIONS", None),
        ("POST", {"jsonrpc": "2.0", "id": 1, "method": "initialize"}),
        ("POST", [{"jsonrpc": "2.0", "method": "notifications/x"}]),
    ],
)
def test_reads_and_other_messages_pass_and_are_no_hits(net: World, method: str, body: Any) -> None:
    weather = storm(net, [rule("silent-noop")])
    assert send(weather, method, "/x", json=body).json()["method"] == method
    report = weather.report("silent-noop")
    assert (report.matched, report.fired) == (1, 0)


@pytest.mark.parametrize("json_response", [True, False])
@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_an_mcp_tool_says_that_it_has_done_it(net: World, json_response: bool, mode: str) -> None:
    hit = rule("silent-noop", match={"tool": ("cancel_order",)}, text="order {{$.order_id}} is cancelled")
    with mcp_storm(net, [hit], json_response=json_response) as world:
        (result,) = world.call("cancel_order", 5, mode=mode)
        assert world.shop.calls == []
    assert not result.is_error
    assert result.content[0].text == "order 5 is cancelled"
    # The tool's output schema asks for it, and the client would raise without it.
    assert result.structured_content == {"result": "order 5 is cancelled"}


def test_a_tool_with_a_schema_of_its_own_satisfies_it(net: World) -> None:
    with mcp_storm(net, [rule("silent-noop", match={"tool": ("lookup_order",)})]) as world:
        (result,) = world.call("lookup_order", 5)
    assert result.structured_content == {"order_id": 5, "status": "Done."}
    assert json.loads(result.content[0].text) == result.structured_content


def test_a_tools_whole_result_can_be_given(net: World) -> None:
    body = {"order_id": "{{$.order_id}}", "status": "cancelled"}
    with mcp_storm(net, [rule("silent-noop", match={"tool": ("lookup_order",)}, body=body)]) as world:
        (result,) = world.call("lookup_order", 5)
    assert result.structured_content == {"order_id": 5, "status": "cancelled"}


def test_a_client_that_listed_no_tools_gets_the_text(net: World) -> None:
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "x", "arguments": {"a": 1}}}
    weather = storm(net, [rule("silent-noop")])
    assert send(weather, "POST", "/mcp", json=call).json()["result"] == {
        "content": [{"type": "text", "text": "Done."}],
        "isError": False,
    }


SCHEMAS: list[dict[str, Any]] = [
    {"type": "object", "properties": {"result": {"type": "string"}}, "required": ["result"]},
    {"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}}, "required": ["n"]},
    {"type": "object", "required": ["anything"]},
    {"type": "object", "properties": {"known": {"type": "string"}}, "required": []},
    {
        "$defs": {"Line": {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}},
        "type": "object",
        "properties": {
            "lines": {"type": "array", "items": {"$ref": "#/$defs/Line"}, "minItems": 2},
            "state": {"enum": ["open", "closed"]},
            "kind": {"const": "order"},
            "note": {"anyOf": [{"type": "null"}, {"type": "string"}]},
            "flag": {"type": ["null", "boolean"]},
            "none": {"type": "null"},
        },
        "required": ["lines", "state", "kind", "note", "flag", "none"],
    },
]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_values_satisfy_their_schema(schema: dict[str, Any]) -> None:
    value = plausible(schema, {"known": "yes", "n": "no number"}, "Done.")
    jsonschema.validate(value, schema)
    assert "known" not in schema.get("properties", {}) or value["known"] == "yes"


@pytest.mark.parametrize(
    "schema",
    [{"$ref": "#"}, {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}}, {"anyOf": 3}, {"required": [1]},
     {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}],
)  # fmt: skip
def test_schemas_that_nobody_could_satisfy_end(schema: dict[str, Any]) -> None:
    json.dumps(plausible(schema, {}, "x"))


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"body": {"a": ["{{$.a[}}"]}}, "JSON path"),
        ({"text": "{{ $..a }}"}, "JSON path"),
        ({"status": 301}, "from 200 to 299"),
    ],
)
def test_parameters_that_make_no_sense(params: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SilentNoop.read(params)
