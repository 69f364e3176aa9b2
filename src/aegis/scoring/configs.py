"""Checks that scorers share: every function yields what is wrong as (path, message), and nothing for what is
right.

Written by hand and cheap, since a suite may hold tens of thousands of expectations.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from aegis.scoring.base import ConfigError
from aegis.suite.problems import did_you_mean
from aegis.suite.units import describe, format_size, parse_duration, parse_size

Path = tuple[str | int, ...]
Problem = tuple[Path, str]


def refuse(problems: Iterable[Problem]) -> None:
    """Raise one `ConfigError` for all problems; return when there are none."""
    found = list(problems)
    if found:
        path, message = found[0]
        raise ConfigError(message, path, others=tuple(found[1:]))


def keys(config: Any, known: Collection[str], required: Collection[str] = ()) -> Iterator[Problem]:
    """`config` must be a mapping with these keys only. What it holds is not looked at."""
    if not isinstance(config, Mapping):
        yield (), f"expected a mapping, got {describe(config)}"
        return
    for key in config:
        if key not in known:
            yield (
                (key,) if isinstance(key, str | int) else (),
                f"unknown key {key!r}{did_you_mean(key, known)}",
            )
    for key in required:
        if key not in config:
            yield (), f"missing key {key!r}"


def text(config: Mapping[str, Any], key: str) -> Iterator[Problem]:
    """The value of a key, when it is there, is a text that isn't blank and holds no NUL."""
    if key in config:
        value = config[key]
        if not isinstance(value, str) or not value.strip():
            yield (key,), f"expected a text, got {describe(value)}"
        elif "\0" in value:
            yield (key,), "expected a text without NUL characters"


def flag(config: Mapping[str, Any], key: str) -> Iterator[Problem]:
    if key in config and not isinstance(config[key], bool):
        yield (key,), f"expected true or false, got {describe(config[key])}"


def whole(
    config: Mapping[str, Any], key: str, *, least: int = 0, most: int | None = None
) -> Iterator[Problem]:
    """The value of a key, when it is there, is a whole number from `least` to `most`."""
    if key not in config:
        return
    value = config[key]
    right = isinstance(value, int) and not isinstance(value, bool)
    if not right or value < least or (most is not None and value > most):
        bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
        yield (key,), f"expected a whole number {bounds}, got {describe(value)}"


def duration(config: Mapping[str, Any], key: str) -> Iterator[Problem]:
    if key in config:
        try:
            parse_duration(config[key])
        except ValueError as error:
            yield (key,), str(error)


def size(config: Mapping[str, Any], key: str, *, most: int) -> Iterator[Problem]:
    """The value of a key, when it is there, is a written size of at most `most` bytes."""
    if key in config:
        try:
            if parse_size(config[key]) > most:
                yield (key,), f"expected a size of at most {format_size(most)}, got {describe(config[key])}"
        except ValueError as error:
            yield (key,), str(error)


def seconds_of(value: Any) -> float:
    """Seconds from a number or a written duration. Raises `ValueError`."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value) or value <= 0:
            raise ValueError(f"expected more than 0 seconds, got {describe(value)}")
        return float(value)
    return parse_duration(value)


def suite_file(value: Any) -> str | None:
    """What is wrong with the path of a file that must lie in the suite's folder, or None."""
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        return f"expected the path of a file in the suite's folder, got {describe(value)}"
    if value.startswith(("/", "~")) or ".." in value.split("/"):
        return f"expected a path inside the suite's folder, got {value!r}"
    return None
