"""What the customer reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import shorten
from typing import Any

from upstream.understand import Reference

GREETING = "Hello! I can look up your orders and refund them. Which order is it about?"
THANKS = "You're welcome. Have a good day!"
UNCLEAR = "I can list your orders, tell you about one of them, or refund it. What would you like?"
NONE_LEFT = "I'm sorry, none of your latest orders can be refunded."
FAILED = "I'm sorry, our order system does not answer properly. Nothing was changed; please try again later."
SIGNED_OUT = (
    "I'm sorry, I have no access to our order system any more, so I can't look at orders or change them."
)
UNSURE = "I'm sorry, I could not get the refund confirmed. A colleague will check it and write to you."


_NOTE_CHARS = 300


def money(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d} EUR"


def ask_for_number(written: Reference | None) -> str:
    if written is None:
        return "Which order is it about? Its number has four digits and stands in the confirmation mail."
    return (
        f"{written.text} is not one of our order numbers: they have four digits. "
        "Could you look it up in the confirmation mail?"
    )


def no_such_order(number: int) -> str:
    return f"I can't find an order {number} in your account. Could you check the number?"


def refunded(refund: Mapping[str, Any]) -> str:
    return (
        f"Done: {money(refund['amount_cents'])} for order {refund['order']} are on their way back to you. "
        f"The refund has the number {refund['refund']}."
    )


def refused(order: Mapping[str, Any], reason: str) -> str:
    number = order["order"]
    match reason:
        case "outside_window":
            return (
                f"I'm sorry, I can't refund order {number}: it was delivered on {order['delivered_on']}, "
                f"and refunds are possible for {order['refund']['window_days']} days after delivery."
            )
        case "already_refunded":
            return f"Order {number} was already refunded: you got {money(order['refunded_cents'])} back."
        case "not_delivered":
            return f"I can't refund order {number} before it is delivered. Its status: {order['status']}."
        case _:
            return f"I'm sorry, I can't refund order {number}."


def too_much(order: Mapping[str, Any], amount_cents: int) -> str:
    left = money(order["refund"]["left_cents"])
    return f"I can't refund {money(amount_cents)} for order {order['order']}, at most {left}."


def escalated(number: int, ticket: Mapping[str, Any]) -> str:
    return (
        f"A refund of this size for order {number} needs a colleague's approval. I have passed it on as "
        f"ticket {ticket['ticket']}; you will hear from us within two working days."
    )


def refunded_so_far(number: int, cents: int) -> str:
    return (
        f"You got {money(cents)} back for order {number}."
        if cents
        else f"Nothing has been refunded for order {number}."
    )


def orders(found: Sequence[Mapping[str, Any]]) -> str:
    if not found:
        return "There are no orders in your account."
    lines = (
        f"{place}. order {order['order']} of {order['ordered_on']}: "
        f"{order['item']}, {money(order['price_cents'])}, {order['status']}"
        for place, order in enumerate(found, start=1)
    )
    return "Your latest orders:\n" + "\n".join(lines)


def order(found: Mapping[str, Any]) -> str:
    text = (
        f"Order {found['order']}: {found['item']}, {money(found['price_cents'])}, "
        f"ordered on {found['ordered_on']}. Status: {found['status']}."
    )
    note = shorten(found["note"], _NOTE_CHARS, placeholder=" …")
    return f"{text} The note on it reads: “{note}”" if note else text
