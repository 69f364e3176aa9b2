"""Durations and sizes as people write them in a suite: `500ms`, `2s`, `5m`, `1.5h`; `64KiB`, `512MiB`,
`2GiB`.

Exact: the arithmetic is decimal, so `parse_duration(format_duration(x)) == x` for every x from a
nanosecond up, and likewise for sizes.
"""

from __future__ import annotations

import re
from decimal import Decimal

MAX_DURATION_S = 366 * 24 * 3600.0
MAX_SIZE_BYTES = 2**50  # 1 PiB

DURATION_PATTERN = r"^[0-9]{1,20}(\.[0-9]{1,30})?(ms|s|m|h)$"
SIZE_PATTERN = r"^[0-9]{1,20}(\.[0-9]{1,30})?(B|KiB|MiB|GiB|TiB)$"

EXPECTED_DURATION = "a duration such as 500ms, 2s or 5m"
EXPECTED_SIZE = "a size such as 512MiB or 2GiB"

_SECONDS = {"h": Decimal(3600), "m": Decimal(60), "s": Decimal(1), "ms": Decimal("0.001")}
_BYTES = {"TiB": 2**40, "GiB": 2**30, "MiB": 2**20, "KiB": 2**10, "B": 1}
_QUANTITY = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,30})?)([A-Za-z]+)")
_DECIMAL_UNITS = {
    "k": "KiB",
    "K": "KiB",
    "kb": "KiB",
    "m": "MiB",
    "mb": "MiB",
    "g": "GiB",
    "gb": "GiB",
    "t": "TiB",
    "tb": "TiB",
}


def parse_duration(text: object, *, allow_zero: bool = False) -> float:
    """Seconds. Units: ms, s, m, h; the unit is required, fractions are allowed (`1.5s`).

    Raises `ValueError` (`expected a duration such as …, got …`) for anything else: another type, no unit, a
    sign, NaN, zero unless `allow_zero`, more than 366 days.
    """
    number, unit = _split(text, EXPECTED_DURATION, unit="s")
    if unit not in _SECONDS:
        raise ValueError(f"expected {EXPECTED_DURATION}, got {text!r} (units: ms, s, m, h)")
    seconds = float(number * _SECONDS[unit])
    if seconds > MAX_DURATION_S:
        raise ValueError(f"expected a duration of at most 366 days, got {text!r}")
    if seconds == 0 and not allow_zero:
        raise ValueError(f"expected a duration longer than zero, got {text!r}")
    return seconds


def parse_size(text: object, *, allow_zero: bool = False) -> int:
    """Bytes. Units: B, KiB, MiB, GiB, TiB; the unit is required, a fraction must come to whole bytes.

    Raises `ValueError` (`expected a size such as …, got …`) for anything else: another type, no unit, a
    decimal unit (`MB`), a sign, NaN, zero unless `allow_zero`, more than 1 PiB.
    """
    number, unit = _split(text, EXPECTED_SIZE, unit="MiB")
    if unit not in _BYTES:
        binary = _DECIMAL_UNITS.get(unit.lower())
        hint = f"did you mean {number}{binary}?" if binary else "units: B, KiB, MiB, GiB, TiB"
        raise ValueError(f"expected {EXPECTED_SIZE}, got {text!r} ({hint})")
    size = number * _BYTES[unit]
    if size > MAX_SIZE_BYTES:
        raise ValueError(f"expected a size of at most 1024TiB, got {text!r}")
    if size != int(size):
        raise ValueError(f"expected a size in whole bytes, got {text!r}")
    if size == 0 and not allow_zero:
        raise ValueError(f"expected a size larger than zero, got {text!r}")
    return int(size)


def format_duration(seconds: float) -> str:
    """The shortest exact writing in one unit: 0.5 → `500ms`, 90.0 → `90s`, 120.0 → `2m`. Finite and ≥ 0
    only."""
    exact = Decimal(repr(float(seconds)))
    if not exact.is_finite() or exact < 0:
        raise ValueError(f"a duration is finite and not negative, got {seconds!r}")
    if exact:
        for unit in ("h", "m"):
            # Integral only: 100 s is not a finite decimal number of minutes.
            if exact % _SECONDS[unit] == 0:
                return f"{int(exact / _SECONDS[unit])}{unit}"
    if 0 < exact < 1:
        return f"{_plain(exact * 1000)}ms"
    return f"{_plain(exact)}s"


def format_size(size_bytes: int) -> str:
    """In the largest unit that gives a whole number: 536870912 → `512MiB`, 1000 → `1000B`. ≥ 0 only."""
    if size_bytes < 0:
        raise ValueError(f"a size is not negative, got {size_bytes!r}")
    for unit, factor in _BYTES.items():
        if size_bytes and size_bytes % factor == 0:
            return f"{size_bytes // factor}{unit}"
    return f"{size_bytes}B"


def _split(text: object, expected: str, *, unit: str) -> tuple[Decimal, str]:
    if isinstance(text, int | float) and not isinstance(text, bool):
        raise ValueError(
            f"expected {expected}, got the number {text!r:.40} (write the unit: {text!r:.40}{unit})"
        )
    if not isinstance(text, str):
        raise ValueError(f"expected {expected}, got {describe(text)}")
    match = _QUANTITY.fullmatch(text)
    if match is None:
        hint = (
            f" (write the unit: {text}{unit})" if re.fullmatch(r"[0-9]{1,20}(\.[0-9]{1,30})?", text) else ""
        )
        raise ValueError(f"expected {expected}, got {describe(text)}{hint}")
    return Decimal(match[1]), match[2]


def _plain(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def describe(value: object) -> str:
    """A value in the file's terms, short enough for a message: `'fast'`, `the number 3`, `a list`,
    `nothing`."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {value!r:.40}"
        case str():
            return repr(value) if len(value) <= 60 else repr(value[:57] + "...")
        case dict():
            return "a mapping" if value else "an empty mapping"
        case list() | tuple():
            return "a list" if value else "an empty list"
        case _:
            return f"a Python {type(value).__name__}"
