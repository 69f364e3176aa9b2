"""The shop's refund rules, as a function of an order and a date."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

from support.shop import Order

Reason = Literal["ok", "not_delivered", "outside_window", "already_refunded", "too_much", "needs_approval"]


@dataclass(frozen=True, slots=True)
class Policy:
    window_days: int = 30
    approval_above_cents: int = 500_00
    forget_refunds: bool = False
    """The defect for demonstrations: what was refunded before is forgotten."""

    def reason(self, order: Order, today: date, *, amount_cents: int | None = None) -> Reason:
        """`ok`, or why the order, or `amount_cents` of it, may not be refunded today."""
        left_cents = self.left_cents(order)
        if order.delivered_on is None:
            return "not_delivered"
        if left_cents <= 0:
            return "already_refunded"
        if (today - order.delivered_on).days > self.window_days:
            return "outside_window"
        if amount_cents is None:
            return "ok"
        if not 0 < amount_cents <= left_cents:
            return "too_much"
        return "needs_approval" if amount_cents > self.approval_above_cents else "ok"

    def left_cents(self, order: Order) -> int:
        """What is left of the order's price after earlier refunds."""
        return order.price_cents - (0 if self.forget_refunds else order.refunded_cents)
