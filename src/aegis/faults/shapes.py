"""The shape of JSON values, bent: members removed, renamed, of another type. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from aegis.faults import jsonpath
from aegis.faults.added import own_names, own_places
from aegis.faults.answers import to_json
from aegis.faults.jsonpath import Step

TYPES = ("string", "number", "boolean", "null", "list", "object")
_MAX_LEAVES = 10_000


def remove(value: Any, steps: tuple[Step, ...]) -> bool:
    return jsonpath.change(value, steps, lambda parent, key: parent.pop(key)) > 0


def rename(value: Any, steps: tuple[Step, ...], name: str) -> bool:
    """Give members another name at the same place; elements of lists have none."""
    done = False

    def change(parent: Any, key: Any) -> None:
        nonlocal done
        if isinstance(parent, dict) and key != name:
            members = [(name if old == key else old, item) for old, item in parent.items() if old != name]
            parent.clear()
            parent.update(members)
            done = True

    jsonpath.change(value, steps, change)
    return done


def retype(value: Any, steps: tuple[Step, ...], kind: str) -> bool:
    """Make values another type's, as close to what they were as that type allows."""
    done = False

    def change(parent: Any, key: Any) -> None:
        nonlocal done
        old = parent[key]
        new = _AS[kind](old)
        done = done or type(new) is not type(old)
        parent[key] = new

    jsonpath.change(value, steps, change)
    return done


def _as_string(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else to_json(value).decode("utf-8", "replace")


def _as_number(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"-?(0|[1-9][0-9]{0,15})(\.[0-9]{1,15})?", value):
        return float(value) if "." in value else int(value)
    return 1 if value is True else 0


_AS: dict[str, Callable[[Any], Any]] = {
    "string": _as_string,
    "number": _as_number,
    "boolean": bool,
    "null": lambda value: None,
    "list": lambda value: value if isinstance(value, list) else [value],
    "object": lambda value: value if isinstance(value, dict) else {"value": value},
}


def leaves(value: Any) -> list[tuple[Step, ...]]:
    """The members that hold no other values, as paths in the document's order; the elements of a list count as one
    (`*`). What a rewrite has added is left out."""
    found: dict[tuple[Step, ...], None] = {}
    waiting: list[tuple[tuple[Step, ...], Any]] = [((), value)]
    while waiting and len(found) < _MAX_LEAVES:
        steps, item = waiting.pop()
        if isinstance(item, dict):
            waiting += reversed([((*steps, name), item[name]) for name in own_names(item)])
        elif isinstance(item, list):
            waiting += reversed([((*steps, None), item[place]) for place in own_places(item)])
        elif steps and steps[-1] is not None:
            found[steps] = None
    return list(found)


def other_case(name: str) -> str | None:
    """`created_at` → `createdAt` and back; None for a name that is the same in both."""
    if re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)+", name):
        return re.sub(r"_([a-z0-9])", lambda found: found[1].upper(), name)
    if re.fullmatch(r"[a-z][a-z0-9]*([A-Z][a-z0-9]*)+", name):
        return re.sub(r"[A-Z]", lambda found: f"_{found[0].lower()}", name)
    return None
