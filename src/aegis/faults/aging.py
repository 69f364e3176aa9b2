"""Times as they were some while ago, in the form in which they were written. Pure."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any

from aegis.faults import jsonpath
from aegis.faults.jsonpath import Step
from aegis.gateway.base import RawHeaders
from aegis.gateway.heads import without

_ISO = re.compile(
    r"(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})(?P<rest>(?P<sep>[T ])[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?P<part>\.[0-9]{1,9})?)?"
    r"(?P<zone>Z|[+-][0-9]{2}:?[0-9]{2})?)?"
)
_DATED = (b"date", b"last-modified", b"expires")
_LEAST_SECONDS, _LEAST_MILLIS = 1e8, 1e11
"""Numbers from 1973 on, in seconds and in milliseconds since 1970; smaller ones are taken for no times."""


def earlier(value: Any, age_s: float) -> Any:
    """The time `age_s` seconds before the one that is written in a text or a number; None for what is no time."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        if value < _LEAST_SECONDS:
            return None
        moved = value - age_s * (1000 if value >= _LEAST_MILLIS else 1)
        return round(moved) if isinstance(value, int) else moved
    if not isinstance(value, str):
        return None
    try:
        return _earlier_iso(value, age_s) or _earlier_http(value, age_s)
    except (ValueError, OverflowError):
        return None


def _earlier_iso(text: str, age_s: float) -> str | None:
    found = _ISO.fullmatch(text)
    if found is None:
        return None
    day = found["day"]
    if found["rest"] is None:
        return (datetime.fromisoformat(day) - timedelta(seconds=age_s)).date().isoformat()
    zone, part = found["zone"] or "", found["part"] or ""
    # The fraction stays as it is: whole seconds are taken away, and it may have more digits than Python keeps.
    clock = found["rest"][1 : len(found["rest"]) - len(zone)].removesuffix(part)
    moved = datetime.fromisoformat(f"{day}T{clock}") - timedelta(seconds=int(age_s))
    return f"{moved.date().isoformat()}{found['sep']}{moved.time().isoformat()[: len(clock)]}{part}{zone}"


def _earlier_http(text: str, age_s: float) -> str | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None
    return format_datetime(moment - timedelta(seconds=age_s), usegmt=moment.utcoffset() == timedelta(0))


def age_fields(value: Any, steps: tuple[Step, ...], age_s: float) -> bool:
    """Make the times at a path of a JSON value so much earlier; whether there was one."""
    done = False

    def change(parent: Any, key: Any) -> None:
        nonlocal done
        moved = earlier(parent[key], age_s)
        if moved is not None:
            parent[key] = moved
            done = True

    jsonpath.change(value, steps, change)
    return done


def aged_headers(headers: RawHeaders, age_s: float) -> RawHeaders:
    """With Date, Last-Modified and Expires so much earlier, and the Age (RFC 9111, section 5.1) that a cache would
    tell."""
    aged: list[tuple[bytes, bytes]] = []
    for name, value in without(headers, b"age"):
        moved = None
        if name.lower() in _DATED:
            moved = earlier(value.decode("latin-1"), age_s)
        aged.append((name, value if moved is None else str(moved).encode("latin-1")))
    return (*aged, (b"Age", str(int(age_s)).encode()))
