"""The tools that the model may call. Results are JSON values; a failure is one too: {"error": …}."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

from support.errors import RefusedError, ServiceError, SignedOutError
from support.policy import Policy
from support.shop import Order, Shop

_ORDER_NUMBER = {"type": "integer", "minimum": 1000, "maximum": 9999, "description": "four digits"}


class ToolError(Exception):
    """The call can't be done as asked. The text is a short code, which goes to the model."""


class Toolbox:
    """The tools of one conversation. They serve the signed-in customer only and keep to the refund rules, whatever the
    model asks for."""

    def __init__(self, shop: Shop, *, customer: str, policy: Policy, today: date | None = None) -> None:
        self._shop = shop
        self._customer = customer
        self._policy = policy
        self._today = today or date.today()
        self._seen: dict[int, Order] = {}
        self.done: list[str] = []
        """What was changed for the customer, in words."""
        self._functions: dict[str, Callable[..., Any]] = {
            "list_orders": self._list_orders,
            "lookup_order": self._lookup_order,
            "issue_refund": self._issue_refund,
            "escalate": self._escalate,
        }

    @property
    def specs(self) -> Sequence[Mapping[str, Any]]:
        return SPECS

    def call(self, name: str, arguments: str) -> Any:
        """Run one tool with arguments as the model wrote them, and return its result, or `{"error": code}`."""
        function = self._functions.get(name)
        if function is None:
            return {"error": "no_such_tool"}
        try:
            given = json.loads(arguments or "{}")
            return function(**given)
        except (ValueError, TypeError) as error:
            return {"error": "bad_arguments", "message": str(error)}
        except ToolError as error:
            return {"error": str(error)}
        except SignedOutError as error:
            return {"error": "signed_out", "message": str(error)}
        except ServiceError as error:
            return {"error": "shop_unavailable", "message": str(error)}

    def _list_orders(self, limit: int = 5) -> list[dict[str, Any]]:
        return [self._shown(order) for order in self._shop.orders_of(self._customer, limit)]

    def _lookup_order(self, order: int) -> dict[str, Any]:
        found = self._own(order)
        return {
            **self._shown(found),
            "refund": {
                "reason": self._policy.reason(found, self._today),
                "left_cents": self._policy.left_cents(found),
                "approval_above_cents": self._policy.approval_above_cents,
                "window_days": self._policy.window_days,
            },
        }

    def _issue_refund(self, order: int, amount_cents: int) -> dict[str, Any]:
        # As looked up last: the shop has the last word in any case.
        found = self._seen.get(order) or self._own(order)
        reason = self._policy.reason(found, self._today, amount_cents=amount_cents)
        if reason != "ok":
            raise ToolError(reason)
        self._seen.clear()
        try:
            refund = self._shop.refund(order, amount_cents)
        except RefusedError as refused:
            if refused.status != 409:
                raise
            if self._policy.forget_refunds:
                # The defect's other half: "409? Then an earlier try of ours got through, all is well."
                return {"refund": 1, "order": order, "amount_cents": amount_cents}
            raise ToolError(str(refused.detail().get("code", "already_refunded"))) from None
        self.done.append(f"refund {refund} of {amount_cents / 100:.2f} EUR for order {order}")
        return {"refund": refund, "order": order, "amount_cents": amount_cents}

    def _escalate(self, summary: str, order: int | None = None) -> dict[str, Any]:
        ticket = self._shop.open_ticket(order, summary)
        self.done.append(f"ticket {ticket}")
        return {"ticket": ticket}

    def _own(self, number: int) -> Order:
        order = self._shop.order(number)
        # Somebody else's order and no order at all look the same: who bought what is nobody's business.
        if order is None or order.customer != self._customer:
            raise ToolError("not_found")
        self._seen[number] = order
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
) -> Mapping[str, Any]:
    parameters = {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }
    return {
        "type": "function",
        "function": {"name": name, "description": description, "parameters": parameters},
    }


SPECS: tuple[Mapping[str, Any], ...] = (
    _spec(
        "list_orders",
        "The customer's orders, newest first.",
        {"limit": {"type": "integer", "minimum": 1, "maximum": 20}},
    ),
    _spec(
        "lookup_order",
        "One order of the customer. Its `refund` says whether it may be refunded today (reason: ok) or why not, how "
        "much is left, and above which amount a colleague has to approve.",
        {"order": _ORDER_NUMBER},
        ["order"],
    ),
    _spec(
        "issue_refund",
        "Pay back money. Cannot be undone; look the order up first.",
        {"order": _ORDER_NUMBER, "amount_cents": {"type": "integer", "minimum": 1}},
        ["order", "amount_cents"],
    ),
    _spec(
        "escalate",
        "Hand the matter to a colleague, who will write to the customer.",
        {"summary": {"type": "string"}, "order": _ORDER_NUMBER},
        ["summary"],
    ),
)
