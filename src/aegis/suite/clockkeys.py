"""The key `world.clock`: the date and the time zone in which a trial takes place."""

from __future__ import annotations

import datetime
import re
import zoneinfo
from dataclasses import dataclass
from typing import Any

from aegis.suite.kinds import BAD, Converted, Key, Schema, Section
from aegis.suite.model import Clock
from aegis.suite.problems import Path, Problems, did_you_mean
from aegis.suite.units import describe

EXPECTED_TIME = "a date and time such as 2028-02-29T23:50:00 or 2028-02-29T23:50:00+01:00"
EXPECTED_ZONE = "a time zone such as Europe/Berlin"
EXPECTED = f"{EXPECTED_TIME}, or a mapping with at and zone"
FIRST_YEAR, LAST_YEAR = 1971, 2199
"""Linux refuses a clock before 1970, and one that it could not count on from (settimeofday(2))."""
_ZONE = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")
_TIME_PATTERN = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,6})?)?(Z|[+-][0-9]{2}:?[0-9]{2})?)?$"
)


def _time(text: str) -> str:
    """Checked only: what it means depends on the zone beside it."""
    if not re.fullmatch(_TIME_PATTERN[1:-1], text):
        raise ValueError(f"expected {EXPECTED_TIME}, got {describe(text)}")
    try:
        year = datetime.datetime.fromisoformat(text).year
    except ValueError as error:
        raise ValueError(f"expected {EXPECTED_TIME}, got {describe(text)} ({error})") from None
    if not FIRST_YEAR <= year <= LAST_YEAR:
        raise ValueError(f"expected a year from {FIRST_YEAR} to {LAST_YEAR}, got {describe(text)}")
    return text


def _zone(text: str) -> str:
    if not _ZONE.fullmatch(text):
        raise ValueError(f"expected {EXPECTED_ZONE}, got {describe(text)}")
    try:
        zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        known = zoneinfo.available_timezones()
        hint = did_you_mean(text, known) if known else " (this host has no time zones: install tzdata)"
        raise ValueError(f"there is no time zone {describe(text)}{hint}") from None
    return text


AT = Converted(_time, EXPECTED_TIME, _TIME_PATTERN)
CLOCK = Section(
    (
        Key("at", AT, "What the clock shows when the agent starts; without an offset: local time of zone"),
        Key(
            "zone",
            Converted(_zone, EXPECTED_ZONE, f"^{_ZONE.pattern}$"),
            "The machine's time zone; alone: the real time there",
            default="UTC",
        ),
    ),
    not_empty=True,
)


@dataclass(frozen=True, slots=True)
class ClockKind:
    """A time, or a mapping of time and zone. Reads to the fields of `Clock`."""

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if isinstance(value, str):
            value, place = {"at": value}, path
        elif isinstance(value, dict):
            place = (*path, "at")
        else:
            problems.wrong(path, f"expected {EXPECTED}, got {describe(value)}")
            return BAD
        if place == path:
            at = AT.read(value["at"], path, problems)
            read: Any = {"at": at}
        else:
            read = CLOCK.read(value, path, problems)
        if read is BAD or BAD in read.values():
            return BAD
        zone = read.get("zone")
        if "at" not in read:
            return {"zone": zone}
        try:
            return {"at": instant(read["at"], zone), "zone": zone}
        except ValueError as error:
            problems.wrong(place, str(error))
            return BAD

    def schema(self) -> Schema:
        return {"anyOf": [AT.schema(), CLOCK.schema()]}


def instant(text: str, zone: str | None) -> float:
    """Seconds since 1970 in UTC of a time as it is written, in its own offset, else in `zone`, else in UTC.

    Raises `ValueError` for a local time that the zone leaves out or has twice when its offset changes.
    """
    moment = datetime.datetime.fromisoformat(text)
    if moment.tzinfo is not None or zone is None:
        return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp()
    place = zoneinfo.ZoneInfo(zone)
    first, second = (moment.replace(tzinfo=place, fold=fold) for fold in (0, 1))
    if first.utcoffset() == second.utcoffset():
        return first.timestamp()
    if first.astimezone(datetime.UTC).astimezone(place).replace(tzinfo=None) != moment:
        raise ValueError(f"{text} does not exist in {zone}: clocks are put forward over it")
    offsets = " or ".join(each.isoformat()[-6:] for each in (first, second))
    raise ValueError(f"{text} comes twice in {zone}: write its offset, {offsets}")


def clock_document(clock: Clock) -> dict[str, str]:
    """A clock as a suite's file writes it, and as documents show it."""
    written: dict[str, str] = {}
    if clock.at is not None:
        written["at"] = datetime.datetime.fromtimestamp(clock.at, datetime.UTC).isoformat()
    if clock.zone is not None:
        written["zone"] = clock.zone
    return written
