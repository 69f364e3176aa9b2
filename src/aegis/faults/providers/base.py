"""The contract of a provider's forms."""

from __future__ import annotations

import abc
import datetime
import email.utils
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from aegis.faults.answers import answer, to_json
from aegis.faults.base import Hit, Seen
from aegis.gateway.base import ResponsePlan

Headers = tuple[tuple[str, str], ...]
Form = Literal["provider", "seconds", "http-date", "ms", "none"]
FORMS: tuple[Form, ...] = ("provider", "seconds", "http-date", "ms", "none")
LIMITS = ("requests", "tokens", "secondary")
Why = Literal["expired", "unknown", "missing"]
"""What is wrong with a credential."""

DIGITS = "0123456789"
HEX = "0123456789abcdef"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def letters(draw: Callable[[str], float], purpose: str, length: int, alphabet: str = LETTERS) -> str:
    """So many characters that only `draw` and `purpose` decide."""
    found = ""
    while len(found) < length:
        number = int(draw(f"{purpose}/{len(found)}") * (1 << 53))
        for _ in range(8):
            number, digit = divmod(number, len(alphabet))
            found += alphabet[digit]
    return found[:length]


@dataclass(frozen=True, slots=True)
class At:
    """The exchange that an answer is for. Nothing else decides what the answer's ids are."""

    seen: Seen
    hit: Hit

    def text(self, purpose: str, length: int, alphabet: str = LETTERS) -> str:
        """An id of this exchange, such as a request id."""
        return letters(self.hit.draw, purpose, length, alphabet)

    def account(self, purpose: str, length: int, alphabet: str = LETTERS) -> str:
        """An id that stays the same for the whole trial, such as an organization."""
        return letters(self.hit.key.draw, purpose, length, alphabet)

    def uuid(self, purpose: str) -> str:
        text = self.account(purpose, 32, HEX)
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"

    @property
    def token(self) -> str:
        """The credential without its scheme; "" when there is none."""
        scheme, space, rest = (self.seen.credential or "").partition(" ")
        return rest.strip() if space else scheme


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit that was reached."""

    wait_s: float
    """Until a request is answered again."""
    until: datetime.datetime
    """The same as a point in time."""
    kind: str = "requests"
    """One of `LIMITS`: `secondary` is the limit on bursts that some have besides."""
    requests: int | None = None
    """Size of the bucket; None: as the provider usually has it."""
    form: Form = "provider"

    @property
    def whole_s(self) -> int:
        """Rounded up: who waits so long is not too early."""
        return math.ceil(round(self.wait_s, 6))

    @property
    def epoch_s(self) -> int:
        return math.ceil(self.until.timestamp())

    def retry_after(self, own: Form) -> Headers:
        """The header (or none) that says how long to wait; `own`: the provider's form of it."""
        form = own if self.form == "provider" else self.form
        seconds = ("Retry-After", str(self.whole_s))
        if form == "seconds":
            return (seconds,)
        if form == "ms":
            # Clients that don't know the finer one look at the other.
            return (("Retry-After-Ms", str(math.ceil(round(self.wait_s * 1000, 3)))), seconds)
        if form == "http-date":
            return (("Retry-After", email.utils.formatdate(self.epoch_s, usegmt=True)),)
        return ()


@dataclass(frozen=True, slots=True)
class Reply:
    """A provider's answer."""

    status: int
    value: Any
    """Goes out as JSON."""
    headers: Headers = ()
    indent: int | None = None
    content_type: str = "application/json"

    def with_headers(self, *headers: tuple[str, str]) -> Reply:
        return replace(self, headers=(*self.headers, *headers))

    @property
    def body(self) -> bytes:
        if self.indent is None:
            return to_json(self.value)
        return json.dumps(self.value, ensure_ascii=False, indent=self.indent).encode("utf-8", "replace")

    def plan(self, method: str, *, status: int | None = None) -> ResponsePlan:
        """As a response to a request with this method; `status` instead of its own."""
        headers = tuple((name.encode(), value.encode("latin-1", "replace")) for name, value in self.headers)
        return answer(
            self.status if status is None else status,
            self.body,
            content_type=self.content_type,
            headers=headers,
            method=method,
        )


class Provider(abc.ABC):
    """The forms of one provider. What a subclass leaves alone has the shape of its `error`."""

    name = "generic"

    @abc.abstractmethod
    def error(self, at: At, status: int, kind: str, message: str) -> Reply:
        """Any error in the provider's shape; `kind` is a word such as `server_error`."""

    def rate_limited(self, at: At, limit: Limit) -> Reply:
        reply = self.error(at, 429, "rate_limited", "Too many requests, please try again later.")
        return reply.with_headers(*limit.retry_after("seconds"))

    def quota(self, at: At, cause: str) -> Reply:
        """`cause`: `credits` are used up, or the account's `spend-limit` is reached."""
        text = (
            "The account's spending limit is reached." if cause == "spend-limit" else "No credits are left."
        )
        return self.error(at, 402, "quota_exceeded", text)

    def overloaded(self, at: At) -> Reply:
        return self.error(at, 503, "overloaded", "The service is temporarily overloaded.")

    def server_error(self, at: At) -> Reply:
        return self.error(at, 500, "server_error", "Internal server error")

    @abc.abstractmethod
    def unauthorized(self, at: At, why: Why) -> Reply:
        """For a token that can't be used any more, or was never good."""

    def refresh_refused(self, at: At, message: str | None) -> Reply:
        """A refresh token that is no longer good, by RFC 6749, section 5.2."""
        text = message or "The refresh token is invalid, expired or revoked"
        headers = (("Cache-Control", "no-store"), ("Pragma", "no-cache"))
        return Reply(400, {"error": "invalid_grant", "error_description": text}, headers)

    def forbidden(self, at: At) -> Reply:
        return self.error(at, 403, "forbidden", "You do not have permission to access this resource.")

    def overloaded_event(self, at: At) -> bytes:
        """The event that ends an event stream which had begun with a 200."""
        return sse("error", self.overloaded(at).value)


def sse(event: str | None, value: Any) -> bytes:
    """One server-sent event."""
    name = b"event: %s\n" % event.encode() if event else b""
    return b"%sdata: %s\n\n" % (name, to_json(value))
