"""Exchanges as an HTTP archive (HAR 1.2), which every browser's network tools open.

Source: http://www.softwareishard.com/blog/har-12-spec/. What HAR cannot say stands in fields that begin with `_`, as it
allows. Connections that carried no HTTP that was seen (refused, unopened, plain TCP) are in the log's `_connections`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from aegis._version import __version__
from aegis.trace.exchange import Body, Exchange, Headers
from aegis.trace.message import header

FetchBlob = Callable[[str], bytes]


def to_har(
    exchanges: Iterable[Exchange], fetch_blob: FetchBlob, *, started_at: datetime, comment: str = ""
) -> dict[str, Any]:
    """The document as JSON values. `started_at` is the trial's clock zero; what `fetch_blob` raises comes out of
    here."""
    exchanges = list(exchanges)
    seen = [item for item in exchanges if item.kind in ("http", "websocket")]
    rest = [item for item in exchanges if item.kind not in ("http", "websocket")]
    log: dict[str, Any] = {
        "version": "1.2",
        "creator": {"name": "aegis", "version": __version__},
        "entries": [_entry(item, fetch_blob, started_at) for item in seen],
        "comment": comment,
    }
    if rest:
        log["_connections"] = [_connection(item, started_at) for item in rest]
    return {"log": log}


def _entry(exchange: Exchange, fetch_blob: FetchBlob, started_at: datetime) -> dict[str, Any]:
    timings = _timings(exchange)
    entry: dict[str, Any] = {
        "startedDateTime": _when(started_at, exchange.started_s),
        "time": round(sum(value for value in timings.values() if value >= 0), 3),
        "request": _request(exchange, fetch_blob),
        "response": _response(exchange, fetch_blob),
        "cache": {},
        "timings": timings,
        "connection": str(exchange.connection),
        "_id": exchange.id,
    }
    if exchange.upstream:
        entry["_upstream"] = exchange.upstream
        if (address := exchange.upstream.rpartition(":")[0].strip("[]")) and address[-1].isdigit():
            entry["serverIPAddress"] = address
    for name in ("error", "faults", "routed", "replayed"):
        if value := getattr(exchange, name):
            entry[f"_{name}"] = list(value) if isinstance(value, tuple) else value
    if exchange.kind == "websocket":
        entry["_resourceType"] = "websocket"
    return entry


def _timings(exchange: Exchange) -> dict[str, float]:
    """Milliseconds; -1 stands for what does not apply."""
    if exchange.first_byte_s is None:
        waited = 0.0 if exchange.ended_s is None else exchange.ended_s - exchange.started_s
        received = 0.0
    else:
        waited = exchange.first_byte_s - exchange.started_s
        received = 0.0 if exchange.ended_s is None else exchange.ended_s - exchange.first_byte_s
    milliseconds = {"send": 0.0, "wait": _ms(waited), "receive": _ms(received)}
    return {"blocked": -1, "dns": -1, "connect": -1, "ssl": -1, **milliseconds}


def _ms(seconds: float) -> float:
    return round(max(0.0, seconds) * 1000, 3)


def _request(exchange: Exchange, fetch_blob: FetchBlob) -> dict[str, Any]:
    url = _url(exchange)
    request: dict[str, Any] = {
        "method": exchange.method,
        "url": url,
        "httpVersion": "HTTP/1.1",
        "cookies": _cookies(exchange.request_headers, "cookie"),
        "headers": _headers(exchange.request_headers),
        "queryString": _query(url),
        "headersSize": -1,
        "bodySize": exchange.request_body.size_bytes if exchange.request_body else 0,
    }
    if exchange.request_body and exchange.request_body.size_bytes:
        text, encoding = _content(exchange.request_body, fetch_blob)
        kind = header(exchange.request_headers, "content-type") or "application/octet-stream"
        request["postData"] = {"mimeType": kind, "params": [], "text": text}
        if encoding:
            request["postData"]["comment"] = f"the text is the body in {encoding}"
    return request


def _response(exchange: Exchange, fetch_blob: FetchBlob) -> dict[str, Any]:
    body = exchange.response_body
    text, encoding = _content(body, fetch_blob) if body else ("", "")
    content: dict[str, Any] = {
        "size": len(base64.b64decode(text)) if encoding else len(text.encode("utf-8", "replace")),
        "mimeType": header(exchange.response_headers, "content-type") or "x-unknown",
        "text": text,
    }
    if encoding:
        content["encoding"] = encoding
    if body is not None and body.truncated:
        content["comment"] = "only the beginning was recorded"
    return {
        # 0 is what browsers write for a request that got no response.
        "status": exchange.status or 0,
        "statusText": exchange.reason,
        "httpVersion": "HTTP/1.1",
        "cookies": _cookies(exchange.response_headers, "set-cookie"),
        "headers": _headers(exchange.response_headers),
        "content": content,
        "redirectURL": header(exchange.response_headers, "location"),
        "headersSize": -1,
        "bodySize": body.size_bytes if body else -1,
    }


def _content(body: Body, fetch_blob: FetchBlob) -> tuple[str, str]:
    """(text, encoding): as text when it is text, else in base64."""
    if body.text is not None:
        return body.text, ""
    if not body.blob:
        return "", ""
    data = fetch_blob(body.blob)
    try:
        return data.decode("utf-8"), ""
    except UnicodeDecodeError:
        return base64.b64encode(data).decode("ascii"), "base64"


def _url(exchange: Exchange) -> str:
    usual = {"http": 80, "ws": 80, "https": 443, "wss": 443}.get(exchange.scheme)
    host = f"[{exchange.host}]" if ":" in exchange.host else exchange.host
    port = "" if exchange.port == usual else f":{exchange.port}"
    return f"{exchange.scheme}://{host}{port}{exchange.path or '/'}"


def _query(url: str) -> list[dict[str, str]]:
    try:
        pairs = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    except ValueError:
        return []
    return [{"name": name, "value": value} for name, value in pairs]


def _headers(headers: Headers) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in headers]


def _cookies(headers: Headers, name: str) -> list[dict[str, str]]:
    """Names and values only, of both directions' headers."""
    found = []
    for key, value in headers:
        if key.lower() == name:
            parts = value.split(";") if name == "cookie" else [value.partition(";")[0]]
            found += [part.strip().partition("=") for part in parts if "=" in part]
    return [{"name": left, "value": right} for left, _, right in found]


def _connection(exchange: Exchange, started_at: datetime) -> dict[str, Any]:
    return {
        "startedDateTime": _when(started_at, exchange.started_s),
        "kind": exchange.kind,
        "host": exchange.host,
        "port": exchange.port,
        "error": exchange.error,
    }


def _when(started_at: datetime, seconds: float) -> str:
    moment = (started_at + timedelta(seconds=seconds)).astimezone(UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
