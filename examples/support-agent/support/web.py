"""HTTP for the agent: JSON over one kept connection to each server, through the proxy if the environment names one.

What may pass is tried again: connections that break, answers that break off, 408, 429 and 5xx. How often, and after
which pause, is a matter of `manners`. A token that has expired is renewed once, and its request sent once more.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, TypeVar
from urllib.parse import unquote, urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass
from uuid import uuid4

from support.errors import BrokenAnswerError, RefusedError, ServiceError
from support.login import Login
from support.manners import PATIENT, Manners

T = TypeVar("T")

PASSING = frozenset({408, 429, 500, 502, 503, 504, 529})

Read = Callable[[HTTPResponse], T]
"""Takes an answer from its connection, whole. Raises `BrokenAnswerError` for one that broke off or makes no sense."""


class _PassingError(Exception):
    """What may be over the next time. `wait_s` is how long the server wants us to wait, None when it does not say."""

    def __init__(self, trouble: Exception, wait_s: float | None) -> None:
        super().__init__(repr(trouble))
        self.wait_s = wait_s


@dataclass(frozen=True, slots=True)
class _Call:
    method: str
    path: str
    data: bytes | None
    headers: Mapping[str, str]


class Site:
    """One server. `base` is its URL with the path's beginning; the token of `login` goes along with each request."""

    def __init__(self, base: str, login: Login | None, manners: Manners = PATIENT) -> None:
        parts = urlsplit(base.rstrip("/"))
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"not a URL of a server: {base}")
        self.manners = manners
        self._tls = parts.scheme == "https"
        self._host = parts.hostname
        self._port = parts.port or (443 if self._tls else 80)
        self._authority = parts.netloc.rpartition("@")[2]
        self._path = parts.path
        self._login = login
        self._connection: HTTPConnection | None = None
        self._response: HTTPResponse | None = None

    def get(self, path: str, *, read: Read[T]) -> T:
        """What stands at a path. Raises `RefusedError` or `ServiceError`."""
        return self._persist(_Call("GET", path, None, {}), read)

    def post(self, path: str, body: Any, *, read: Read[T]) -> T:
        """Send a JSON value, perhaps more than once: for what may be done twice."""
        return self._persist(_Call("POST", path, json.dumps(body).encode(), _JSON), read)

    def post_form(self, path: str, fields: Mapping[str, str], *, read: Read[T]) -> T:
        """Send the fields of a form, perhaps more than once."""
        return self._persist(_Call("POST", path, urlencode(fields).encode(), _FORM), read)

    def change(self, path: str, body: Any, *, read: Read[T]) -> T:
        """Send a JSON value with an idempotency key: the server does it once, however often it is told."""
        call = _keyed(_Call("POST", path, json.dumps(body).encode(), _JSON))
        return self._persist(call, read, new_key=not self.manners.keeps_keys)

    def _persist(self, call: _Call, read: Read[T], *, new_key: bool = False) -> T:
        """Send a request until there is an answer to it that can be used, and read that."""
        tried = 0
        while True:
            tried += 1
            try:
                return self._signed_in(call, read)
            except _PassingError as trouble:
                print(f"{call.method} {self._host}{call.path}: {trouble}", file=sys.stderr)
                pause_s = self.manners.pause_s(tried, trouble.wait_s)
                if pause_s is None:
                    raise ServiceError(f"{self._host} does not answer: {trouble}") from trouble
            time.sleep(pause_s)
            call = _keyed(call) if new_key else call

    def _signed_in(self, call: _Call, read: Read[T]) -> T:
        """One try, and a second one with a new token if the first one's had expired."""
        if self._login is None:
            return self._try(call, read)
        try:
            return self._try(_signed(call, self._login.token()), read)
        except RefusedError as refused:
            token = self._login.next_token() if refused.token_expired else None
            if token is None:
                raise
        return self._try(_signed(call, token), read)

    def _try(self, call: _Call, read: Read[T]) -> T:
        kept = self._connection is not None
        try:
            response = self._exchange(call)
            if response.status < 300:
                return read(response)
            refused = RefusedError(response.status, self._rest(response), response.headers)
        except ssl.SSLCertVerificationError as error:
            raise ServiceError(f"{self._host}: {error}") from error
        except (OSError, HTTPException, BrokenAnswerError) as error:
            if _is_final(error):
                raise ServiceError(f"{self._host}: {error}") from error
            # A kept connection that the server has closed in the meantime tells nothing: a new one is tried at once.
            stale = kept and self._response is None and not isinstance(error, TimeoutError)
            self._drop()
            raise _PassingError(error, wait_s=0.0 if stale else None) from error
        finally:
            self._tidy()
        if refused.status in PASSING:
            raise _PassingError(refused, wait_s=_retry_after_s(refused)) from refused
        raise refused

    def _rest(self, response: HTTPResponse) -> bytes:
        """The body of an error. When it breaks off, the status says enough."""
        try:
            return response.read()
        except (OSError, HTTPException):
            self._drop()
            return b""

    def _exchange(self, call: _Call) -> HTTPResponse:
        if self._connection is None:
            self._connection = self._connect()
        fixed = {
            "Host": self._authority,
            "Accept": "application/json, text/event-stream",
            "User-Agent": "support-agent/2.0",
        }
        self._connection.request(
            call.method, self._target(call.path), body=call.data, headers={**fixed, **call.headers}
        )
        self._response = self._connection.getresponse()
        return self._response

    def _connect(self) -> HTTPConnection:
        proxy = _proxy("https" if self._tls else "http", self._host, self._port)
        host, port = proxy or (self._host, self._port)
        timeout_s = self.manners.timeout_s
        if not self._tls:
            connection = HTTPConnection(host, port, timeout=timeout_s)
        else:
            # The usual context: SSL_CERT_FILE and SSL_CERT_DIR replace the system's authorities.
            connection = HTTPSConnection(host, port, timeout=timeout_s, context=_context())
            if proxy is not None:
                connection.set_tunnel(self._host, self._port)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _target(self, path: str) -> str:
        if not self._tls and _proxy("http", self._host, self._port) is not None:
            return f"http://{self._authority}{self._path}{path}"
        return self._path + path

    def _tidy(self) -> None:
        """An answer that was not read to its end leaves a connection that can't be used again."""
        response, self._response = self._response, None
        if response is None or not response.isclosed():
            self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


