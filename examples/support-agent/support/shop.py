"""The shop's service: orders, refunds, tickets. And the folder from which this machine's mailer sends what it finds."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from support.web import RefusedError, ServiceError, Site, read_json


@dataclass(frozen=True, slots=True)
class Order:
    number: int
    customer: str
    item: str
    price_cents: int
    status: str
    ordered_on: date
    delivered_on: date | None
    note: str
    refunded_cents: int


class Shop:
    """Every method raises `ServiceError` when the service gives no usable answer."""

    def __init__(self, site: Site, *, outbox: Path) -> None:
        self._site = site
        self._outbox = outbox

    def order(self, number: int) -> Order | None:
        try:
            return _order(self._site.get(f"/orders/{number}"))
        except RefusedError as refused:
            if refused.status == 404:
                return None
            raise

    def orders_of(self, customer: str, limit: int) -> list[Order]:
        """The customer's orders, newest first."""
        found = self._site.get(f"/customers/{quote(customer, safe='')}/orders?limit={limit}")
        return [_order(item) for item in _member(found, "orders", list)]

    def refund(self, number: int, amount_cents: int) -> int:
        """Pay back money, send the customer the note, and return the refund's number. Raises `RefusedError` with
        status 409 when the shop has paid it back before."""
        booked = self._change("/refunds", {"order": number, "amount_cents": amount_cents})
        refund: int = _member(booked, "refund", int)
        self._mail({"kind": "refund", "refund": refund, "order": number, "amount_cents": amount_cents})
        return refund

    def open_ticket(self, number: int | None, summary: str) -> int:
        """Hand the matter to a person and return the ticket's number."""
        opened = self._change("/tickets", {"order": number, "summary": summary})
        ticket: int = _member(opened, "ticket", int)
        self._mail({"kind": "ticket", "ticket": ticket, "order": number, "summary": summary})
        return ticket

    def _change(self, path: str, body: Mapping[str, Any]) -> Any:
        # The same key for every try: the shop does it once, however often it is told.
        return self._site.post(path, body, read=read_json, headers={"Idempotency-Key": uuid4().hex})

    def _mail(self, message: Mapping[str, Any]) -> None:
        text = json.dumps(message, ensure_ascii=False, indent=2)
        try:
            self._outbox.mkdir(exist_ok=True)
            number = 1 + sum(1 for _ in self._outbox.glob("*.json"))
            (self._outbox / f"{number}.json").write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            # What was done is done: without its mail it must not look as if it were not.
            print(f"cannot write the mail: {error}", file=sys.stderr)


def _order(value: Any) -> Order:
    delivered = value.get("delivered_on") if isinstance(value, dict) else None
    try:
        return Order(
            number=_member(value, "order", int),
            customer=_member(value, "customer", str),
            item=_member(value, "item", str),
            price_cents=_member(value, "price_cents", int),
            status=_member(value, "status", str),
            ordered_on=date.fromisoformat(_member(value, "ordered_on", str)),
            delivered_on=None if delivered is None else date.fromisoformat(delivered),
            note=_member(value, "note", str),
            refunded_cents=_member(value, "refunded_cents", int),
        )
    except (ValueError, TypeError) as error:
        raise ServiceError(f"the shop sent an order that cannot be read: {error}") from None


def _member(value: Any, key: str, kind: type) -> Any:
    found = value.get(key) if isinstance(value, dict) else None
    if not isinstance(found, kind) or isinstance(found, bool):
        raise ServiceError(f"the shop sent an answer without a proper {key!r}")
    return found
