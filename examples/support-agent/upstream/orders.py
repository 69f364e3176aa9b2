"""The shop behind the agent's tools: orders, refunds and tickets over HTTP, in memory.

`GET /orders/{number}`, `GET /customers/{customer}/orders?limit=N&offset=N`, `POST /refunds`, `POST /tickets`. Every
request needs a bearer token: any will do, but one that looks like a token of this shop must be one. `POST /oauth/token`
issues them (RFC 6749, section 6). A POST with an `Idempotency-Key` that was seen before gets the answer of that time
and changes nothing. Errors are `{"error": {"code": …, "message": …}}`, and those of `/oauth/token` as OAuth has them.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Mapping
from datetime import date
from typing import Any
from urllib.parse import parse_qs
from uuid import uuid4

from upstream import stock
from upstream.httpd import Request, Response, serve

PAGE = 4
"""Orders on one page at most."""
REFRESH_TOKEN = "refresh-token-of-the-support-agent"
TOKEN_PREFIX = "shop-token-"
TOKEN_LIVES_S = 3600


class _Refusal(Exception):
    def __init__(self, status: int, code: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.response = Response(status, {"error": {"code": code, "message": message, **details}})


class Shop:
    """One shop's state. `respond` may be called by several threads."""

    def __init__(self, today: date | None = None) -> None:
        self._today = today or date.today()
        self._orders = stock.orders(self._today)
        self._refunds = stock.refunds()
        self._tickets = 0
        self._tokens: dict[str, float] = {}
        self._done: dict[str, tuple[bytes, Response]] = {}
        self._lock = threading.Lock()

    def respond(self, request: Request) -> Response:
        """The answer to one request."""
        try:
            with self._lock:
                return self._respond(request)
        except _Refusal as refusal:
            return refusal.response

    def _respond(self, request: Request) -> Response:
        if (request.method, request.path) == ("POST", "/oauth/token"):
            return self._issue_token(request.body)
        if (challenge := self._challenge(request.bearer())) is not None:
            return challenge
        if request.method == "GET":
            if match := re.fullmatch(r"/orders/([0-9]{1,9})", request.path):
                return Response(200, self._shown(self._order(int(match[1]))))
            if match := re.fullmatch(r"/customers/([^/]{1,64})/orders", request.path):
                return Response(200, self._page_of(match[1], request))
        actions = {"/refunds": self._refund, "/tickets": self._open_ticket}
        if request.method == "POST" and request.path in actions:
            return self._once(request, actions[request.path])
        raise _Refusal(404, "not_found", f"there is no {request.method} {request.path}")

    def _challenge(self, token: str | None) -> Response | None:
        """What a request without a good token gets (RFC 6750, section 3)."""
        if token is None:
            error = {"code": "unauthorized", "message": "a bearer token is required"}
            return Response(401, {"error": error}, headers={"WWW-Authenticate": 'Bearer realm="shop"'})
        if not token.startswith(TOKEN_PREFIX) or self._tokens.get(token, 0.0) > time.monotonic():
            return None
        error = {"code": "invalid_token", "message": "the token is not known, or has expired"}
        told = 'Bearer realm="shop", error="invalid_token"'
        return Response(401, {"error": error}, headers={"WWW-Authenticate": told})

    def _issue_token(self, form: bytes) -> Response:
        fields = {name: values[-1] for name, values in parse_qs(form.decode("utf-8", "replace")).items()}
        if "grant_type" not in fields:
            return Response(400, {"error": "invalid_request"})
        if fields["grant_type"] != "refresh_token":
            return Response(400, {"error": "unsupported_grant_type"})
        if fields.get("refresh_token") != REFRESH_TOKEN:
            return Response(400, {"error": "invalid_grant"})
        token = TOKEN_PREFIX + uuid4().hex
        self._tokens[token] = time.monotonic() + TOKEN_LIVES_S
        issued = {"access_token": token, "token_type": "Bearer", "expires_in": TOKEN_LIVES_S}
        return Response(200, issued, headers={"Cache-Control": "no-store"})

    def _once(self, request: Request, action: Any) -> Response:
        key = request.headers.get("Idempotency-Key")
        if key in self._done:
            body, response = self._done[key]
            if body != request.body:
                raise _Refusal(422, "idempotency_key_reused", "this key was used for another request")
            return response
        try:
            response = action(_object(request.body))
        except _Refusal as refusal:
            response = refusal.response
        if key is not None:
            self._done[key] = (request.body, response)
        return response

    def _refund(self, asked: Mapping[str, Any]) -> Response:
        order = self._order(_whole(asked, "order"))
        amount_cents = _whole(asked, "amount_cents")
        if amount_cents <= 0:
            raise _Refusal(422, "invalid", "amount_cents must be positive")
        refunded_cents = self._refunded_cents(order.number)
        if refunded_cents >= order.price_cents:
            raise _Refusal(
                409, "already_refunded", "the order was refunded before", refunded_cents=refunded_cents
            )
        if refunded_cents + amount_cents > order.price_cents:
            raise _Refusal(409, "too_much", "more than is left of the price", refunded_cents=refunded_cents)
        self._refunds.append((order.number, amount_cents))
        refund = {"refund": len(self._refunds), "order": order.number, "amount_cents": amount_cents}
        return Response(201, {**refund, "issued_on": self._today.isoformat()})

    def _open_ticket(self, asked: Mapping[str, Any]) -> Response:
        summary = asked.get("summary")
        if not isinstance(summary, str) or not summary.strip():
            raise _Refusal(422, "invalid", "summary must be a text")
        order = None if asked.get("order") is None else self._order(_whole(asked, "order")).number
        self._tickets += 1
        return Response(201, {"ticket": self._tickets, "order": order, "summary": summary})

    def _order(self, number: int) -> stock.Order:
        if number not in self._orders:
            raise _Refusal(404, "not_found", f"there is no order {number}")
        return self._orders[number]

    def _page_of(self, customer: str, request: Request) -> Mapping[str, Any]:
        """Some of the customer's orders, newest first, and where the next ones are."""
        limit, offset = request.query.get("limit", "20"), request.query.get("offset", "0")
        if not re.fullmatch(r"[1-9][0-9]?", limit):
            raise _Refusal(422, "invalid", "limit must be a number from 1 to 99")
        if not re.fullmatch(r"[0-9]{1,4}", offset):
            raise _Refusal(422, "invalid", "offset must be a number from 0 to 9999")
        own = [order for order in self._orders.values() if order.customer == customer]
        own.sort(key=lambda order: (order.ordered_on, order.number), reverse=True)
        begin = int(offset)
        end = begin + min(int(limit), PAGE)
        following = f"{request.path}?limit={limit}&offset={end}" if end < len(own) else None
        shown = [self._shown(order) for order in own[begin:end]]
        return {"orders": shown, "offset": begin, "total": len(own), "next": following}

    def _refunded_cents(self, number: int) -> int:
        return sum(amount for order, amount in self._refunds if order == number)

    def _shown(self, order: stock.Order) -> dict[str, Any]:
        return {
            "order": order.number,
            "customer": order.customer,
            "item": order.item,
            "price_cents": order.price_cents,
            "status": order.status,
            "ordered_on": order.ordered_on.isoformat(),
            "delivered_on": order.delivered_on.isoformat() if order.delivered_on else None,
            "refunded_cents": self._refunded_cents(order.number),
            "note": order.note,
        }


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise _Refusal(400, "bad_json", "the body is not JSON") from None
    if not isinstance(value, dict):
        raise _Refusal(400, "bad_json", "the body is not a JSON object")
    return value


def _whole(asked: Mapping[str, Any], key: str) -> int:
    value = asked.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise _Refusal(422, "invalid", f"{key} must be a whole number")
    return value


if __name__ == "__main__":
    serve(Shop().respond)
