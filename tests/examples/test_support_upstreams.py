"""The example's two servers: a model endpoint that OpenAI's own client takes for one, and a shop."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any
from urllib.parse import urlencode

import openai
import pytest
from example_servers import EXAMPLE, Server, call

from aegis.trace import prices

TOOLS: Any = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}
    for name in ("lookup_order", "issue_refund", "list_orders", "escalate")
]
ORDER = {
    "order": 1042,
    "item": "Two coffee cups",
    "price_cents": 4200,
    "status": "delivered",
    "refunded_cents": 0,
    "refund": {"reason": "ok", "left_cents": 4200, "approval_above_cents": 50000, "window_days": 30},
}


def client(model: Server, key: str = "sk-any") -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{model.url}/v1", api_key=key, max_retries=0, timeout=60)


def conversation(*tool_results: tuple[str, dict[str, Any], Any], text: str = "Refund order 1042") -> Any:
    """A user's message, and tools that have answered since."""
    messages: list[Any] = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": text}]
    for index, (name, arguments, result) in enumerate(tool_results):
        function = {"name": name, "arguments": json.dumps(arguments)}
        asked = {"id": f"call_{index}", "type": "function", "function": function}
        messages.append({"role": "assistant", "content": None, "tool_calls": [asked]})
        messages.append({"role": "tool", "tool_call_id": f"call_{index}", "content": json.dumps(result)})
    return messages


def streamed(model: Server, messages: Any) -> tuple[str, list[Any], Any]:
    """Text, tool calls and usage of a streamed answer."""
    with client(model).chat.completions.stream(
        model="gpt-5-mini", messages=messages, tools=TOOLS, stream_options={"include_usage": True}
    ) as stream:
        final = stream.get_final_completion()
    message = final.choices[0].message
    return message.content or "", message.tool_calls or [], final.usage


def test_tools_are_asked_for_one_after_the_other_and_then_it_answers(model: Server) -> None:
    _, (call_,), _ = streamed(model, conversation())
    assert (call_.function.name, json.loads(call_.function.arguments)) == ("lookup_order", {"order": 1042})
    looked = ("lookup_order", {"order": 1042}, ORDER)
    _, (call_,), _ = streamed(model, conversation(looked))
    assert json.loads(call_.function.arguments) == {"order": 1042, "amount_cents": 4200}
    paid = ("issue_refund", {}, {"refund": 7, "order": 1042, "amount_cents": 4200})
    text, calls, usage = streamed(model, conversation(looked, paid))
    assert "42.00 EUR" in text
    assert calls == []
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens > usage.completion_tokens > 0


def test_streamed_and_whole_answers_say_the_same(model: Server) -> None:
    for messages in (conversation(), conversation(text="Hello!")):
        whole = client(model).chat.completions.create(model="gpt-5-mini", messages=messages, tools=TOOLS)
        text, calls, usage = streamed(model, messages)
        message = whole.choices[0].message
        assert (message.content or "") == text
        assert [tool.model_dump() for tool in message.tool_calls or []] == [
            {key: value for key, value in tool.model_dump().items() if key in ("id", "type", "function")}
            | {"function": {"name": tool.function.name, "arguments": tool.function.arguments}}
            for tool in calls
        ]
        assert whole.usage == usage
        assert whole.model == "gpt-5-mini-2025-08-07"
        assert whole.choices[0].finish_reason == ("tool_calls" if calls else "stop")


def test_usage_comes_in_a_stream_only_when_it_is_asked_for(model: Server) -> None:
    def usages(**options: Any) -> list[Any]:
        stream = client(model).chat.completions.create(
            model="gpt-5-mini-2025-08-07", messages=conversation(text="Hi"), stream=True, **options
        )
        return [chunk.usage for chunk in stream]

    assert set(usages()) == {None}
    *before, last = usages(stream_options={"include_usage": True})
    assert set(before) == {None}
    assert last is not None


def test_equal_requests_get_equal_answers_and_different_calls_different_ids(model: Server) -> None:
    ids = [
        streamed(model, conversation(text=text))[1][0].id
        for text in ("Refund 1042", "Refund 1042", "Refund 1017")
    ]
    assert ids[0] == ids[1] != ids[2]


def test_a_tool_that_is_not_offered_is_not_asked_for(model: Server) -> None:
    answer = client(model).chat.completions.create(model="m", messages=conversation())
    assert answer.choices[0].message.tool_calls is None
    assert answer.choices[0].message.content


@pytest.mark.parametrize("result", ["gone", [], {"order": 1042}, {"error": {"odd": 1}}, None, 7])
def test_odd_results_of_tools_are_answered(model: Server, result: Any) -> None:
    text, calls, _ = streamed(model, conversation(("lookup_order", {"order": 1042}, result)))
    assert text or calls


