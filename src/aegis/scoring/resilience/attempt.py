"""One request as the rules look at it: what it asked for, who sent it, how it ended."""

from __future__ import annotations

import hashlib
import json
import math
from functools import cached_property
from typing import Any

from aegis.scoring.words import plain
from aegis.trace import Exchange, lenient
from aegis.trace.message import FetchBlob, Message, header
from aegis.trace.modelrequests import asks_a_model

_TOLD_CHARS = 120
_KEY_HEADERS = ("idempotency-key", "x-idempotency-key")
_KEY_FIELDS = frozenset(
    {"idempotencykey", "requestid", "clienttoken", "clientrequestid", "clientrequesttoken"}
)
"""Fields of a JSON body that say `the same as before` to a server, without case, `_` and `-`."""


class Attempt:
    """One request that was sent. Bodies are fetched and read when a rule asks; not thread-safe."""

    def __init__(
        self,
        exchange: Exchange,
        fetch_blob: FetchBlob,
        *,
        kinds: frozenset[str] = frozenset(),
        permanent: bool = False,
    ) -> None:
        """`kinds` are the names of the faults that hit it, `permanent` whether one of them never ends."""
        self.exchange = exchange
        self.message = Message(exchange, fetch_blob)
        self.kinds = kinds
        self.permanent = permanent
        self.id = exchange.id
        self.started_s = exchange.started_s
        self.ended_s = math.inf if exchange.ended_s is None else exchange.ended_s
        self.status = exchange.status
        self.method = exchange.method.upper()
        self.place = (exchange.host.lower(), exchange.port)
        self.who = (*self.place, exchange.credential)
        """Host, port and credential: whom a limit is for."""
        self.route = (*self.place, self.method, self.message.path)
        self.asks_model = exchange.kind == "http" and asks_a_model(self.method, self.message.path)
        self._fetch_blob = fetch_blob

    # -- what was asked --------------------------------------------------------------------------------------------

    @cached_property
    def key(self) -> str:
        """The logical request: a hash of method, host, path with query, and body. JSON counts without the order of its
        keys, JSON-RPC without its id, multipart without its boundary."""
        return self._hash(_canonical(self.message.request))

    @cached_property
    def write_key(self) -> str:
        """As `key`, without what only says whether it is the same request as before."""
        value = _canonical(self.message.request)
        if isinstance(value, dict):
            value = {name: item for name, item in value.items() if _plain_name(name) not in _KEY_FIELDS}
        return self._hash(value)

    @cached_property
    def idempotency_key(self) -> str | None:
        """What tells a server that it has seen this request: the header Idempotency-Key, or a field of the body."""
        for name in _KEY_HEADERS:
            if value := header(self.exchange.request_headers, name):
                return value
        for name, value in lenient.mapping(self.message.request).items():
            if _plain_name(name) in _KEY_FIELDS and isinstance(value, str | int) and value != "":
                return str(value)
        return None

    @cached_property
    def tool(self) -> str | None:
        """The tool that an MCP request calls."""
        body = self.message.request_map
        if body.get("jsonrpc") != "2.0" or body.get("method") != "tools/call":
            return None
        return lenient.string(lenient.mapping(body.get("params")).get("name"))

    @property
    def told(self) -> str:
        """`GET crm.example/orders/1042`."""
        exchange = self.exchange
        port = "" if exchange.port in (0, 80, 443) else f":{exchange.port}"
        tool = f" (tool {self.tool})" if self.tool else ""
        return plain(f"{self.method} {exchange.host}{port}{exchange.path}{tool}".strip(), _TOLD_CHARS)

    @cached_property
    def request_text(self) -> str:
        """The request's body as far as it was recorded."""
        return self._raw().decode("utf-8", "replace")

    # -- who sent it -----------------------------------------------------------------------------------------------

    @cached_property
    def sdk_retry(self) -> int | None:
        """The number that the official SDKs of OpenAI and Anthropic send: 0 for a request of the agent's own, n for
        their n-th retry of it. None when the client tells nothing."""
        value = header(self.exchange.request_headers, "x-stainless-retry-count").strip()
        return int(value) if value.isascii() and value.isdigit() and len(value) < 6 else None

    @property
    def sender(self) -> str:
        return f"the SDK's retry {self.sdk_retry}" if self.sdk_retry else "the agent's own"

    # -- how it ended ----------------------------------------------------------------------------------------------

    @property
    def error_kind(self) -> str:
        """`injected`, `client-gone`, …; "" when nothing went wrong."""
        return (self.exchange.error or "").partition(":")[0]

    @property
    def ok(self) -> bool:
        """A success by its status, whose end was seen. What it holds may still be an error."""
        if self.exchange.error or self.exchange.ended_s is None:
            return False
        if self.exchange.kind == "mcp-stdio":
            return True
        return self.status is not None and 200 <= self.status < 400

    @property
    def outcome(self) -> str:
        """`got 503`, `got no answer (…)`."""
        if self.status is None and self.ok:
            return "got an answer"
        if self.status is None:
            why = plain((self.exchange.error or "").partition(":")[2], 80).strip()
            return f"got no answer ({why})" if why else "got no answer"
        if self.status < 400 and self.exchange.error:
            return f"got {self.status} and a response that broke off"
        return f"got {self.status}"

    def _hash(self, body: Any) -> str:
        if body is None:
            content = self._bare()
        else:
            try:
                content = json.dumps(body, sort_keys=True).encode()
            except (RecursionError, ValueError, TypeError):
                content = self._bare()
        exchange = self.exchange
        start = json.dumps([exchange.kind, self.method, *self.place, exchange.path]).encode()
        return hashlib.sha256(start + b"\n" + content).hexdigest()

    def _raw(self) -> bytes:
        body = self.exchange.request_body
        if body is None:
            return b""
        if body.text is not None:
            return body.text.encode("utf-8", "surrogatepass")
        return self._fetch_blob(body.blob) if body.blob else b""

    def _bare(self) -> bytes:
        body, raw = self.exchange.request_body, self._raw()
        if boundary := _boundary(header(self.exchange.request_headers, "content-type")):
            raw = raw.replace(boundary, b"")
        # Of a body that was longer than is recorded, its size says more.
        return raw + (b"\n%d" % body.size_bytes if body is not None and body.truncated else b"")


def _canonical(value: Any) -> Any:
    """A parsed body without what differs between two sendings of the same; None stays None."""
    if isinstance(value, list):
        return [_canonical(item) if isinstance(item, dict) else item for item in value]
    if not isinstance(value, dict) or value.get("jsonrpc") != "2.0":
        return value
    value = {name: item for name, item in value.items() if name != "id"}
    if isinstance(params := value.get("params"), dict):
        value["params"] = {name: item for name, item in params.items() if name != "_meta"}
    return value


def _plain_name(name: Any) -> str:
    return str(name).lower().replace("_", "").replace("-", "")


def _boundary(content_type: str) -> bytes:
    kind, _, rest = content_type.partition(";")
    if not kind.strip().lower().startswith("multipart/"):
        return b""
    for part in rest.split(";"):
        name, _, value = part.strip().partition("=")
        if name.lower() == "boundary":
            return value.strip('"').encode("latin-1", "replace")
    return b""
