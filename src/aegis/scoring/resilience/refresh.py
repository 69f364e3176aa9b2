"""Requests that fetch a token: told by what a fault was told, and by the shape that OAuth 2 gives them (RFC 6749)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs

from aegis.scoring import glob
from aegis.scoring.resilience.attempt import Attempt
from aegis.trace import lenient
from aegis.trace.faults import FaultReport

_PATH = re.compile(r"/(?:tokens?|refresh|refresh[-_]?token|access_token|token[-_]refresh)$", re.I)
_WRITTEN = re.compile(r"(?:(?P<method>[A-Za-z]+)\s+)?(?P<host>[^\s/]+)?(?P<path>/\S*)?")


def grant_type(attempt: Attempt) -> str:
    """`refresh_token`, `client_credentials`, …; "" when the body names none."""
    body = attempt.message.request
    if isinstance(body, dict):
        return lenient.string(body.get("grant_type"))
    sent = attempt.exchange.request_body
    if sent is None or sent.text is None or len(sent.text) > 65_536 or "grant_type" not in sent.text:
        return ""
    return parse_qs(sent.text).get("grant_type", [""])[0]


def is_token_request(attempt: Attempt, reports: Iterable[FaultReport] = ()) -> bool:
    """Whether it asks for a token: as one of the faults was told, or by its shape."""
    if any(matches(report.params.get("refresh"), attempt) for report in reports):
        return True
    if attempt.method != "POST" or attempt.asks_model:
        return False
    return bool(grant_type(attempt)) or _PATH.search(attempt.message.path) is not None


def matches(where: Any, attempt: Attempt) -> bool:
    """Whether a fault's `refresh` is about this request: `POST auth.example/oauth/token`, or a mapping with `method`,
    `host` and `path`. What it does not name may be anything; naming nothing matches nothing."""
    if isinstance(where, str):
        found = _WRITTEN.fullmatch(where.strip())
        where = {name: value for name, value in found.groupdict().items() if value} if found else {}
    if not isinstance(where, Mapping):
        return False
    wanted = {name: _texts(where.get(name)) for name in ("method", "host", "path")}
    if not any(wanted.values()):
        return False
    host, port = attempt.place
    actual = {
        "method": (attempt.method,),
        "host": (host, f"{host}:{port}"),
        "path": (attempt.exchange.path.partition("?")[0], attempt.message.path),
    }
    return all(
        not patterns
        or any(glob.matches(_seen(name, pattern), value) for pattern in patterns for value in actual[name])
        for name, patterns in wanted.items()
    )


def _seen(name: str, pattern: str) -> str:
    return {"method": pattern.upper(), "host": pattern.lower()}.get(name, pattern)


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [item for item in value if isinstance(item, str)] if isinstance(value, list | tuple) else []
