"""Rule `no-duplicate-writes`: what may have been done is not done a second time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from aegis.trace import Exchange
from support.resilience import CHAT, broken, idle, kept, sent

RULE = "no-duplicate-writes"
REFUND: dict[str, Any] = {"method": "POST", "path": "/refunds", "body": {"order": 1042, "amount": 42}}
RESET: dict[str, Any] = {"status": None, "error": "injected: the connection is reset"}


def refund(id: int, at_s: float, status: int | None = 200, **more: Any) -> Exchange:
    return sent(id, at_s, status, **{**REFUND, **more})


def test_the_reason_has_the_times_of_the_requests() -> None:
    assert broken(RULE, [refund(1, 1.0, **RESET), refund(2, 1.6, 201)]) == (
        "POST crm.example/refunds got no answer (the connection is reset) at 1.10 s (exchange 1), so that it may have "
        "been done, and was sent again at 1.60 s (exchange 2) without an idempotency key and without a look in between"
    )


@pytest.mark.parametrize(
    "ended",
    [
        RESET,
        {"status": None, "error": "client-gone: the client left before the response was complete"},
        {"status": 500},
        {"status": 502},
        {"status": 504},
        {"status": 503},
        {"status": 201, "error": "injected: the body ends after 3 of 60 bytes"},
    ],
)
def test_ends_that_leave_it_open(ended: dict[str, Any]) -> None:
    assert kept(RULE, [refund(1, 1.0, **ended)])
    assert broken(RULE, [refund(1, 1.0, **ended), refund(2, 2.0, 201)])


@pytest.mark.parametrize(
    "ended",
    [
        {"status": 429},
        {"status": 529},
        {"status": 501},
        {"status": 409},
        {"status": 503, "answered": {"Retry-After": "1"}},
        {"status": 201},
    ],
)
def test_ends_that_are_certain(ended: dict[str, Any]) -> None:
    assert idle(RULE, [refund(1, 1.0, **ended), refund(2, 3.0, 201)])


def test_an_idempotency_key() -> None:
    key, other = {"Idempotency-Key": "k-1"}, {"Idempotency-Key": "k-2"}
    assert kept(RULE, [refund(1, 1.0, 500, headers=key), refund(2, 2.0, headers=key)])
    assert "with another idempotency key" in broken(
        RULE, [refund(1, 1.0, 500, headers=key), refund(2, 2.0, headers=other)]
    )
    assert "without its idempotency key" in broken(RULE, [refund(1, 1.0, 500, headers=key), refund(2, 2.0)])


@pytest.mark.parametrize("field", ["idempotency_key", "request_id", "clientToken"])
def test_an_idempotency_key_in_the_body(field: str) -> None:
    first, second = ({**REFUND["body"], field: value} for value in ("k-1", "k-2"))
    assert kept(RULE, [refund(1, 1.0, 500, body=first), refund(2, 2.0, body=first)])
    assert "with another idempotency key" in broken(
        RULE, [refund(1, 1.0, 500, body=first), refund(2, 2.0, body=second)]
    )


def test_a_look_in_between() -> None:
    first, again = refund(1, 1.0, 500), refund(9, 5.0, 201)
    for look in (
        sent(2, 2.0, 200, path="/refunds?order=1042"),
        sent(2, 2.0, 404, path="/refunds/1042"),
        sent(2, 2.0, 200, method="POST", path="/refunds/search", body={"order": 1042}),
        sent(2, 2.0, 200, method="POST", path="/graphql", body={"query": "{ refunds { id } }"}),
    ):
        assert kept(RULE, [first, look, again])
    for blind in (
        sent(2, 2.0, 200, host="mail.example"),
        sent(2, 2.0, 503),
        sent(2, 0.5, 200),
        sent(2, 4.0, 200, took_s=3.0),
        sent(2, 2.0, 200, method="POST", path="/graphql", body={"query": "mutation { refund }"}),
        sent(2, 2.0, 201, method="POST", path="/notes", body={}),
    ):
        assert broken(RULE, [first, blind, again])


@pytest.mark.parametrize(
    "request_",
    [
        {"method": "PUT", "path": "/refunds/7", "body": {"amount": 42}},
        {"method": "DELETE", "path": "/refunds/7"},
        {"method": "GET", "path": "/refunds"},
        {"method": "POST", "path": CHAT, "host": "api.openai.com", "body": {"model": "m", "messages": []}},
        {"method": "POST", "path": "/oauth/token", "body": "grant_type=refresh_token&refresh_token=x"},
        {"method": "POST", "path": "/refunds/search", "body": {"order": 1042}},
        {
            "method": "POST",
            "path": "/api/conversations.history",
            "host": "slack.com",
            "body": {"channel": "C1"},
        },
    ],
)
def test_what_may_be_sent_twice(request_: dict[str, Any]) -> None:
    assert idle(RULE, [sent(1, 1.0, 500, **request_), sent(2, 2.0, 200, **request_)])


def test_another_amount_is_another_write() -> None:
    assert kept(RULE, [refund(1, 1.0, 500), refund(2, 2.0, 201, body={"order": 1042, "amount": 43})])


def tool(id: int, at_s: float, name: str, status: int | None = 200, rpc_id: int = 1) -> Exchange:
    body = {"jsonrpc": "2.0", "id": rpc_id, "method": "tools/call", "params": {"name": name, "arguments": {}}}
    return sent(id, at_s, status, method="POST", path="/mcp", body=body)


def listing(name: str, hints: dict[str, Any]) -> Exchange:
    asked = {"jsonrpc": "2.0", "id": 0, "method": "tools/list"}
    tools = {"jsonrpc": "2.0", "id": 0, "result": {"tools": [{"name": name, "annotations": hints}]}}
    return sent(1, 0.5, method="POST", path="/mcp", body=asked, answer=tools)


def test_tools_of_an_mcp_server() -> None:
    lost, again = tool(2, 1.0, "issue_refund", 500), tool(3, 2.0, "issue_refund", rpc_id=2)
    assert "POST crm.example/mcp (tool issue_refund) got 500" in broken(RULE, [lost, again])
    for hints in ({"readOnlyHint": True}, {"idempotentHint": True}):
        assert idle(RULE, [listing("issue_refund", hints), lost, again])
    assert broken(RULE, [listing("issue_refund", {"readOnlyHint": False}), lost, again])
    assert idle(RULE, [tool(2, 1.0, "lookup_order", 500), tool(3, 2.0, "lookup_order", rpc_id=2)])
    assert kept(RULE, [lost, tool(3, 1.5, "list_refunds"), replace(again, id=4)])
    # A new session with the server is no look at what it holds.
    hello = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}
    greeted = sent(
        3, 1.5, method="POST", path="/mcp", body=hello, answer={"jsonrpc": "2.0", "id": 1, "result": {}}
    )
    assert broken(RULE, [lost, greeted, replace(again, id=4)])


def test_a_program_that_ended_in_the_middle() -> None:
    def stdio(id: int, at_s: float, error: str | None) -> Exchange:
        call = tool(id, at_s, "issue_refund", None)
        return replace(
            call, kind="mcp-stdio", scheme="stdio", host="crm.mcp-stdio", port=0, path="/", error=error
        )

    lost = stdio(1, 1.0, "upstream-closed: the server ended with 1")
    assert "POST crm.mcp-stdio/ (tool issue_refund) got no answer (the server ended with 1)" in broken(
        RULE, [lost, stdio(2, 2.0, None)]
    )
    assert idle(RULE, [stdio(1, 1.0, None), stdio(2, 2.0, None)])
