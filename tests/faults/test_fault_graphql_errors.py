from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from support.gateway_server import World
from support.http_upstream import HttpUpstream, response, says
from support.storm import HOST, Storm, rule, storm

QUERY = {"query": "query Q { order(id: 1042) { status } customer { name } }", "variables": {}}
DATA = {"data": {"order": {"status": "paid"}, "customer": {"name": "Ada"}, "draft": None}}


def served(value: Any) -> HttpUpstream:
    return HttpUpstream(says(response(json.dumps(value).encode(), Content_Type="application/json")))


def ask(
    weather: Storm, body: Any, method: str = "POST", query: dict[str, str] | None = None
) -> requests.Response:
    url = f"http://127.0.0.1:{weather.port}/graphql"
    return requests.request(method, url, json=body, params=query, headers={"Host": HOST}, timeout=60)


def test_errors_and_no_data_under_status_200(net: World) -> None:
    weather = storm(net, [rule("graphql-errors", message="boom", code="TIMEOUT")], served(DATA))
    answer = ask(weather, QUERY)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == {"data": None, "errors": [{"message": "boom", "extensions": {"code": "TIMEOUT"}}]}
    assert weather.upstream.received == []


def test_partial_data_with_the_path_of_what_failed(net: World) -> None:
    def answers() -> list[Any]:
        weather = storm(net, [rule("graphql-errors", partial=True)], served(DATA))
        return [ask(weather, QUERY).json() for _ in range(12)]

    found = answers()
    assert found == answers()
    failed = set()
    for value in found:
        (error,) = value["errors"]
        (field,) = error["path"]
        failed.add(field)
        assert value["data"] == {**DATA["data"], field: None}
        assert error["extensions"] == {"code": "INTERNAL_SERVER_ERROR"}
    assert failed == {"order", "customer"}


def test_errors_that_were_there_stay(net: World) -> None:
    old = {"message": "draft is gone", "path": ["draft"]}
    weather = storm(net, [rule("graphql-errors", partial=True)], served({**DATA, "errors": [old]}))
    errors = ask(weather, QUERY).json()["errors"]
    assert errors[0] == old
    assert len(errors) == 2


def test_a_batch_is_answered_as_one(net: World) -> None:
    weather = storm(net, [rule("graphql-errors")], served([]))
    assert [item["data"] for item in ask(weather, [QUERY, QUERY, QUERY]).json()] == [None] * 3
    weather = storm(net, [rule("graphql-errors", partial=True)], served([DATA, DATA]))
    nulls = [
        value for item in ask(weather, [QUERY, QUERY]).json() for value in item["data"].values() if not value
    ]
    assert len(nulls) == 3


@pytest.mark.parametrize(
    ("method", "body", "query", "hit"),
    [
        ("POST", QUERY, None, True),
        ("POST", {"extensions": {"persistedQuery": {"sha256Hash": "0"}}, "operationName": "Q"}, None, True),
        ("GET", None, {"query": "{ order { status } }"}, True),
        ("GET", None, {"extensions": '{"persistedQuery":{"version":1}}'}, True),
        ("GET", None, {"query": "shoes"}, False),
        ("POST", {"query": "shoes"}, None, False),
        ("POST", [QUERY, {"query": 1}], None, False),
        ("POST", [], None, False),
        ("POST", {"data": 1}, None, False),
        ("PUT", QUERY, None, False),
    ],
)
def test_what_is_a_graphql_request(
    net: World, method: str, body: Any, query: dict[str, str] | None, hit: bool
) -> None:
    weather = storm(net, [rule("graphql-errors")], served({"data": {"a": 1}}))
    answer = ask(weather, body, method, query).json()
    assert ("errors" in answer) is hit
    report = weather.report("graphql-errors")
    assert (report.matched, report.fired) == (1, int(hit))


@pytest.mark.parametrize(
    "value", [{"data": None}, {"data": {"a": None}}, {"errors": []}, [1, {"data": []}], {"data": {}}]
)
def test_an_answer_without_data_passes_and_is_no_hit(net: World, value: Any) -> None:
    weather = storm(net, [rule("graphql-errors", partial=True)], served(value))
    assert ask(weather, QUERY).json() == value
    report = weather.report("graphql-errors")
    assert (report.fired, report.notes) == (0, ("passed unchanged: no field has data",))
