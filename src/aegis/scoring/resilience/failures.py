"""What a response means to the one who sent the request."""

from __future__ import annotations

from typing import Any

from aegis.scoring.resilience.attempt import Attempt
from aegis.scoring.resilience.waits import asked_wait
from aegis.trace import lenient

PARTIAL_KINDS = frozenset({"truncate", "cut-stream", "drop-page", "malformed-json", "garbage"})
"""Faults that leave a response incomplete or unreadable."""

_ANSWERS = frozenset({404, 410, 412, 416})
"""Statuses that are an answer and no failure: it isn't there, it has changed."""
_NOT_DONE = frozenset({501, 505, 529})
"""Of the 5xx, those that say that nothing was done."""
_OWN_DOING = frozenset({"client-gone", "client-stalled", "cancelled"})
"""Errors that are not the other side's: the client left, the trial ended."""
_QUOTA_WORDS = (
    "insufficient_quota",
    "billing_error",
    "billing_hard_limit_reached",
    "credit balance is too low",
)
_DEAD_GRANTS = ("invalid_grant", "bad_refresh_token", "invalid_refresh_token")
_FUTILE = frozenset({400, 401, 402, 403})


def failed(attempt: Attempt) -> bool:
    """Whether it is to be sent again or given up: no answer, an error status, a broken response, an error in a 200."""
    if attempt.exchange.ended_s is None or attempt.error_kind == "cancelled":
        return False
    if attempt.status is None:
        return not attempt.ok or says_no(attempt)
    if attempt.status >= 400:
        return attempt.status not in _ANSWERS
    return partial(attempt) or says_no(attempt)


def succeeded(attempt: Attempt) -> bool:
    """A whole success, also by what it holds."""
    return attempt.ok and not failed(attempt)


def transient(attempt: Attempt) -> bool:
    """A failure that may be over when it is tried again."""
    if not failed(attempt):
        return False
    if attempt.status is None:
        return not attempt.ok
    if attempt.status == 429:
        return not quota(attempt)
    return attempt.status in (408, 409, 425) or (attempt.status >= 500 and attempt.status not in (501, 505))


def ambiguous(attempt: Attempt) -> bool:
    """Whether the one who sent it cannot know if it was done: no answer, one that broke off, or a 5xx that does not
    say that it was refused before anything happened (as a 503 with a Retry-After does)."""
    if attempt.exchange.ended_s is None or attempt.error_kind == "cancelled":
        return False
    if attempt.status is None:
        return not attempt.ok
    if attempt.status < 400:
        return bool(attempt.exchange.error) or bool(attempt.kinds & PARTIAL_KINDS)
    if attempt.status < 500 or attempt.status in _NOT_DONE:
        return False
    return not (attempt.status == 503 and asked_wait(attempt) is not None)


def quota(attempt: Attempt) -> bool:
    """An answer that says that money or quota is used up: waiting does not bring it back."""
    if attempt.status is None or attempt.status < 400:
        return False
    if attempt.status == 402 or "quota-exceeded" in attempt.kinds:
        return True
    return attempt.status in (400, 403, 429) and any(word in _error_words(attempt) for word in _QUOTA_WORDS)


def futile(attempt: Attempt) -> bool:
    """An answer that the same request will get again. A 403 that asks for a wait is a rate limit (GitHub's)."""
    if quota(attempt):
        return True
    if attempt.status == 403:
        return asked_wait(attempt) is None and "rate limit" not in _error_words(attempt)
    return attempt.status in _FUTILE


def invalid_grant(attempt: Attempt) -> bool:
    """The answer of a token endpoint to a refresh token that is dead (RFC 6749, 5.2)."""
    if "refresh-revoked" in attempt.kinds:
        return True
    # GitHub and Slack say it in a 200.
    return any(word in _error_words(attempt) for word in _DEAD_GRANTS)


def partial(attempt: Attempt) -> bool:
    """A success whose body is not whole: it broke off, or a fault took a part of it. What a fault of that kind found
    nothing to take from is whole."""
    if attempt.status is None or not 200 <= attempt.status < 300:
        return False
    if attempt.exchange.error:
        return attempt.error_kind not in _OWN_DOING
    kinds = attempt.kinds & PARTIAL_KINDS
    if kinds & {"truncate", "malformed-json"} and "json" in attempt.message.content_type:
        # A part of JSON is never JSON, but for numbers.
        return not isinstance(attempt.message.response, dict | list)
    return bool(kinds)


def says_no(attempt: Attempt) -> bool:
    """A 200 that is an error all the same: of an MCP tool, of GraphQL, of Slack."""
    if attempt.kinds & {"tool-error", "graphql-errors"}:
        return True
    if attempt.asks_model:
        return False
    if attempt.message.request_map.get("jsonrpc") == "2.0":
        return any(map(_is_rpc_error, _bodies(attempt)))
    if "json" not in attempt.message.content_type:
        return False
    body = lenient.mapping(attempt.message.response)
    if isinstance(body.get("errors"), list) and body["errors"] and body.get("data", False) is None:
        return True
    return body.get("ok") is False and isinstance(body.get("error"), str)


def _bodies(attempt: Attempt) -> list[dict[str, Any]]:
    """The JSON of a response, or of its events."""
    message = attempt.message
    if message.is_event_stream:
        return [lenient.mapping(lenient.parse(event.data)) for event in message.events]
    return [lenient.mapping(message.response)]


def _is_rpc_error(body: dict[str, Any]) -> bool:
    return "error" in body or lenient.mapping(body.get("result")).get("isError") is True


def _error_words(attempt: Attempt) -> str:
    """The texts of an error's body, in small letters."""
    found: list[str] = []

    def collect(value: Any, depth: int) -> None:
        if isinstance(value, str):
            found.append(value[:1000].lower())
        elif isinstance(value, dict) and depth:
            for item in list(value.values())[:50]:
                collect(item, depth - 1)

    collect(attempt.message.response, 3)
    return "\n".join(found)
