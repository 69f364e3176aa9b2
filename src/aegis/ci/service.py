"""Calls of a web service with JSON: bounded, repeated where that can help, and careful with the token."""

from __future__ import annotations

import email.utils
import http.client
import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from time import sleep
from typing import Any

from aegis._version import __version__

ATTEMPTS = 5
TIMEOUT_S = 30.0
MAX_WAIT_S = 120.0
"""What a service may ask for in one go (`Retry-After`); more than that, and the call fails."""
MAX_BODY_BYTES = 16 << 20
MAX_PAGES = 100
_REDIRECTS = 3
_NEXT = re.compile(r'<([^<>]*)>\s*;[^,]*\brel="?next"?')


class ServiceError(Exception):
    """The service refused, or could not be asked. `status` is the HTTP status; None without an answer.

    The text is one line, and the token is not in it.
    """

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    data: Any
    """The body as JSON; None when it is none."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    # urllib would send the token along to wherever the answer points.
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


class Service:
    """A service at `url`. `headers` go to that origin and to no other; `secret` is taken out of every message."""

    def __init__(self, url: str, headers: Mapping[str, str], *, secret: str = "") -> None:
        self._url = url.rstrip("/")
        self._origin = _origin(self._url)
        self._headers = dict(headers)
        self._secret = secret
        self._opener = urllib.request.build_opener(_NoRedirect)
        if self._origin[0] not in ("http", "https") or not self._origin[1]:
            raise ServiceError(f"{self._clean(url)} is no http or https address")

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        """One call, with any status but a redirection's. `path` is below the service's URL, or a URL of its origin.

        GET and writes that are safe to repeat (PATCH, PUT) are repeated after a 5xx, a lost connection and a rate
        limit; POST after a rate limit only, since it may have been done. Waits are those that the service asks for,
        or 1, 2, 4, 8 s. Raises `ServiceError` when there is no answer, or the last one is a 5xx or a rate limit.
        """
        for attempt in range(ATTEMPTS):
            problem, wait_s, done = self._attempt(method, path, body, attempt)
            if done is not None:
                return done
            assert problem is not None
            if wait_s is None or wait_s > MAX_WAIT_S or attempt == ATTEMPTS - 1:
                raise problem
            self.pause(wait_s)
        raise AssertionError("unreachable")

    def pages(self, path: str) -> Iterator[Any]:
        """The items of a list, page after page (`Link: …; rel="next"`). Raises `ServiceError`, also for a refusal."""
        url: str | None = path
        for _ in range(MAX_PAGES):
            if url is None:
                return
            answer = self.call("GET", url)
            self.check(answer)
            if not isinstance(answer.data, list):
                raise ServiceError(f"{self._shown(url)} did not answer with a list", answer.status)
            yield from answer.data
            found = _NEXT.search(answer.headers.get("link", ""))
            url = found[1] if found else None

    def check(self, answer: Answer) -> None:
        """Raise `ServiceError` with the service's own words for a status that is no success."""
        if not 200 <= answer.status < 300:
            raise ServiceError(f"{answer.status}: {self._said(answer)}", answer.status)

    def pause(self, seconds: float) -> None:
        sleep(seconds)

    def _attempt(
        self, method: str, path: str, body: Mapping[str, Any] | None, attempt: int
    ) -> tuple[ServiceError | None, float | None, Answer | None]:
        """(what went wrong, seconds to wait before the next attempt or None for no more, the answer)."""
        usual_s = float(2**attempt)
        repeatable = method != "POST"
        try:
            answer = self._send(method, path, body)
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            text = self._clean(f"{self._shown(path)} cannot be reached: {reason}")
            return ServiceError(text), usual_s if repeatable else None, None
        limited = _limited(answer)
        if answer.status < 500 and not limited:
            return None, None, answer
        problem = ServiceError(f"{answer.status}: {self._said(answer)}", answer.status)
        if not (limited or repeatable):
            return problem, None, None
        return problem, _asked_wait(answer.headers, usual_s), None

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None) -> Answer:
        url = path if "://" in path else f"{self._url}/{path.lstrip('/')}"
        for _ in range(_REDIRECTS + 1):
            if _origin(url) != self._origin:
                raise ServiceError(
                    f"{self._shown(path)} points to another host, which does not get the token"
                )
            answer, location = self._once(method, url, body)
            if location is None:
                return answer
            url = urllib.parse.urljoin(url, location)
        raise ServiceError(f"{self._shown(path)} redirects again and again")

    def _once(self, method: str, url: str, body: Mapping[str, Any] | None) -> tuple[Answer, str | None]:
        request = urllib.request.Request(
            url,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"User-Agent": f"aegis/{__version__}", **self._headers}
            | ({"Content-Type": "application/json"} if body is not None else {}),
        )
        try:
            response = self._opener.open(request, timeout=TIMEOUT_S)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            raw = response.read(MAX_BODY_BYTES + 1)
            status = response.status
            headers = {name.lower(): value for name, value in response.headers.items()}
        if len(raw) > MAX_BODY_BYTES:
            raise ServiceError(
                f"{self._shown(url)} answered with more than {MAX_BODY_BYTES >> 20} MiB", status
            )
        try:
            data = json.loads(raw) if raw else None
        except ValueError:
            data = None
        location = headers.get("location") if status in (301, 302, 307, 308) else None
        return Answer(status, headers, data), location

    def _said(self, answer: Answer) -> str:
        data = answer.data if isinstance(answer.data, dict) else {}
        said = data.get("message") or data.get("error") or http.client.responses.get(answer.status, "refused")
        return self._clean(str(said))[:300]

    def _shown(self, path: str) -> str:
        return self._clean(path if "://" in path else f"{self._url}/{path.lstrip('/')}").partition("?")[0]

    def _clean(self, text: str) -> str:
        shown = " ".join(text.split())
        return shown.replace(self._secret, "***") if self._secret else shown


def token_from(env: Mapping[str, str], variable: str) -> str:
    """The value of the variable. Raises `ServiceError`, which does not quote it."""
    token = env.get(variable, "").strip()
    if not token:
        raise ServiceError(f"there is no token in {variable}")
    if not re.fullmatch(r"[\x21-\x7e]+", token):
        raise ServiceError(f"what {variable} holds is no token")
    return token


def _limited(answer: Answer) -> bool:
    """Whether the service asks for patience. GitHub does so with 403 too, which else is a refusal."""
    if answer.status == 429:
        return True
    if answer.status != 403:
        return False
    said = str(answer.data.get("message", "")) if isinstance(answer.data, dict) else ""
    remaining = answer.headers.get("x-ratelimit-remaining")
    return "retry-after" in answer.headers or remaining == "0" or "rate limit" in said.lower()


def _asked_wait(headers: Mapping[str, str], usual_s: float) -> float:
    """Seconds that the service asks for: `Retry-After` as a number or a date, GitHub's time of the reset; else the
    usual ones."""
    asked = headers.get("retry-after", "").strip()
    if asked.isdecimal():
        return float(asked)
    if asked:
        try:
            return max(0.0, email.utils.parsedate_to_datetime(asked).timestamp() - time.time())
        except ValueError:
            return usual_s
    reset = headers.get("x-ratelimit-reset", "")
    if headers.get("x-ratelimit-remaining") == "0" and reset.isdecimal():
        return max(0.0, float(reset) - time.time()) + 1.0
    return usual_s


def _origin(url: str) -> tuple[str, str]:
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        return "", ""
    return parts.scheme.lower(), parts.netloc.lower()
