"""The tools that the model may call. Results are JSON values; a failure is one too: {"error": …}."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

from support.messages import ToolRequest, ToolSpec
from support.policy import Policy
from support.shop import Order, Shop

_ORDER_NUMBER = {"type": "integer", "minimum": 1000, "maximum": 9999}
_CENTS = {"type": "integer", "minimum": 1}


class ToolError(Exception):
    """The call cannot be done as asked; the text goes to the model."""


class Toolbox:
    """The tools of one conversation. They serve the signed-in customer only, whatever the model asks for."""

    def __init__(self, shop: Shop, *, customer: str, policy: Policy, today: date | None = None) -> None:
        self._shop = shop
        self._customer = customer
        self._policy = policy
        self._today = today or date.today()
        self._functions: dict[str, Callable[..., Any]] = {
            "list_orders": self._list_orders,
            "lookup_order": self._lookup_order,
            "check_policy": self._check_policy,
            "issue_refund": self._issue_refund,
            "escalate": self._escalate,
        }

    @property
    def specs(self) -> Sequence[ToolSpec]:
        return SPECS

    def call(self, request: ToolRequest) -> Any:
        """Run one tool and return its result, or `{"error": text}`."""
        function = self._functions.get(request.name)
        if function is None:
            return {"error": f"there is no tool {request.name!r}"}
        try:
            return function(**request.arguments)
        except (ToolError, TypeError, sqlite3.Error, OSError) as error:
            return {"error": str(error)}

    def _list_orders(self, limit: int = 5) -> list[dict[str, Any]]:
        return [self._shown(order) for order in self._shop.orders_of(self._customer, limit)]

    def _lookup_order(self, order: int) -> dict[str, Any]:
        return self._shown(self._own(order))

    def _check_policy(self, order: int, amount_cents: int | None = None) -> dict[str, Any]:
        decision = self._policy.decide(self._own(order), amount_cents, self._today)
        return {
            "allowed": decision.allowed,
            "reason": decision.reason,
            "amount_cents": decision.amount_cents,
            "refundable_cents": decision.refundable_cents,
            "window_days": self._policy.window_days,
        }

    def _issue_refund(self, order: int, amount_cents: int) -> dict[str, Any]:
        if amount_cents <= 0:
            raise ToolError("amount_cents must be positive")
        refund = self._shop.refund(self._own(order), amount_cents, self._today)
        return {"refund": refund, "order": order, "amount_cents": amount_cents}

    def _escalate(self, summary: str, order: int | None = None) -> dict[str, Any]:
        return {"ticket": self._shop.open_ticket(order, summary)}

    def _own(self, number: int) -> Order:
        order = self._shop.order(number)
        # Somebody else's order and no order at all look the same: who bought what is nobody's business.
        if order is None or order.customer != self._customer:
            raise ToolError(f"this customer has no order {number}")
        return order

    def _shown(self, order: Order) -> dict[str, Any]:
        return {
            "order": order.number,
            "item": order.item,
            "price_cents": order.price_cents,
            "status": order.status,
            "ordered_on": order.ordered_on.isoformat(),
            "delivered_on": order.delivered_on.isoformat() if order.delivered_on else None,
            "refunded_cents": order.refunded_cents,
            "note": order.note,
        }


def _spec(
    name: str, description: str, properties: Mapping[str, Any], required: Sequence[str] = ()
) -> ToolSpec:
    parameters = {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }
    return ToolSpec(name, description, parameters)


SPECS: tuple[ToolSpec, ...] = (
    _spec(
        "list_orders",
        "The customer's orders, newest first.",
        {"limit": {"type": "integer", "minimum": 1, "maximum": 20}},
    ),
    _spec("lookup_order", "One order of the customer.", {"order": _ORDER_NUMBER}, ["order"]),
    _spec(
        "check_policy",
        "Whether an amount (left out: all that is left) of an order may be refunded today, and why not.",
        {"order": _ORDER_NUMBER, "amount_cents": _CENTS},
        ["order"],
    ),
    _spec(
        "issue_refund",
        "Pay back money. Cannot be undone; ask check_policy first.",
        {"order": _ORDER_NUMBER, "amount_cents": _CENTS},
        ["order", "amount_cents"],
    ),
    _spec(
        "escalate",
        "Hand the matter to a colleague.",
        {"summary": {"type": "string"}, "order": _ORDER_NUMBER},
        ["summary"],
    ),
)
