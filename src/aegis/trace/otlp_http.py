"""Sending spans to a collector: one POST of OTLP's JSON, with the standard library."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from aegis._version import __version__
from aegis.errors import InfrastructureError, UsageError

TIMEOUT_S = 30.0
HEADERS_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
"""Where OpenTelemetry's own exporters take `name=value,…` from (credentials, mostly)."""
_MAX_REPLY_BYTES = 65_536
_DEFAULT_PATH = "/v1/traces"


def send(url: str, payload: Mapping[str, Any], *, timeout_s: float = TIMEOUT_S) -> str:
    """Send and return the URL that took it. A URL without a path gets `/v1/traces`.

    Headers come from the first of `HEADERS_VARIABLES` that is set. Raises `UsageError` for a URL that cannot be one,
    and `InfrastructureError` when nobody answers or the answer is a refusal, also of single spans.
    """
    place = _parse(url)
    body = json.dumps(payload).encode("ascii")
    headers = {"Content-Type": "application/json", "User-Agent": f"aegis/{__version__}", **_headers()}
    target = (place.path if place.path.strip("/") else _DEFAULT_PATH) + (
        f"?{place.query}" if place.query else ""
    )
    shown = f"{place.scheme}://{place.hostname}{f':{place.port}' if place.port else ''}{target}"
    kind = http.client.HTTPSConnection if place.scheme == "https" else http.client.HTTPConnection
    connection = kind(place.hostname or "", place.port, timeout=timeout_s)
    try:
        connection.request("POST", target, body, headers)
        response = connection.getresponse()
        reply = response.read(_MAX_REPLY_BYTES)
    except (OSError, ValueError, http.client.HTTPException) as error:
        words = str(error) or type(error).__name__
        raise InfrastructureError(
            f"the spans could not be sent to {shown}: {words}",
            fix="Check that an OTLP/HTTP collector listens there (port 4318 by default; 4317 is gRPC).",
        ) from error
    finally:
        connection.close()
    _check(shown, response.status, reply)
    return shown


def check_url(url: str) -> None:
    """Raises `UsageError` for a URL that cannot be a collector's."""
    _parse(url)


def _parse(url: str) -> SplitResult:
    try:
        place = urlsplit(url)
        usable = place.scheme in ("http", "https") and bool(place.hostname) and place.port != 0
    except ValueError:
        usable = False
    if not usable or any(ord(c) <= 32 or ord(c) > 126 for c in url):
        raise UsageError(f"{url!r} is not the URL of a collector", fix="e.g. --otlp http://localhost:4318")
    return place


def _headers() -> dict[str, str]:
    written = next((os.environ[name] for name in HEADERS_VARIABLES if os.environ.get(name)), "")
    found: dict[str, str] = {}
    for pair in written.split(","):
        name, separator, value = pair.partition("=")
        if separator and name.strip():
            found[name.strip()] = unquote(value.strip())
    return found


def _check(shown: str, status: int, reply: bytes) -> None:
    answer = _json(reply)
    if not 200 <= status < 300:
        words = answer.get("message") or " ".join(reply[:300].decode("utf-8", "replace").split())
        raise InfrastructureError(
            f"{shown} refused the spans: HTTP status {status}{f': {words}' if words else ''}",
            fix=f"Check the URL, and the credentials in {HEADERS_VARIABLES[-1]}."
            if status in (401, 403, 404)
            else None,
        )
    partial = answer.get("partialSuccess")
    if isinstance(partial, dict) and str(partial.get("rejectedSpans") or "0") != "0":
        words = partial.get("errorMessage") or "no reason given"
        raise InfrastructureError(f"{shown} refused {partial['rejectedSpans']} of the spans: {words}")


def _json(reply: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(reply)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}
