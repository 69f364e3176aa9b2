"""A token endpoint: what it is asked and how it answers (RFC 6749, sections 4.4, 5 and 6). Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from aegis.faults.base import Seen
from aegis.faults.jsonpath import Step
from aegis.faults.providers import Reply
from aegis.faults.providers.base import Headers

NO_STORE: Headers = (("Cache-Control", "no-store"), ("Pragma", "no-cache"))


class Refused(Exception):
    """A request that gets no token."""

    def __init__(self, error: str, description: str, *, status: int = 400, headers: Headers = ()) -> None:
        super().__init__(error)
        self.error = error
        self.reply = Reply(status, {"error": error, "error_description": description}, (*NO_STORE, *headers))


@dataclass(frozen=True, slots=True)
class TokenRequest:
    grant: str
    """`refresh_token` or `client_credentials`."""
    refresh_token: str | None
    scope: str | None


def read_request(seen: Seen) -> TokenRequest:
    """What a request asks of a token endpoint, in a form or in JSON. Raises `Refused`."""
    fields = _fields(seen)
    refresh_token = fields.get("refresh_token")
    grant = fields.get("grant_type")
    if grant is None and seen.json is not None and refresh_token:
        # Endpoints of a company's own that take JSON seldom ask for it.
        grant = "refresh_token"
    if grant is None:
        raise Refused("invalid_request", "grant_type is missing")
    if grant not in ("refresh_token", "client_credentials"):
        raise Refused("unsupported_grant_type", f"grant_type {grant[:60]!r} is not supported")
    if grant == "refresh_token" and not refresh_token:
        raise Refused("invalid_request", "refresh_token is missing")
    if grant == "client_credentials" and not _names_a_client(seen, fields):
        challenge = (("WWW-Authenticate", "Basic"),) if seen.request.header("authorization") else ()
        raise Refused("invalid_client", "client authentication is missing", status=401, headers=challenge)
    return TokenRequest(grant, refresh_token, fields.get("scope"))


def _fields(seen: Seen) -> dict[str, str]:
    if isinstance(seen.json, dict):
        return {name: value for name, value in seen.json.items() if isinstance(value, str) and value}
    found: dict[str, str] = {}
    try:
        pairs = parse_qsl((seen.body or b"").decode("utf-8"), max_num_fields=100)
    except ValueError:
        raise Refused("invalid_request", "the body is neither a form nor JSON") from None
    for name, value in pairs:
        if name in found:
            raise Refused("invalid_request", f"{name[:60]} is included more than once")
        found[name] = value
    return found


def _names_a_client(seen: Seen, fields: Mapping[str, str]) -> bool:
    if (seen.request.header("authorization") or "")[:6].lower() == "basic ":
        return True
    return "client_id" in fields and ("client_secret" in fields or "client_assertion" in fields)


def issued(
    token: str, *, place: tuple[Step, ...], expires_s: float, refresh_token: str | None, scope: str | None
) -> Reply:
    """The answer that gives a token; it stands at `place`, which holds names only."""
    value: dict[str, Any] = {}
    inner = value
    for step in place[:-1]:
        inner[str(step)] = inner = {}
    inner[str(place[-1])] = token
    value |= {"token_type": "Bearer", "expires_in": round(expires_s)}
    if refresh_token is not None:
        value["refresh_token"] = refresh_token
    if scope is not None:
        value["scope"] = scope
    return Reply(200, value, NO_STORE)


def parsed(body: bytes | None) -> Any:
    """JSON, or None."""
    try:
        return None if body is None else json.loads(body)
    except (ValueError, RecursionError):
        return None
