"""The shop's refund rules, as a function of an order and a date."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

from support.shop import Order

Reason = Literal["ok", "not_delivered", "outside_window", "already_refunded", "too_much", "needs_approval"]


@dataclass(frozen=True, slots=True)
class Decision:
    allowed: bool
    reason: Reason
    amount_cents: int
    """What may be (or, when refused, was asked to be) refunded."""
    refundable_cents: int
    """What is left of the order's price after earlier refunds."""


@dataclass(frozen=True, slots=True)
class Policy:
    window_days: int = 30
    approval_above_cents: int = 500_00
    forget_refunds: bool = False
    """The defect for demonstrations: earlier refunds are not subtracted; an order can be paid back twice."""

    def decide(self, order: Order, amount_cents: int | None, today: date) -> Decision:
        """Whether `amount_cents` (None: everything that is left) of the order may be refunded today."""
        earlier_cents = 0 if self.forget_refunds else order.refunded_cents
        left_cents = order.price_cents - earlier_cents
        asked_cents = left_cents if amount_cents is None else amount_cents
        reason = self._reason(order, asked_cents, left_cents, today)
        return Decision(reason == "ok", reason, asked_cents, left_cents)

    def _reason(self, order: Order, asked_cents: int, left_cents: int, today: date) -> Reason:
        if order.delivered_on is None:
            return "not_delivered"
        if left_cents <= 0:
            return "already_refunded"
        if (today - order.delivered_on).days > self.window_days:
            return "outside_window"
        if not 0 < asked_cents <= left_cents:
            return "too_much"
        if asked_cents > self.approval_above_cents:
            return "needs_approval"
        return "ok"
