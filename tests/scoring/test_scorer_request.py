"""Scorer `request`: patterns, counts and sequences over what the gateway saw."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from aegis.errors import InfrastructureError
from aegis.scoring import registry
from aegis.scoring.base import Score
from aegis.trace import Body, Exchange
from support import wire
from support.scoring import context

HOST = "crm.example"
LOOKUP = wire.exchange("/orders/1042?full=1&tag=a&tag=b", None, {"paid": 42}, method="GET", host=HOST, id=1)
LIMITED = wire.exchange("/refunds", {"order": 1042, "amount": 42}, {}, status=429, host=HOST, id=2)
REFUND = wire.exchange("/refunds", {"order": 1042, "amount": 42}, {"id": 7}, status=201, host=HOST, id=3)
LOST = replace(REFUND, id=4, status=None, response_body=None, path="/mail", error="upstream-refused: x")
DENIED = replace(REFUND, id=5, kind="denied", host="evil.example", method="", path="", status=None)
OTHER_PORT = replace(REFUND, id=6, host="db.example", port=8443, path="/x")
INSIDE = replace(REFUND, id=7, kind="mcp-stdio", host="crm.mcp-stdio", port=0, path="/tools/call")
ALL = [LOOKUP, LIMITED, REFUND, LOST, DENIED, OTHER_PORT, INSIDE]


def score(config: Any, exchanges: Sequence[Exchange] | None = ALL, **more: Any) -> Score:
    assert registry.check("request", config) == []
    work = registry.get("request").score(config, context(exchanges=exchanges, **more))
    return asyncio.run(work)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "config",
    [
        {"host": HOST},
        {"host": "*.example", "count": 5},
        {"host": "CRM.example:443", "count": 4},
        {"host": "db.example:8443"},
        {"host": "db.example:443", "count": 0},
        {"method": "get", "host": HOST, "path": "/orders/*", "count": 1},
        {"method": ["POST", "PUT"], "path": "/refunds", "count": 2},
        {"path": "/refunds", "status": 201, "count": 1},
        {"path": "/refunds", "status": ["2xx", 404], "count": 1},
        {"path": "/refunds", "status": "4xx", "count": {"max": 1}},
        {"path": "/refunds", "count": {"min": 1, "max": 2}},
        {"path": "/orders/1042", "query": {"full": 1, "tag": "b"}},
        {"path": "/orders/1042", "query": {"full": 2}, "count": 0},
        {"path": "/orders/104", "count": 0},
        {"path": "/orders/1.42", "count": 0},
        {"body": {"json": {"amount": 42}}, "status": "2xx", "count": 2},
        {"body": {"json": {"amount": 43}}, "count": 0},
        {"body": "1042", "response": {"json": {"id": 7}}, "path": "/refunds", "count": 1},
        {"method": "GET", "body": {"equals": ""}},
        {"host": "crm.mcp-stdio", "count": 0},
        {"path": "/tools/call", "denied": False, "count": 0},
        {"host": "evil.example", "count": 0},
        {"host": "evil.example", "denied": True, "count": 1},
        {"denied": True, "count": {"min": 1}},
        {
            "sequence": [
                {"method": "GET"},
                {"path": "/refunds", "status": 429},
                {"path": "/refunds", "status": 201},
            ]
        },
    ],
)
def test_requests_that_are_right(config: Any) -> None:
    found = score(config)
    assert found.passed, found.reason


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (
            {"method": "POST", "host": HOST, "path": "/refunds", "count": 1},
            "expected 1 request: POST crm.example/refunds, found 2: "
            '"POST crm.example/refunds" → 429, "POST crm.example/refunds" → 201',
        ),
        (
            {"host": HOST, "path": "/refund", "count": {"min": 2, "max": 3}},
            "expected 2 to 3 requests: any request to crm.example/refund, found 0; sent to this host: "
            '"GET crm.example/orders/1042?full=1&tag=a&tag=b" → 200, "POST crm.example/refunds" → 429, '
            '"POST crm.example/refunds" → 201 and 1 more',
        ),
        (
            {"host": "no.example"},
            "found 0; nothing was sent to this host (refused by network.allow: evil.example:443)",
        ),
        (
            {"path": "/mail", "status": 200},
            "expected at least 1 request: any request to /mail → 200, found 0",
        ),
        ({"path": "/mail", "count": {"max": 0}}, 'found 1: "POST crm.example/mail" → no response'),
        (
            {"denied": True, "count": 0},
            'refused connections to any host, found 1: a refused connection to "evil',
        ),
        ({"body": {"json": {"amount": 43}}}, 'whose body should be JSON that includes {"amount": 43}'),
        (
            {"sequence": [{"status": 201}, {"method": "GET"}]},
            'expected request 2 of the sequence, GET after "POST crm.example/refunds" → 201, found none',
        ),
        ({"sequence": [{"path": "/nowhere"}, {"method": "GET"}]}, "expected request 1 of the sequence"),
    ],
)
def test_requests_that_are_wrong(config: Any, reason: str) -> None:
    found = score(config)
    assert not found.passed
    assert reason in found.reason


def test_what_a_host_says_cannot_reach_the_terminal() -> None:
    sneaky = replace(REFUND, path="/\x1b[31m\u202e")
    reason = score({"path": "/*", "count": 0}, [sneaky]).reason
    assert reason.isprintable()


def test_long_bodies_are_fetched() -> None:
    stored = replace(REFUND, request_body=Body(9, blob="d"))
    assert score({"body": {"json": {"a": 1}}}, [stored], blobs={"d": b'{"a": 1}'}).passed


def test_a_body_that_was_not_recorded_to_its_end() -> None:
    cut = replace(REFUND, request_body=Body(10**9, text='{"amount": 42, ', truncated=True))
    assert score({"body": "amount", "count": 1}, [cut]).passed
    # With or without it, there are too many: that is certain.
    assert not score({"body": {"json": {"amount": 42}}, "count": 0}, [REFUND, cut]).passed
    with pytest.raises(InfrastructureError, match="longer than is recorded"):
        score({"body": {"json": {"amount": 42}}, "count": 1}, [cut])
    with pytest.raises(InfrastructureError, match="longer than is recorded"):
        score({"body": {"json": {"amount": 42}}, "count": 0}, [cut])
    with pytest.raises(InfrastructureError, match="longer than is recorded"):
        score({"sequence": [{"body": {"json": {}}}, {"method": "GET"}]}, [cut])


def test_without_a_gateway_nobody_can_tell() -> None:
    with pytest.raises(InfrastructureError, match="no gateway recorded this trial"):
        score({"host": HOST, "count": 0}, None)


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ("x", ((), "expected a mapping")),
        ({}, ((), "expected one of method, host")),
        ({"count": 1}, ((), "expected one of method, host")),
        ({"hots": HOST}, (("hots",), "did you mean 'host'?")),
        ({"host": "https://crm.example"}, (("host",), "expected a host such as")),
        ({"path": "refunds"}, (("path",), "begins with /")),
        ({"method": "PO ST"}, (("method",), "expected a method")),
        ({"method": ["GET", 3]}, (("method", 1), "expected a method")),
        ({"method": []}, (("method",), "at least one")),
        ({"status": "2x"}, (("status",), "or 2xx")),
        ({"status": [200, 99]}, (("status", 1), "from 100 to 599")),
        ({"path": "/", "count": -1}, (("count",), "expected a whole number")),
        ({"path": "/", "count": {}}, (("count",), "expected min, max")),
        ({"path": "/", "count": {"min": 3, "max": 1}}, (("count",), "min 3 is more than max 1")),
        ({"path": "/", "count": {"least": 1}}, (("count", "least"), "unknown key")),
        ({"query": ["a"]}, (("query",), "expected a mapping")),
        ({"query": {"a": [1]}}, (("query", "a"), "expected a text or a number")),
        ({"body": {"jsn": {}}}, (("body", "jsn"), "did you mean 'json'?")),
        ({"denied": "yes"}, (("denied",), "expected true or false")),
        ({"denied": True, "path": "/x"}, (("path",), "carried no request")),
        ({"sequence": [{"path": "/"}]}, (("sequence",), "two or more")),
        ({"sequence": [{"path": "/"}, {"pth": "/"}]}, (("sequence", 1, "pth"), "did you mean 'path'?")),
        ({"sequence": [{"path": "/"}, {"path": "x"}]}, (("sequence", 1, "path"), "begins with /")),
        ({"sequence": [{"path": "/"}, "x"]}, (("sequence", 1), "expected a mapping")),
        ({"sequence": [], "count": 1}, (("count",), "stands beside a sequence")),
    ],
)
def test_configurations_that_are_refused(config: Any, problem: tuple[Any, str]) -> None:
    path, message = registry.check("request", config)[0]
    assert path == problem[0]
    assert problem[1] in message
