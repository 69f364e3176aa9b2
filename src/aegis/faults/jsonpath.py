"""Places in a JSON value: `$.items[0].price`, `$.items[*].price`, `$["odd key"]`; the leading `$.` may be left out.

A part of RFC 9535 that names places and asks nothing: names, indices (also from the end) and `*`. Indices count what
is there without a rewrite; `*` is every element that a list has, and every member that a mapping has of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from aegis.faults.added import own_names, own_places

Step = str | int | None
"""A member, an element, or each of them (None)."""

_STEP = re.compile(
    r"""\.?(?P<name>[A-Za-z_][A-Za-z0-9_-]*)      # .name
      | \.?(?P<star>\*)                            # .*
      | \[(?P<index>-?[0-9]{1,9})\]                # [0]
      | \[(?P<each>\*)\]                           # [*]
      | \[(?P<quote>['"])(?P<text>.*?)(?P=quote)\] # ["a name"]
    """,
    re.X,
)


def parse(path: str) -> tuple[Step, ...]:
    """Raises `ValueError` with what is wrong."""
    at = 1 if path.startswith("$") else 0
    steps: list[Step] = []
    while at < len(path):
        found = _STEP.match(path, at)
        if found is None or (found["name"] and steps and path[at] != "."):
            raise ValueError(f"expected a JSON path such as $.items[0].price, got {path[:80]!r}")
        if found["name"] is not None:
            steps.append(found["name"])
        elif found["index"] is not None:
            steps.append(int(found["index"]))
        else:
            steps.append(found["text"])
        at = found.end()
    if not path.strip():
        raise ValueError("expected a JSON path such as $.items[0].price, got empty text")
    return tuple(steps)


def find(value: Any, steps: tuple[Step, ...]) -> Iterator[Any]:
    """Every value at the path, in order; nothing where there is none."""
    if not steps:
        yield value
        return
    for key in _keys(value, steps[0]):
        yield from find(value[key], steps[1:])


def change(value: Any, steps: tuple[Step, ...], how: Callable[[Any, Any], None]) -> int:
    """Call `how(parent, key)` for every place that the path names, and return how many there were. Places in a list are
    visited from its end, so that `how` may remove them. The root itself has no parent and is never visited."""
    if not steps:
        return 0
    keys = list(_keys(value, steps[0]))
    if len(steps) == 1:
        for key in reversed(keys):
            how(value, key)
        return len(keys)
    return sum(change(value[key], steps[1:], how) for key in keys)


def _keys(value: Any, step: Step) -> list[Any]:
    if isinstance(value, dict):
        if step is None:
            return own_names(value)
        return [step] if isinstance(step, str) and step in value else []
    if isinstance(value, list):
        if step is None:
            return list(range(len(value)))
        places = own_places(value)
        if isinstance(step, int) and -len(places) <= step < len(places):
            return [places[step]]
    return []
