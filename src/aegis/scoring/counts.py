"""`count: 2` and `count: {min: 1, max: 3}`, shared by scorers that count what fits a pattern."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aegis.scoring import configs
from aegis.scoring.configs import Problem


def bounds(count: Any) -> tuple[int, int | None]:
    """(least, most); without a count, at least one."""
    if isinstance(count, Mapping):
        return count.get("min", 0), count.get("max")
    return (1, None) if count is None else (count, count)


def right(number: int, count: Any) -> bool:
    """Whether so many are what was asked for."""
    least, most = bounds(count)
    return least <= number and (most is None or number <= most)


def wanted(count: Any, noun: str) -> str:
    """`at least 1 request`, `2 to 3 requests`."""
    least, most = bounds(count)
    if most is None:
        return f"at least {several(least, noun)}"
    if least == most:
        return several(least, noun)
    return f"at most {several(most, noun)}" if least == 0 else f"{least} to {several(most, noun)}"


def several(number: int, noun: str) -> str:
    """`1 request`, `2 requests`, `2 processes`."""
    return f"{number} {noun}{'' if number == 1 else 'es' if noun.endswith('s') else 's'}"


def problems(config: Mapping[str, Any]) -> Iterator[Problem]:
    """What is wrong with the key `count`."""
    count = config.get("count")
    if not isinstance(count, Mapping):
        yield from configs.whole(config, "count")
        return
    inner = [*configs.keys(count, ("min", "max")), *configs.whole(count, "min"), *configs.whole(count, "max")]
    if not inner and not count:
        inner = [((), "expected min, max, or both")]
    if not inner and count.get("min", 0) > count.get("max", count.get("min", 0)):
        inner = [((), f"min {count['min']} is more than max {count['max']}")]
    yield from ((("count", *path), message) for path, message in inner)
