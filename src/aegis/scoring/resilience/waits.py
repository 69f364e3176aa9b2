"""How long a response asks its client to wait. Sources: RFC 9110, 10.2.3 (Retry-After); GitHub's "Rate limits for the
REST API", https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api (2026-11)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from aegis.scoring.resilience.attempt import Attempt
from aegis.trace.message import header

TOLERANCE_S = 0.05
DATE_TOLERANCE_S = 1.0
"""A date is a whole second, and so is the Date that it is compared with."""
_LONGEST_S = 366 * 86400.0
_EPOCH_FROM_S = 1e9
"""A reset below this is a number of seconds or a duration of another provider, not a time."""


@dataclass(frozen=True, slots=True)
class Wait:
    seconds: float
    tolerance_s: float
    words: str
    """`Retry-After 2 s`."""


def asked_wait(attempt: Attempt) -> Wait | None:
    """What a failing response says: `retry-after-ms`, else Retry-After, else GitHub's reset. None when it asks for no
    wait, or for a time that cannot be told (a date without a Date beside it)."""
    if attempt.status is None or attempt.status < 400:
        return None
    return _milliseconds(attempt) or _retry_after(attempt) or _reset(attempt)


def _milliseconds(attempt: Attempt) -> Wait | None:
    wait_ms = _number(_header(attempt, "retry-after-ms"))
    return None if wait_ms is None else Wait(wait_ms / 1000, TOLERANCE_S, f"retry-after-ms {wait_ms:g}")


def _retry_after(attempt: Attempt) -> Wait | None:
    value = _header(attempt, "retry-after")
    if (seconds := _number(value)) is not None:
        return Wait(seconds, TOLERANCE_S, f"Retry-After {seconds:g} s")
    then, now = _date(value), _date(_header(attempt, "date"))
    if then is None or now is None:
        return None
    seconds = max(0.0, (then - now).total_seconds())
    return Wait(seconds, DATE_TOLERANCE_S, f"a Retry-After {seconds:g} s after its Date")


def _reset(attempt: Attempt) -> Wait | None:
    """GitHub: a 403 or 429 whose remaining requests are 0 says when there are new ones, in seconds of the epoch."""
    if attempt.status not in (403, 429) or _header(attempt, "x-ratelimit-remaining") != "0":
        return None
    reset, now = _number(_header(attempt, "x-ratelimit-reset"), most=1e11), _date(_header(attempt, "date"))
    if reset is None or now is None or reset < _EPOCH_FROM_S:
        return None
    seconds = max(0.0, reset - now.timestamp())
    return Wait(seconds, DATE_TOLERANCE_S, f"an x-ratelimit-reset {seconds:g} s after its Date")


def _header(attempt: Attempt, name: str) -> str:
    return header(attempt.exchange.response_headers, name).strip()


def _number(value: str, most: float = _LONGEST_S * 1000) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) and 0 <= number <= most else None


def _date(value: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
