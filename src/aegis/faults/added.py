"""What a rewrite has put into an answer's JSON, and how faults look past it: a fault that picks a list, a field or an
element picks what it would have picked without the rewrite.

A rewrite marks what it has added (`ResponsePlan.added`) by its content, for between the two there are only bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Container
from typing import Any

Mark = tuple[str | None, bytes]
"""Name of a member, or None for an element of a list, and a digest of its JSON."""


class Before:
    """The mappings and lists in a value, to tell afterwards what a change in place has added to them."""

    def __init__(self, value: Any) -> None:
        self._known: dict[int, Container[Any]] = {}
        self._alive: list[Any] = []
        """So that no other object gets the identity of one that is gone."""
        self._look(value)

    def _look(self, value: Any) -> None:
        if isinstance(value, dict):
            self._known[id(value)] = frozenset(value)
            inner = list(value.values())
        elif isinstance(value, list):
            inner = list(value)
            self._known[id(value)] = frozenset(map(id, inner))
        else:
            return
        self._alive += [value, inner]
        for item in inner:
            self._look(item)

    def added(self, value: Any) -> set[Mark]:
        """Members that mappings have got, and mappings and lists that lists have got."""
        known = self._known.get(id(value), ())
        found: set[Mark] = set()
        if isinstance(value, dict):
            for name, item in value.items():
                found |= self.added(item) if name in known else {(name, _digest(item))}
        elif isinstance(value, list):
            for item in value:
                if isinstance(item, dict | list):
                    found |= self.added(item) if id(item) in known else {(None, _digest(item))}
        return found


class Members(dict[str, Any]):
    """A mapping of which some members were added."""

    __slots__ = ("added",)
    added: frozenset[str]


class Elements(list[Any]):
    """A list of which some elements were added."""

    __slots__ = ("added",)
    added: frozenset[int]
    """Their identities."""


def own_names(value: dict[str, Any]) -> list[str]:
    """The names of the members that would be there without a rewrite."""
    added = value.added if isinstance(value, Members) else ()
    return [name for name in value if name not in added]


def own_places(value: list[Any]) -> list[int]:
    """The indices of the elements that would be there without a rewrite."""
    added = value.added if isinstance(value, Elements) else ()
    return [place for place, item in enumerate(value) if id(item) not in added]


def looking_past(marks: set[Mark], change: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """`change`, given a value in which `own_names` and `own_places` know what was added. The marks may still come."""

    def changed(value: Any) -> bool:
        if not marks:
            return change(value)
        view = _Marker(marks).marked(value)
        if not change(view):
            return False
        value.clear()
        (value.update if isinstance(value, dict) else value.extend)(view)
        return True

    return changed


class _Marker:
    def __init__(self, marks: set[Mark]) -> None:
        self._marks = marks
        self._names = {name for name, _ in marks}

    def marked(self, value: Any) -> Any:
        """The value with its mappings and lists as `Members` and `Elements`, but for those that were added."""
        if isinstance(value, dict):
            added = frozenset(name for name, item in value.items() if self._was_added(name, item))
            members = Members(
                {name: item if name in added else self.marked(item) for name, item in value.items()}
            )
            members.added = added
            return members
        if isinstance(value, list):
            new = [isinstance(item, dict | list) and self._was_added(None, item) for item in value]
            elements = Elements(
                item if is_new else self.marked(item) for item, is_new in zip(value, new, strict=True)
            )
            elements.added = frozenset(id(item) for item, is_new in zip(value, new, strict=True) if is_new)
            return elements
        return value

    def _was_added(self, name: str | None, item: Any) -> bool:
        return name in self._names and (name, _digest(item)) in self._marks


def _digest(value: Any) -> bytes:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()
