"""Requests and hits as faults see them, without a gateway."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aegis.faults.base import Hit, Seen
from aegis.gateway.base import Request
from support.storm import KEY


class NoBody:
    length = 0

    async def read(self) -> bytes:
        return b""


def seen(
    method: str = "GET",
    url: str = "https://api.example/orders/1",
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = b"",
) -> Seen:
    """A request to this URL."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    lines = tuple((name.encode(), value.encode()) for name, value in (headers or {}).items())
    request = Request(method, scheme, host, 443, slash + path or "/", lines, NoBody())
    try:
        parsed: Any = json.loads(body or b"")
    except ValueError:
        parsed = None
    return Seen(request, body, parsed, 0.0)


def hit(number: int = 1) -> Hit:
    """The n-th hit of a rule."""
    return Hit("rule", "GET api.example/orders/1", number, number, 0.0, KEY)