def test_content_may_come_in_parts(model: Server) -> None:
    parts = [{"type": "text", "text": "Refund order "}, {"type": "text", "text": "1042"}]
    _, (call_,), _ = streamed(model, [{"role": "user", "content": parts}])
    assert json.loads(call_.function.arguments) == {"order": 1042}


GOOD = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.mark.parametrize(
    ("method", "path", "body", "token", "expected"),
    [
        ("POST", "/v1/chat/completions", GOOD, None, (401, "invalid_api_key", None)),
        ("POST", "/v1/chat/completions", b"{", "t", (400, None, None)),
        ("POST", "/v1/chat/completions", [], "t", (400, None, None)),
        ("POST", "/v1/chat/completions", {"messages": []}, "t", (400, None, "model")),
        ("POST", "/v1/chat/completions", {"model": "m"}, "t", (400, None, "messages")),
        ("POST", "/v1/chat/completions", {"model": "m", "messages": []}, "t", (400, None, "messages")),
        ("POST", "/v1/chat/completions", {**GOOD, "tools": [1]}, "t", (400, None, "tools")),
        ("POST", "/v1/chat/completions", {**GOOD, "stream_options": 1}, "t", (400, None, "stream_options")),
        ("GET", "/v1/chat/completions", None, "t", (405, "method_not_supported", None)),
        ("POST", "/v1/responses", GOOD, "t", (404, "unknown_url", None)),
    ],
)
def test_errors_have_openais_form(
    model: Server,
    method: str,
    path: str,
    body: Any,
    token: str | None,
    expected: tuple[int, str | None, str | None],
) -> None:
    status, answer = call(model, method, path, body, token=token)
    error = answer["error"]
    assert (status, error["code"], error["param"]) == expected
    assert error["type"] == "invalid_request_error"
    assert error["message"]


def test_the_name_that_comes_back_has_a_price() -> None:
    assert prices.price(
        "gpt-5-mini-2025-08-07", input_tokens=1000, output_tokens=10, url="https://api.openai.com/v1"
    )


def test_the_shop_needs_a_token(shop: Server) -> None:
    status, answer = call(shop, "GET", "/orders/1042", token=None)
    assert (status, answer["error"]["code"]) == (401, "unauthorized")


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("GET", "/orders/9999", None, (404, "not_found")),
        ("GET", "/orders/x", None, (404, "not_found")),
        ("DELETE", "/orders/1042", None, (404, "not_found")),
        ("GET", "/customers/ada/orders?limit=0", None, (422, "invalid")),
        ("GET", "/customers/ada/orders?offset=-1", None, (422, "invalid")),
        ("POST", "/refunds", b"{", (400, "bad_json")),
        ("POST", "/refunds", [], (400, "bad_json")),
        ("POST", "/refunds", {"order": 9999, "amount_cents": 1}, (404, "not_found")),
        ("POST", "/refunds", {"order": "1042", "amount_cents": 1}, (422, "invalid")),
        ("POST", "/refunds", {"order": 1042, "amount_cents": True}, (422, "invalid")),
        ("POST", "/refunds", {"order": 1042, "amount_cents": 0}, (422, "invalid")),
        ("POST", "/refunds", {"order": 1042, "amount_cents": 4201}, (409, "too_much")),
        ("POST", "/refunds", {"order": 1023, "amount_cents": 1}, (409, "already_refunded")),
        ("POST", "/tickets", {"summary": " "}, (422, "invalid")),
        ("POST", "/tickets", {"summary": "x", "order": 9999}, (404, "not_found")),
    ],
)
def test_what_the_shop_refuses(
    shop: Server, method: str, path: str, body: Any, expected: tuple[int, str]
) -> None:
    status, answer = call(shop, method, path, body)
    assert (status, answer["error"]["code"]) == expected


def test_orders_come_newest_first_and_page_by_page(shop: Server) -> None:
    path: str | None = "/customers/ada/orders?limit=3"
    pages = []
    while path is not None:
        _, page = call(shop, "GET", path)
        pages.append([order["order"] for order in page["orders"]])
        assert page["total"] == 6
        path = page["next"]
    assert pages == [[1077, 1042, 1061], [1023, 1055, 1017]]
    _, page = call(shop, "GET", "/customers/ada/orders")
    assert (len(page["orders"]), page["next"]) == (4, "/customers/ada/orders?limit=20&offset=4")
    _, page = call(shop, "GET", "/customers/nobody/orders")
    assert page == {"orders": [], "offset": 0, "total": 0, "next": None}


GRANT = {"grant_type": "refresh_token", "refresh_token": "refresh-token-of-the-support-agent"}


def refresh(shop: Server, **fields: str) -> tuple[int, Any]:
    return call(shop, "POST", "/oauth/token", urlencode(fields).encode(), token=None)


