"""Which exchanges a rule is about."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from aegis.faults.base import Seen
from aegis.faults.plan.match import (
    compile_match,
    covers_host,
    covers_place,
    describe,
    glob,
    is_of_requests,
    needs_body,
    tool_of,
)
from aegis.gateway.base import Request
from aegis.suite.model import FaultMatch
from support.weather import Sent

PLACEHOLDERS = {"CRM_TOKEN": "tok-abcdefgh", "OTHER": "oth-12345678"}


def seen(
    body: Any = None,
    *,
    method: str = "GET",
    host: str = "crm.example",
    port: int = 443,
    target: str = "/orders/1042?page=2",
    headers: dict[str, str] | None = None,
) -> Seen:
    raw = b"" if body is None else json.dumps(body).encode()
    pairs = tuple((name.encode(), text.encode()) for name, text in (headers or {}).items())
    request = Request(method, "https", host, port, target, pairs, Sent(raw))
    return Seen(request, raw, body, 0.0)


def call(tool: Any = "lookup_order", **more: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, **more}}


def matches(match: dict[str, Any], exchange: Seen) -> bool:
    return compile_match(FaultMatch(**match), PLACEHOLDERS)(exchange)


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ({}, True),
        ({"host": ("crm.example",)}, True),
        ({"host": ("*.example",)}, True),
        ({"host": ("shop.example", "crm.*")}, True),
        ({"host": ("example",)}, False),
        ({"host": ("crm_example",)}, False),
        ({"port": 443}, True),
        ({"port": 80}, False),
        ({"method": ("POST", "GET")}, True),
        ({"method": ("POST",)}, False),
        ({"path": ("/orders/1042",)}, True),
        ({"path": ("/orders/*",)}, True),
        ({"path": ("*2",)}, True),
        ({"path": ("/orders",)}, False),
        ({"path": ("/orders/1042?page=2",)}, False),
        ({"path": ("/orders/????",)}, False),
        ({"host": ("crm.example",), "method": ("POST",)}, False),
    ],
)
def test_place_method_and_path(match: dict[str, Any], expected: bool) -> None:
    assert matches(match, seen()) is expected


BODY = {
    "order": 1042,
    "open": True,
    "note": "urgent: please",
    "items": [{"sku": "a"}, {"sku": "b"}],
    "none": None,
}


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("$.order", 1042, True),
        ("$.order", 1042.0, True),
        ("$.order", "1042", False),
        ("$.order", 1, False),
        ("$.open", True, True),
        ("$.open", 1, False),
        ("$.note", "urgent*", True),
        ("$.note", "*please", True),
        ("$.note", "urgent", False),
        ("$.items[*].sku", "b", True),
        ("$.items[0].sku", "b", False),
        ("$.none", None, True),
        ("$.missing", None, False),
    ],
)
def test_values_in_the_body(path: str, value: Any, expected: bool) -> None:
    assert matches({"body": {path: value}}, seen(BODY, method="POST")) is expected


def test_every_value_must_stand_there() -> None:
    assert matches({"body": {"$.order": 1042, "$.open": True}}, seen(BODY))
    assert not matches({"body": {"$.order": 1042, "$.open": False}}, seen(BODY))
    assert not matches({"body": {"$.order": 1042}}, seen())


@pytest.mark.parametrize(
    ("message", "tool"),
    [
        (call(), "lookup_order"),
        (call(arguments={"a": 1}), "lookup_order"),
        (call(5), None),
        ({**call(), "method": "tools/list"}, None),
        ({**call(), "jsonrpc": "1.0"}, None),
        ({"jsonrpc": "2.0", "method": "tools/call", "params": []}, None),
        ([call()], None),
        ("tools/call", None),
        (None, None),
    ],
)
def test_the_tool_that_is_called(message: Any, tool: str | None) -> None:
    assert tool_of(message) == tool
    assert matches({"call": "tool"}, seen(message)) is (tool is not None)
    assert matches({"tool": ("lookup_*", "refund")}, seen(message)) is (tool is not None)
    assert not matches({"tool": ("refund",)}, seen(message))


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("POST", "/v1/chat/completions", True),
        ("POST", "/v1/responses?stream=1", True),
        ("POST", "/v1/messages", True),
        ("POST", "/v1beta/models/gemini-x:streamGenerateContent", True),
        ("GET", "/v1/messages", False),
        ("POST", "/v1/messages/batches", False),
        ("POST", "/orders", False),
    ],
)
def test_calls_of_a_model(method: str, target: str, expected: bool) -> None:
    assert matches({"call": "model"}, seen(method=method, target=target)) is expected


BASIC = "Basic " + base64.b64encode(b"user:tok-abcdefgh").decode()


@pytest.mark.parametrize(
    ("headers", "target", "carried"),
    [
        ({}, "/", set()),
        ({"Authorization": "Bearer tok-abcdefgh"}, "/", {"CRM_TOKEN", "any"}),
        ({"X-Api-Key": "tok-abcdefgh"}, "/", {"CRM_TOKEN", "any"}),
        ({"X-Whatever": "tok-abcdefgh"}, "/", {"CRM_TOKEN"}),
        ({"Authorization": BASIC}, "/", {"CRM_TOKEN", "any"}),
        ({"Authorization": "Basic !!!"}, "/", {"any"}),
        ({"Authorization": "Bearer issued-on-the-way"}, "/", {"any"}),
        ({}, "/?key=tok-abcdefgh", {"CRM_TOKEN"}),
    ],
)
def test_the_credential(headers: dict[str, str], target: str, carried: set[str]) -> None:
    exchange = seen(headers=headers, target=target)
    found = {name for name in ("CRM_TOKEN", "OTHER", "any") if matches({"credential": name}, exchange)}
    assert found == carried
    assert matches({"credential": "none"}, exchange) is ("any" not in carried)
    assert not matches({"credential": "NO_SUCH_SECRET"}, exchange)


@pytest.mark.parametrize(
    ("match", "body", "requests"),
    [
        ({"host": ("a",), "port": 1}, False, False),
        ({"method": ("GET",)}, False, True),
        ({"path": ("/",)}, False, True),
        ({"call": "model"}, False, True),
        ({"call": "tool"}, True, True),
        ({"tool": ("a",)}, True, True),
        ({"body": {"$.a": 1}}, True, True),
        ({"credential": "any"}, False, True),
    ],
)
def test_what_it_has_to_look_at(match: dict[str, Any], body: bool, requests: bool) -> None:
    assert needs_body(FaultMatch(**match)) is body
    assert is_of_requests(FaultMatch(**match)) is requests


def test_places() -> None:
    match = FaultMatch(host=("db.*", "cache.example"), port=5432)
    assert covers_place(match, "db.example", 5432)
    assert not covers_place(match, "db.example", 80)
    assert not covers_place(match, "crm.example", 5432)
    assert covers_host(match, "cache.example")
    assert covers_place(FaultMatch(), "anything", 1)


def test_many_stars_take_no_time() -> None:
    assert not glob("/" + "*a" * 12 + "*b", "/" + "a" * 3000)
    assert not glob("*" * 200 + "b", "a" * 100_000)
    assert glob("/a**b", "/a\nb")
    assert not glob("a.c", "abc")


@pytest.mark.parametrize(
    ("match", "words"),
    [
        ({}, "everything"),
        ({"host": ("crm.example",), "path": ("/orders/*",), "method": ("GET",)}, "GET crm.example/orders/*"),
        ({"host": ("a", "b"), "port": 81, "method": ("GET", "PUT")}, "GET/PUT a|b:81"),
        ({"call": "model"}, "model calls"),
        ({"tool": ("a", "b*")}, "tool a|b*"),
        ({"body": {"$.order": 1042, "$.open": True}}, "$.order=1042, $.open=true"),
        ({"credential": "any"}, "credential any"),
    ],
)
def test_in_words(match: dict[str, Any], words: str) -> None:
    assert describe(FaultMatch(**match)) == words
