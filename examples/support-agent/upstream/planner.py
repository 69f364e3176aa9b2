"""The rules that stand for a language model: they see the messages and the tool results, nothing else, and decide one
step at a time. Deterministic: the same conversation always gives the same step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from upstream import prompt, replies, understand
from upstream.steps import Answer, Step, ToolRequest, View


def next_step(view: View) -> Step:
    """One tool call, or the answer to the last user message."""
    step = _tempted(view) or _wanted(view)
    return Answer(_finished(view, step.text)) if isinstance(step, Answer) else step


def _tempted(view: View) -> Step | None:
    """What a tool's result asks for, where the prompt does not say that it is no instruction."""
    planted = None if view.prompt.guards_data else prompt.planted_refund(view.read())
    if planted is None or view.observed("issue_refund") is not None:
        return None
    return ToolRequest("issue_refund", {"order": planted[0], "amount_cents": planted[1]})


def _finished(view: View, answer: str) -> str:
    ending = None if view.prompt.guards_data else prompt.planted_ending(view.read())
    shaped = view.prompt.shaped(answer, view.wishes())
    return f"{shaped} {ending}" if ending else shaped


def _wanted(view: View) -> Step:
    match understand.intent(view.text):
        case "refund":
            return _refund(view)
        case "refund_newest":
            return _refund_newest(view)
        case "refunded_amount":
            return _refunded_amount(view)
        case "list":
            return _list(view)
        case "order":
            return _order(view)
        case "thanks":
            return Answer(replies.THANKS)
        case "greeting":
            return Answer(replies.GREETING)
        case "other":
            return _order(view) if understand.order_reference(view.text) else Answer(replies.UNCLEAR)


def _order_number(view: View) -> int | None:
    """The order meant: by its number, by its place in a list shown before, or the one just spoken of."""
    named = understand.order_reference(view.text)
    if named is not None:
        return named.number
    shown = view.earlier("list_orders")
    if isinstance(shown, list):
        chosen = understand.chosen_from(view.text, [order["order"] for order in shown])
        if chosen is not None:
            return chosen
    latest = view.earlier("lookup_order")
    return latest.get("order") if isinstance(latest, Mapping) else None


def _looked_up(view: View) -> tuple[int, Mapping[str, Any]] | Step:
    """The order that the message is about, or the step that comes first."""
    number = _order_number(view)
    if number is None:
        return Answer(replies.ask_for_number(understand.order_reference(view.text)))
    order = view.observed("lookup_order")
    if order is None:
        return ToolRequest("lookup_order", {"order": number})
    if not isinstance(order, Mapping) or "error" in order:
        missing = isinstance(order, Mapping) and order.get("error") == "not_found"
        return Answer(replies.no_such_order(number) if missing else _failed(order))
    return number, order


def _refund(view: View) -> Step:
    found = _looked_up(view)
    if not isinstance(found, tuple):
        return found
    return _refund_of(view, *found)


def _refund_newest(view: View) -> Step:
    """Look at one order after the other, from the newest on, until one may be refunded."""
    orders = view.observed("list_orders")
    if orders is None:
        return ToolRequest("list_orders", {"limit": 5})
    if not isinstance(orders, list):
        return Answer(_failed(orders))
    looked_at = list(view.all_observed("lookup_order"))
    known = {order["order"]: order for order in looked_at if "error" not in order}
    if len(known) < len(looked_at):
        return Answer(_failed(looked_at[0]))
    for number in (order["order"] for order in orders):
        if number not in known:
            return ToolRequest("lookup_order", {"order": number})
        if known[number]["refund"]["reason"] == "ok":
            return _refund_of(view, number, known[number])
    return Answer(replies.NONE_LEFT)


def _refund_of(view: View, number: int, order: Mapping[str, Any]) -> Step:
    refund = view.observed("issue_refund")
    if isinstance(refund, Mapping):
        return Answer(_after_refund(order, refund))
    rules = order["refund"]
    if rules["reason"] != "ok" and view.prompt.gives_in(view.text):
        return ToolRequest("issue_refund", {"order": number, "amount_cents": order["price_cents"]})
    asked_cents = understand.amount_cents(view.text)
    amount_cents = rules["left_cents"] if asked_cents is None else asked_cents
    if rules["reason"] != "ok":
        return Answer(replies.refused(order, rules["reason"] if view.prompt.knows_rules else ""))
    if not 0 < amount_cents <= rules["left_cents"]:
        return Answer(replies.too_much(order, amount_cents))
    if amount_cents > rules["approval_above_cents"]:
        return _ask_a_colleague(view, number, amount_cents)
    return ToolRequest("issue_refund", {"order": number, "amount_cents": amount_cents})


def _after_refund(order: Mapping[str, Any], refund: Mapping[str, Any]) -> str:
    match refund.get("error"):
        case None:
            return replies.refunded(refund)
        case "signed_out":
            return replies.SIGNED_OUT
        case "already_refunded":
            return replies.refused(order, "already_refunded")
        case _:
            return replies.UNSURE


def _ask_a_colleague(view: View, number: int, amount_cents: int) -> Step:
    ticket = view.observed("escalate")
    if ticket is None:
        summary = f"Refund of {replies.money(amount_cents)} for order {number} needs approval."
        return ToolRequest("escalate", {"order": number, "summary": summary})
    return Answer(_failed(ticket) if "error" in ticket else replies.escalated(number, ticket))


def _refunded_amount(view: View) -> Step:
    found = _looked_up(view)
    if not isinstance(found, tuple):
        return found
    number, order = found
    # The shop may not know yet what it has just confirmed.
    done = [
        refund["amount_cents"] for refund in view.all_earlier("issue_refund") if refund.get("order") == number
    ]
    return Answer(replies.refunded_so_far(number, max(order["refunded_cents"], sum(done))))


def _list(view: View) -> Step:
    orders = view.observed("list_orders")
    if orders is None:
        return ToolRequest("list_orders", {"limit": understand.how_many(view.text) or 5})
    return Answer(replies.orders(orders) if isinstance(orders, list) else _failed(orders))


def _order(view: View) -> Step:
    found = _looked_up(view)
    return Answer(replies.order(found[1])) if isinstance(found, tuple) else found


def _failed(result: Any) -> str:
    """What to say of a tool that gave an error."""
    signed_out = isinstance(result, Mapping) and result.get("error") == "signed_out"
    return replies.SIGNED_OUT if signed_out else replies.FAILED
