"""A model that needs no network: rules over the transcript.

It stands where a language model would: it sees the messages and the tool results, nothing else, and decides
one step at a time. To use a real model, write another class with the same `next` method and give it to
`Conversation`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from support import replies, understand
from support.messages import Answer, Message, Step, ToolRequest, ToolSpec


class RulePlanner:
    """Deterministic: the same transcript always gives the same step."""

    def next(self, transcript: Sequence[Message], tools: Sequence[ToolSpec]) -> Step:
        view = _View(transcript)
        match understand.intent(view.text):
            case "refund":
                return _refund(view)
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


class _View:
    """The transcript as the rules need it: the last user message, and which tools have answered since."""

    def __init__(self, transcript: Sequence[Message]) -> None:
        self._transcript = transcript
        self._start = max(i for i, message in enumerate(transcript) if message.role == "user")

    @property
    def text(self) -> str:
        return str(self._transcript[self._start].content)

    def observed(self, tool: str) -> Any:
        """The result of the tool's latest call for this user message, or None when it has not been called."""
        results = (content for name, content in self._results(self._start) if name == tool)
        return next(results, None)

    def earlier(self, tool: str) -> Any:
        """The result of the tool's latest call in the whole conversation, or None."""
        return next((content for name, content in self._results(0) if name == tool), None)

    def call(self, tool: str, **arguments: Any) -> ToolRequest:
        return ToolRequest(f"call-{len(self._transcript)}", tool, arguments)

    def order_number(self) -> int | None:
        """The order meant: by its number, by its place in a list shown before, or the one just spoken of."""
        named = understand.order_reference(self.text)
        if named is not None:
            return named.number
        shown = self.earlier("list_orders")
        if isinstance(shown, list):
            chosen = understand.chosen_from(self.text, [order["order"] for order in shown])
            if chosen is not None:
                return chosen
        latest = self.earlier("lookup_order")
        return latest.get("order") if isinstance(latest, Mapping) else None

    def _results(self, start: int) -> Iterator[tuple[str, Any]]:
        for message in reversed(self._transcript[start:]):
            if message.role == "tool" and message.request is not None:
                yield message.request.name, message.content


def _refund(view: _View) -> Step:
    number = view.order_number()
    if number is None:
        return Answer(replies.ask_for_number(understand.order_reference(view.text)))
    order = view.observed("lookup_order")
    if order is None:
        return view.call("lookup_order", order=number)
    if "error" in order:
        return Answer(replies.no_such_order(number))
    policy = view.observed("check_policy")
    if policy is None:
        asked_cents = understand.amount_cents(view.text)
        limits = {} if asked_cents is None else {"amount_cents": asked_cents}
        return view.call("check_policy", order=number, **limits)
    if "error" in policy:
        return Answer(replies.FAILED)
    if policy["reason"] == "needs_approval":
        return _ask_a_colleague(view, number, policy)
    if not policy["allowed"]:
        return Answer(replies.refused(order, policy))
    return _pay(view, number, policy)


def _pay(view: _View, number: int, policy: Mapping[str, Any]) -> Step:
    refund = view.observed("issue_refund")
    if refund is None:
        return view.call("issue_refund", order=number, amount_cents=policy["amount_cents"])
    return Answer(replies.FAILED if "error" in refund else replies.refunded(refund))


def _ask_a_colleague(view: _View, number: int, policy: Mapping[str, Any]) -> Step:
    ticket = view.observed("escalate")
    if ticket is None:
        summary = f"Refund of {replies.money(policy['amount_cents'])} for order {number} needs approval."
        return view.call("escalate", order=number, summary=summary)
    return Answer(replies.FAILED if "error" in ticket else replies.escalated(number, ticket))


def _refunded_amount(view: _View) -> Step:
    number = view.order_number()
    if number is None:
        return Answer(replies.ask_for_number(understand.order_reference(view.text)))
    order = view.observed("lookup_order")
    if order is None:
        return view.call("lookup_order", order=number)
    return Answer(replies.no_such_order(number) if "error" in order else replies.refunded_so_far(order))


def _list(view: _View) -> Step:
    orders = view.observed("list_orders")
    if orders is None:
        return view.call("list_orders", limit=understand.how_many(view.text) or 5)
    return Answer(replies.FAILED if isinstance(orders, Mapping) else replies.orders(orders))


def _order(view: _View) -> Step:
    number = view.order_number()
    if number is None:
        return Answer(replies.ask_for_number(understand.order_reference(view.text)))
    order = view.observed("lookup_order")
    if order is None:
        return view.call("lookup_order", order=number)
    return Answer(replies.no_such_order(number) if "error" in order else replies.order(order))
