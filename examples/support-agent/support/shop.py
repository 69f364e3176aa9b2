"""The shop's service: orders, refunds, tickets. What was done is written to the customer, and into the journal."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import partial
from http.client import HTTPResponse
from typing import Any
from urllib.parse import quote

from support.errors import BrokenAnswerError, RefusedError, ServiceError, SignedOutError
from support.journal import Journal
from support.mail import Mailer
from support.savings import NONE, Savings
from support.web import Site, read_json


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

    def __init__(self, site: Site, *, mailer: Mailer, journal: Journal, savings: Savings = NONE) -> None:
        self._site = site
        self._mailer = mailer
        self._journal = journal
        self._read = partial(read_json, limit=savings.read_bytes)

    def order(self, number: int) -> Order | None:
        try:
            return _order(self._site.get(f"/orders/{number}", read=self._read))
        except RefusedError as refused:
            if refused.status == 404:
                return None
            raise

    def orders_of(self, customer: str, limit: int) -> list[Order]:
        """The customer's orders, newest first."""
        found: list[Order] = []
        path: str | None = f"/customers/{quote(customer, safe='')}/orders?limit={limit}"
        while path is not None and len(found) < limit:
            page = self._site.get(path, read=self._read_page)
            found += [_order(item) for item in _member(page, "orders", list)]
            path = page.get("next")
        return found[:limit]

    def refund(self, number: int, amount_cents: int) -> int:
        """Pay back money, send the customer the note, and return the refund's number. Raises `RefusedError` with
        status 409 when the shop has paid it back before."""
        booked = self._site.change(
            "/refunds", {"order": number, "amount_cents": amount_cents}, read=read_json
        )
        refund: int = _member(booked, "refund", int)
        self._journal.refund(refund, number, amount_cents)
        self._mailer.refund(refund, number, amount_cents)
        return refund

    def open_ticket(self, number: int | None, summary: str) -> int:
        """Hand the matter to a person and return the ticket's number."""
        opened = self._site.change("/tickets", {"order": number, "summary": summary}, read=read_json)
        ticket: int = _member(opened, "ticket", int)
        self._journal.ticket(ticket, number)
        self._mailer.ticket(ticket, number, summary)
        return ticket

    def _read_page(self, response: HTTPResponse) -> Any:
        page = self._read(response)
        if self._site.manners.wants_whole_answers and not _adds_up(page):
            raise BrokenAnswerError("a page of orders that holds less than it says")
        return page


class Renewal:
    """How the shop gives a new token for an old one (RFC 6749, section 6). `site` is the shop without a login."""

    def __init__(self, site: Site, refresh_token: str) -> None:
        self._site = site
        self._refresh_token = refresh_token

    def __call__(self) -> str:
        """The new token. Raises `SignedOutError` when the shop gives none."""
        fields = {"grant_type": "refresh_token", "refresh_token": self._refresh_token}
        try:
            issued = self._site.post_form("/oauth/token", fields, read=read_json)
        except RefusedError as refused:
            raise SignedOutError(f"the shop gives no new token: {refused}") from refused
        token: str = _member(issued, "access_token", str)
        self._refresh_token = issued.get("refresh_token", self._refresh_token)
        return token


def _adds_up(page: Any) -> bool:
    """Whether a page holds orders as long as there are any left, and names the next page just as long."""
    here = len(_member(page, "orders", list))
    end: int = _member(page, "offset", int) + here
    total: int = _member(page, "total", int)
    return (here > 0 or end >= total) and (page.get("next") is not None) == (end < total)


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
