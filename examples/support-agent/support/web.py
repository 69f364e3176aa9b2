"""HTTP for the agent: JSON over one kept connection to each server, through the proxy if the environment names one.

What may pass is tried again: connections that break, answers that break off, 408, 429 and 5xx. Between two tries it
waits, longer each time and never for the same time as its neighbours, or for as long as the server says.
"""

from __future__ import annotations

import json
import random
import socket
import ssl
import sys
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

T = TypeVar("T")

TRIES = 5
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
"""A server that wants us to wait longer gets no more requests for this step."""
TIMEOUT_S = 60.0
"""Without a byte."""
PASSING = frozenset({408, 429, 500, 502, 503, 504})

Read = Callable[[HTTPResponse], T]
"""Takes an answer from its connection, whole. Raises `BrokenAnswerError` for one that broke off or makes no sense."""


class ServiceError(Exception):
    """A server gave no usable answer, in spite of every try that made sense."""


class BrokenAnswerError(Exception):
    """An answer broke off, or is not what was asked for."""


class RefusedError(ServiceError):
    """The answer is final, and no success."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"status {status}: {body[:300].decode('utf-8', 'replace')}")
        self.status = status
        self.body = body

    def detail(self) -> Mapping[str, Any]:
        """The object under `error` of its JSON body, or nothing."""
        try:
            error = json.loads(self.body)["error"]
        except (ValueError, LookupError, TypeError):
            return {}
        return error if isinstance(error, dict) else {}


class Site:
    """One server. `base` is its URL with the path's beginning; `token` goes along with each request."""

    def __init__(self, base: str, token: str) -> None:
        parts = urlsplit(base.rstrip("/"))
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"not a URL of a server: {base}")
        self._tls = parts.scheme == "https"
        self._host = parts.hostname
        self._port = parts.port or (443 if self._tls else 80)
        self._authority = parts.netloc.rpartition("@")[2]
        self._path = parts.path
        self._token = token
        self._connection: HTTPConnection | None = None

    def get(self, path: str) -> Any:
        """The JSON value at a path. Raises `RefusedError` or `ServiceError`."""
        return self.request("GET", path, read=read_json)

    def post(self, path: str, body: Any, *, read: Read[T], headers: Mapping[str, str] | None = None) -> T:
        """Send a JSON value. It may be sent more than once: give an `Idempotency-Key` where that matters."""
        return self.request("POST", path, body=body, read=read, headers=headers)

    def request(
        self,
        method: str,
        path: str,
        *,
        read: Read[T],
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> T:
        """Send a request until there is an answer to it that can be used, and read that."""
        for left in reversed(range(TRIES)):
            pause_s = random.uniform(0.5, 1.0) * FIRST_PAUSE_S * 2 ** (TRIES - 1 - left)
            try:
                response = self._send(method, path, body, headers or {})
                if response.status < 300:
                    return read(response)
                refused = RefusedError(response.status, response.read())
                if response.status not in PASSING:
                    raise refused
                trouble: Exception = refused
                pause_s = _retry_after_s(response) or pause_s
            except ssl.SSLCertVerificationError as error:
                raise ServiceError(f"{self._host}: {error}") from error
            except (OSError, HTTPException, BrokenAnswerError) as error:
                if _is_final(error):
                    raise ServiceError(f"{self._host}: {error}") from error
                trouble = error
            finally:
                self._tidy()
            print(f"{method} {self._host}{path}: {trouble!r}", file=sys.stderr)
            if not left or pause_s > LONGEST_PAUSE_S:
                break
            time.sleep(pause_s)
        raise ServiceError(f"{self._host} does not answer: {trouble}") from trouble

    def _send(self, method: str, path: str, body: Any, headers: Mapping[str, str]) -> HTTPResponse:
        data = None if body is None else json.dumps(body).encode()
        kept = self._connection
        try:
            return self._exchange(method, path, data, headers)
        except (ConnectionError, HTTPException):
            if kept is None:
                raise
        # A kept connection that the server has closed in the meantime tells nothing: a new one is tried at once.
        self._drop()
        return self._exchange(method, path, data, headers)

    def _exchange(
        self, method: str, path: str, data: bytes | None, headers: Mapping[str, str]
    ) -> HTTPResponse:
        if self._connection is None:
            self._connection = self._connect()
        kind = {} if data is None else {"Content-Type": "application/json"}
        self._connection.request(
            method,
            self._target(path),
            body=data,
            headers={
                "Host": self._authority,
                "Authorization": f"Bearer {self._token}",
                "Accept": "application/json, text/event-stream",
                "User-Agent": "support-agent/2.0",
                **kind,
                **headers,
            },
        )
        self._response = self._connection.getresponse()
        return self._response

    def _connect(self) -> HTTPConnection:
        proxy = _proxy("https" if self._tls else "http", self._host, self._port)
        host, port = proxy or (self._host, self._port)
        if not self._tls:
            connection = HTTPConnection(host, port, timeout=TIMEOUT_S)
        else:
            # The usual context: SSL_CERT_FILE and SSL_CERT_DIR replace the system's authorities.
            connection = HTTPSConnection(host, port, timeout=TIMEOUT_S, context=_context())
            if proxy is not None:
                connection.set_tunnel(self._host, self._port)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _target(self, path: str) -> str:
        if not self._tls and _proxy("http", self._host, self._port) is not None:
            return f"http://{self._authority}{self._path}{path}"
        return self._path + path

    _response: HTTPResponse | None = None

    def _tidy(self) -> None:
        """An answer that was not read to its end leaves a connection that can't be used again."""
        response, self._response = self._response, None
        if response is None or not response.isclosed():
            self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def read_json(response: HTTPResponse) -> Any:
    """The answer's body as a JSON value."""
    body = response.read()
    try:
        return json.loads(body)
    except ValueError:
        raise BrokenAnswerError(f"not JSON: {body[:100]!r}") from None


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


def _retry_after_s(response: HTTPResponse) -> float | None:
    """What the server wants us to wait: seconds, or until a date."""
    value = response.headers.get("Retry-After", "").strip()
    if value.replace(".", "", 1).isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _is_final(error: Exception) -> bool:
    """Whether a proxy said that this host is not to be reached (`Tunnel connection failed: 403 …`)."""
    return str(error).startswith("Tunnel connection failed: 4") and "429" not in str(error)