def test_the_shop_issues_tokens_and_honours_only_those_of_its_own_kind(shop: Server) -> None:
    status, issued = refresh(shop, **GRANT)
    assert (status, issued["token_type"], issued["expires_in"]) == (200, "Bearer", 3600)
    assert issued["access_token"] != refresh(shop, **GRANT)[1]["access_token"]
    assert call(shop, "GET", "/orders/1042", token=issued["access_token"])[0] == 200
    status, answer = call(shop, "GET", "/orders/1042", token="shop-token-of-yesterday")
    assert (status, answer["error"]["code"]) == (401, "invalid_token")


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({**GRANT, "refresh_token": "stolen"}, "invalid_grant"),
        ({"grant_type": "refresh_token"}, "invalid_grant"),
        ({**GRANT, "grant_type": "password"}, "unsupported_grant_type"),
        ({"refresh_token": "x"}, "invalid_request"),
        ({}, "invalid_request"),
    ],
)
def test_who_gets_no_token(shop: Server, fields: dict[str, str], error: str) -> None:
    assert refresh(shop, **fields) == (400, {"error": error})


def test_the_newest_order_that_can_be_refunded_is_looked_for_one_by_one(model: Server) -> None:
    listed = ("list_orders", {"limit": 5}, [{"order": 1077}, {"order": 1042}])
    fresh = ("lookup_order", {"order": 1077}, {**ORDER, "order": 1077, "refund": {"reason": "not_delivered"}})
    asked = "Please refund the newest of my orders that can still be refunded."
    for results, name, arguments in (
        ((), "list_orders", {"limit": 5}),
        ((listed,), "lookup_order", {"order": 1077}),
        ((listed, fresh), "lookup_order", {"order": 1042}),
        (
            (listed, fresh, ("lookup_order", {"order": 1042}, ORDER)),
            "issue_refund",
            {"order": 1042, "amount_cents": 4200},
        ),
    ):
        _, (call_,), _ = streamed(model, conversation(*results, text=asked))
        assert (call_.function.name, json.loads(call_.function.arguments)) == (name, arguments)
    text, _, _ = streamed(model, conversation((*listed[:2], [{"order": 1077}]), fresh, text=asked))
    assert "none of your latest orders" in text
    text, _, _ = streamed(model, conversation(("list_orders", {}, {"error": "signed_out"}), text=asked))
    assert "no access" in text


def test_the_same_key_does_it_once_and_a_new_request_needs_a_new_one(shop: Server) -> None:
    asked = {"order": 1042, "amount_cents": 1000}
    first = call(shop, "POST", "/refunds", asked, Idempotency_Key="k1")
    assert first[0] == 201
    assert call(shop, "POST", "/refunds", asked, Idempotency_Key="k1") == first
    status, answer = call(shop, "POST", "/refunds", {**asked, "amount_cents": 1}, Idempotency_Key="k1")
    assert (status, answer["error"]["code"]) == (422, "idempotency_key_reused")
    assert call(shop, "POST", "/refunds", asked, Idempotency_Key="k2")[1]["refund"] == first[1]["refund"] + 1
    assert call(shop, "GET", "/orders/1042")[1]["refunded_cents"] == 2000


def test_many_at_once_do_not_overpay(shop: Server) -> None:
    asked = {"order": 1042, "amount_cents": 1500}
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(call(shop, "POST", "/refunds", asked)[0]))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [201, 201, *6 * [409]]


def test_tickets_are_numbered(shop: Server) -> None:
    for number in (1, 2):
        assert call(shop, "POST", "/tickets", {"summary": "help", "order": 1061})[1]["ticket"] == number


def test_dates_are_days_before_today(upstream: Callable[[str], Any]) -> None:
    orders = upstream("stock").orders(date(2024, 3, 1))
    assert orders[1042].delivered_on == date(2024, 2, 25)
    assert orders[1077].delivered_on is None


@pytest.mark.parametrize(
    "headers", [["Content-Length: x"], ["Transfer-Encoding: chunked"], ["Content-Length: 99999999"]]
)
def test_bodies_that_cannot_be_read_are_refused(shop: Server, headers: Sequence[str]) -> None:
    host, _, port = shop.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(
            ("POST /refunds HTTP/1.1\r\nHost: x\r\n" + "\r\n".join(headers) + "\r\n\r\n").encode()
        )
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.split(b" ")[1] in (b"400", b"411", b"413")


@pytest.mark.parametrize(
    ("module", "path"), [("upstream.model", "/v1/nothing"), ("upstream.orders", "/nothing")]
)
def test_as_a_program_it_listens_where_it_is_told(module: str, path: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "PORT": str(port), "PYTHONDONTWRITEBYTECODE": "1"}
    program = subprocess.Popen([sys.executable, "-m", module], cwd=EXAMPLE, env=environment)
    try:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
                    connection.sendall(
                        f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\n\r\n".encode()
                    )
                    assert connection.recv(65536).startswith(b"HTTP/1.1 404")
                return
            except ConnectionRefusedError:
                time.sleep(0.05)
        pytest.fail("it does not listen")
    finally:
        program.terminate()
        program.wait(60)
