"""How a request can end without a usable answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from email.message import Message
from typing import Any


class ServiceError(Exception):
    """A server gave no usable answer, in spite of every try that made sense."""


class BrokenAnswerError(Exception):
    """An answer broke off, or is not what was asked for."""


class SignedOutError(ServiceError):
    """The service does not accept this agent any more, and gives it no new token."""


class RefusedError(ServiceError):
    """The answer is final, and no success."""

    def __init__(self, status: int, body: bytes, headers: Message) -> None:
        super().__init__(f"status {status}: {body[:300].decode('utf-8', 'replace')}")
        self.status = status
        self.body = body
        self.headers = headers

    @property
    def token_expired(self) -> bool:
        """Whether another token would do (RFC 6750, section 3.1)."""
        return self.status == 401 and 'error="invalid_token"' in self.headers.get("WWW-Authenticate", "")

    def detail(self) -> Mapping[str, Any]:
        """The object under `error` of its JSON body, or nothing."""
        try:
            error = json.loads(self.body)["error"]
        except (ValueError, LookupError, TypeError):
            return {}
        return error if isinstance(error, dict) else {}
