"""Rule `truncation`: half an answer is not taken for a whole one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from aegis.trace import Exchange, TurnRecord
from support import wire
from support.resilience import CHAT, broken, fault, idle, kept, sent

RULE = "truncation"
WHOLE = {"orders": [{"id": 1042, "tracking": "ZX-77-1900"}, {"id": 1043, "tracking": "ZX-77-1901"}]}
HALF = '{"orders": [{"id": 1042, "tracking": "ZX-77-1900"}, {"i'
TRUNCATED = [fault("truncate")]
JSON = {"Content-Type": "application/json"}


def half(id: int, at_s: float, **more: Any) -> Exchange:
    return sent(id, at_s, **{"answer": HALF, "answered": JSON, "faults": ("truncate",), **more})


def whole(id: int, at_s: float, **more: Any) -> Exchange:
    return sent(id, at_s, **{"answer": WHOLE, **more})


def test_requested_again() -> None:
    assert kept(RULE, [half(1, 1.0), whole(2, 1.5)], "ZX-77-1901", faults=TRUNCATED) == (
        "truncation: 1 incomplete response not taken for whole"
    )


def test_neither_requested_again_nor_disclosed() -> None:
    assert broken(RULE, [half(1, 1.0)], "There is one order: ZX-77-1900.", faults=TRUNCATED) == (
        "GET crm.example/orders/1042 got 200 and an incomplete body (truncate) at 1.10 s (exchange 1), "
        "was not requested again, and the answer does not say so"
    )
    again = [half(1, 1.0), half(2, 1.5)]
    assert broken(RULE, again, "There is one order.", faults=TRUNCATED)


@pytest.mark.parametrize(
    "answer",
    [
        "I could only load a part of the orders: the list is incomplete.",
        "The response was truncated, so there may be more orders.",
        "I was unable to read the list of orders.",
        "I could not get the whole list.",
    ],
)
def test_disclosed(answer: str) -> None:
    assert kept(RULE, [half(1, 1.0)], answer, faults=TRUNCATED)


@pytest.mark.parametrize("answer", ["", "All orders were loaded without any errors.", "Done."])
def test_not_disclosed(answer: str) -> None:
    assert broken(RULE, [half(1, 1.0)], answer, faults=TRUNCATED)


def test_a_response_that_broke_off() -> None:
    cut = half(1, 1.0, faults=(), error="upstream-closed: the response ended after 54 of 107 bytes")
    assert "got 200 and a response that broke off at 1.10 s (exchange 1)" in broken(RULE, [cut], "One order.")
    assert kept(RULE, [cut, whole(2, 1.5)], "Two orders.")
    left = replace(cut, error="client-gone: the client left before the response was complete")
    assert idle(RULE, [left], "One order.")


def test_a_page_that_is_empty() -> None:
    page = half(2, 1.0, path="/orders?page=2", answer={"orders": []}, faults=("drop-page",))
    faults = [fault("drop-page")]
    assert "an incomplete body (drop-page)" in broken(RULE, [page], "There are 50 orders.", faults=faults)
    again = whole(3, 2.0, path="/orders?page=2")
    assert kept(RULE, [page, again], "There are 52 orders.", faults=faults)
    assert broken(RULE, [page, replace(again, path="/orders?page=3")], "There are 52 orders.", faults=faults)


def test_json_that_is_whole_all_the_same() -> None:
    assert idle(RULE, [half(1, 1.0, answer=WHOLE)], "Two orders.", faults=TRUNCATED)


def note(id: int, at_s: float, text: str, **more: Any) -> Exchange:
    return sent(id, at_s, 201, **{"method": "POST", "path": "/notes", "body": {"text": text}, **more})


def test_a_write_before_it_came_whole() -> None:
    early = [half(1, 1.0), note(2, 1.3, "one order"), whole(3, 1.5)]
    assert broken(RULE, early, "Two orders.", faults=TRUNCATED).endswith(
        "and POST crm.example/notes was sent at 1.30 s (exchange 2) before it had come whole"
    )
    late = [half(1, 1.0), whole(2, 1.5), note(3, 1.8, "two orders")]
    assert kept(RULE, late, "Two orders.", faults=TRUNCATED)
    elsewhere = [half(1, 1.0), note(2, 1.3, "one order", host="log.example"), whole(3, 1.5)]
    assert kept(RULE, elsewhere, "Two orders.", faults=TRUNCATED)


def test_a_write_of_a_part_that_never_came_whole() -> None:
    disclosed = "The list of orders was incomplete."
    derived = [half(1, 1.0), note(2, 1.3, "sent with ZX-77-1900")]
    assert "POST crm.example/notes was sent" in broken(RULE, derived, disclosed, faults=TRUNCATED)
    ticket = [half(1, 1.0), note(2, 1.3, "orders of 1042 could not be loaded")]
    assert kept(RULE, ticket, disclosed, faults=TRUNCATED)
    known = "Is ZX-77-1900 on its way?"
    assert kept(RULE, derived, disclosed, faults=TRUNCATED, user=known)


# Streams of models

PROMPT = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Is it paid?"}], "stream": True}
CUT = wire.events(
    wire.chat_chunk({"role": "assistant", "content": ""}),
    wire.chat_chunk({"content": "The order is paid and"}),
)
FULL = wire.events(
    wire.chat_chunk({"content": "The order is paid and shipped."}), wire.chat_chunk({}, "stop"), "[DONE]"
)
CUT_STREAM = [fault("cut-stream")]


def asked(id: int, at_s: float, answer: Any = CUT, body: Any = PROMPT, **more: Any) -> Exchange:
    call: dict[str, Any] = {"method": "POST", "path": CHAT, "host": "api.openai.com"}
    hit = ("cut-stream",) if answer is CUT else ()
    return sent(id, at_s, **{**call, "body": body, "answer": answer, "faults": hit, **more})


def test_a_partial_stream_that_is_given_as_the_answer() -> None:
    """What the official SDKs make of a stream that ends cleanly without its last event."""
    assert broken(RULE, [asked(1, 1.0)], "The order is paid and", faults=CUT_STREAM) == (
        "POST api.openai.com/v1/chat/completions got 200 and an incomplete body (cut-stream) at 1.10 s (exchange 1), "
        "was not requested again, and that part is in the answer as if it were all"
    )


def test_a_model_that_is_asked_again() -> None:
    answer = "The order is paid and shipped."
    assert kept(RULE, [asked(1, 1.0), asked(2, 2.0, FULL)], answer, faults=CUT_STREAM)
    plain = asked(2, 2.0, wire.chat(answer), {**PROMPT, "stream": False})
    assert kept(RULE, [asked(1, 1.0), plain], answer, faults=CUT_STREAM)
    fallback = asked(2, 2.0, wire.chat(answer), host="llm.internal")
    assert kept(RULE, [asked(1, 1.0), fallback], answer, faults=CUT_STREAM)


def test_a_conversation_that_goes_on_from_the_partial_text() -> None:
    history = [*PROMPT["messages"], {"role": "assistant", "content": "The order is paid and"}]  # type: ignore[misc]
    later = asked(2, 2.0, FULL, {**PROMPT, "messages": history})
    assert broken(RULE, [asked(1, 1.0), later], "The order is paid and shipped.", faults=CUT_STREAM)


def test_a_later_turn_is_no_second_try() -> None:
    turns = [
        TurnRecord("Is it paid?", "The order is paid and", 3.0, 0.0),
        TurnRecord("Thanks", "Welcome.", 3.0, 3.0),
    ]
    calls = [
        asked(1, 1.0),
        asked(2, 4.0, FULL, {"model": "m", "messages": [{"role": "user", "content": "Thanks"}]}),
    ]
    assert "that part is in the answer" in broken(RULE, calls, faults=CUT_STREAM, turns=turns)


def test_what_the_model_says_discloses_nothing() -> None:
    apology = wire.events(wire.chat_chunk({"content": "Sorry, an error occurred: the"}))
    call = replace(asked(1, 1.0), response_body=wire.body(apology))
    assert broken(RULE, [call], "Sorry, an error occurred: the", faults=CUT_STREAM)
    assert kept(
        RULE, [call], "Sorry, an error occurred: the [the model's answer was cut off]", faults=CUT_STREAM
    )


def test_a_stream_that_lost_nothing() -> None:
    assert idle(RULE, [asked(1, 1.0, FULL, faults=("cut-stream",))], "x", faults=CUT_STREAM)


def test_a_tool_that_half_a_stream_asked_for() -> None:
    piece = wire.chat_piece(0, '{"order": 1042}', id="call_a", type="function", name="issue_refund")
    cut = replace(asked(1, 1.0), response_body=wire.body(wire.events(wire.chat_chunk(piece))))
    refund = sent(2, 1.5, 201, method="POST", path="/refunds", body={"order": 1042})
    told = [*PROMPT["messages"], {"role": "tool", "tool_call_id": "call_a", "content": "ok"}]  # type: ignore[misc]
    later = asked(3, 2.0, FULL, {**PROMPT, "messages": told})
    assert "and POST crm.example/refunds was sent at 1.50 s (exchange 2) before it had come whole" in broken(
        RULE, [cut, refund, later], "The order is paid and shipped.", faults=CUT_STREAM
    )


def test_bodies_that_are_stored_apart() -> None:
    stored = replace(half(1, 1.0), response_body=replace(wire.body(""), blob="d", text=None))
    assert broken(RULE, [stored], "One order.", faults=TRUNCATED, blobs={"d": HALF.encode()})
    assert idle(RULE, [stored], "Two orders.", faults=TRUNCATED, blobs={"d": b'{"orders": []}'})