_JSON = {"Content-Type": "application/json"}
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def read_json(response: HTTPResponse, limit: int | None = None) -> Any:
    """The answer's body, or its first `limit` bytes, as a JSON value."""
    body = response.read()[:limit]
    try:
        return json.loads(body)
    except ValueError:
        raise BrokenAnswerError(f"not JSON: {body[:100]!r}") from None


def _keyed(call: _Call) -> _Call:
    return replace(call, headers={**call.headers, "Idempotency-Key": uuid4().hex})


def _signed(call: _Call, token: str) -> _Call:
    return replace(call, headers={**call.headers, "Authorization": f"Bearer {token}"})


_contexts: list[ssl.SSLContext] = []


def _context() -> ssl.SSLContext:
    """One for all connections: reading the authorities takes a while."""
    if not _contexts:
        _contexts.append(ssl.create_default_context())
    return _contexts[0]


def _proxy(scheme: str, host: str, port: int) -> tuple[str, int] | None:
    proxies = getproxies()
    url = proxies.get(scheme) or proxies.get("all")
    if not url or proxy_bypass(f"{host}:{port}"):
        return None
    parts = urlsplit(url if "://" in url else f"http://{url}")
    return (unquote(parts.hostname), parts.port or 80) if parts.hostname else None


def _retry_after_s(refused: RefusedError) -> float | None:
    """What the server wants us to wait: seconds, or until a date. None when it says nothing, or a time that is over."""
    value = refused.headers.get("Retry-After", "").strip()
    if value.replace(".", "", 1).isdigit():
        return float(value) or None
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time()) or None
    except (ValueError, TypeError, OverflowError):
        return None


def _is_final(error: Exception) -> bool:
    """Whether a proxy said that this host is not to be reached (`Tunnel connection failed: 403 …`)."""
    return str(error).startswith("Tunnel connection failed: 4") and "429" not in str(error)
