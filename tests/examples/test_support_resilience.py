"""The example's agent on a bad day: it tries again where that is right, does nothing twice, and says what is true."""

from __future__ import annotations

import json
from typing import Any

import pytest
from example_servers import (
    Server,
    Talk,
    answers,
    broken_connection,
    call,
    cut_stream,
    lost_answer,
    status,
    user,
)

REFUND = user("I want a refund for order 1042.")
DONE = "Done: 42.00 EUR"


def keys(shop: Server) -> list[str]:
    return [request.headers["Idempotency-Key"] for request in shop.requests if request.method == "POST"]


@pytest.mark.parametrize(
    "fault",
    [
        status(503),
        status(529),
        status(429, Retry_After="0.1"),
        status(500, Retry_After="Sat, 01 Jan 2000 00:00:00 GMT"),
        status(502, Retry_After="soon"),
        broken_connection,
        cut_stream(0),
        cut_stream(1),
        cut_stream(3),
    ],
)
def test_the_model_is_asked_again(talk: Talk, model: Server, shop: Server, fault: Any) -> None:
    model.faults = [None, fault]
    assert DONE in answers(talk(REFUND))[0]
    assert len(model.requests) == 4
    assert model.requests[1].body == model.requests[2].body
    assert len(keys(shop)) == 1


@pytest.mark.parametrize("fault", [status(503), lost_answer(503), lost_answer(504, Retry_After="0")])
def test_a_refund_is_booked_once_however_often_it_is_sent(talk: Talk, shop: Server, fault: Any) -> None:
    shop.faults = [None, fault, fault]
    assert DONE in answers(talk(REFUND))[0]
    assert len(keys(shop)) == 3
    assert len(set(keys(shop))) == 1
    assert call(shop, "GET", "/orders/1042")[1]["refunded_cents"] == 4200


def test_different_refunds_have_different_keys(talk: Talk, shop: Server) -> None:
    answers(talk(user("Refund 10 EUR of order 1042"), user("Refund 10 EUR of order 1042")))
    assert len(keys(shop)) == len(set(keys(shop))) == 2
    assert call(shop, "GET", "/orders/1042")[1]["refunded_cents"] == 2000


def test_connections_are_kept_and_replaced_when_the_server_closed_them(
    talk: Talk, model: Server, shop: Server
) -> None:
    answers(talk(REFUND, user("Where is order 1077?")))
    assert (model.connections, shop.connections) == (1, 1)

    def closing(request: Any, answer: Any) -> Any:
        found = answer()
        return type(found)(found.status, found.body, found.events, {"Connection": "close"})

    model.faults = [closing, closing]
    assert "already refunded" in answers(talk(REFUND))[0]
    assert model.connections == 3


@pytest.mark.parametrize("code", [400, 401, 403, 404, 422])
def test_what_will_not_pass_is_not_tried_again(talk: Talk, model: Server, code: int) -> None:
    model.faults = [status(code)]
    done = talk(REFUND)
    assert "I can't finish this right now" in answers(done)[0]
    assert len(model.requests) == 1
    assert str(code) in done.stderr


def test_a_server_that_wants_a_long_pause_is_left_alone(talk: Talk, model: Server) -> None:
    model.faults = [status(429, Retry_After="3600")]
    assert "try again in a few minutes" in answers(talk(REFUND))[0]
    assert len(model.requests) == 1


def test_an_apology_names_what_was_done_before(talk: Talk, model: Server) -> None:
    model.faults = [None, None, status(400)]
    said = answers(talk(REFUND, user("How much did I get back?")))
    assert "refund 2 of 42.00 EUR for order 1042" in said[0]
    assert said[1] == "You got 42.00 EUR back for order 1042."


def test_a_refund_without_a_confirmation_is_not_announced(talk: Talk, shop: Server) -> None:
    shop.faults = [None, lost_answer(400)]
    (answer,) = answers(talk(REFUND))
    assert "could not get the refund confirmed" in answer
    assert "42.00" not in answer


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"order": 1042},
        {"order": "1042", "price_cents": None},
        {"error": "odd"},
        "text",
    ],
)
def test_an_order_in_another_form_is_the_shops_failure(talk: Talk, shop: Server, body: Any) -> None:
    def odd(request: Any, answer: Any) -> Any:
        found = answer()
        return type(found)(200, body)

    shop.faults = [odd]
    (answer,) = answers(talk(REFUND))
    assert "order system does not answer properly" in answer
    assert len(shop.requests) == 1


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("no_such_tool", "{}"),
        ("lookup_order", "{"),
        ("lookup_order", '{"colour": 1}'),
        ("lookup_order", "[]"),
    ],
)
def test_a_call_that_makes_no_sense_is_a_result_for_the_model(
    talk: Talk, model: Server, name: str, arguments: str
) -> None:
    def nonsense(request: Any, answer: Any) -> Any:
        found = answer()
        function = {"name": name, "arguments": arguments}
        delta = {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}]}
        chunk = {"choices": [{"index": 0, "delta": delta, "finish_reason": "tool_calls"}]}
        return type(found)(200, events=iter([json.dumps(chunk), "[DONE]"]))

    model.faults = [nonsense]
    answers(talk(user("Thanks!")))
    told = json.loads(model.requests[1].body)["messages"][-1]
    assert (told["role"], told["tool_call_id"]) == ("tool", "call_1")
    assert "error" in json.loads(told["content"])


def test_a_model_that_goes_round_in_circles_is_stopped(talk: Talk, model: Server) -> None:
    def again(request: Any, answer: Any) -> Any:
        found = answer()
        function = {"name": "list_orders", "arguments": "{}"}
        delta = {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}]}
        chunk = {"choices": [{"index": 0, "delta": delta, "finish_reason": "tool_calls"}]}
        return type(found)(200, events=iter([json.dumps(chunk), "[DONE]"]))

    model.faults = 20 * [again]
    assert "I can't finish this" in answers(talk(REFUND))[0]
    assert len(model.requests) == 8
