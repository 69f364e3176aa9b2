"""Lists of records in a result, and which of them a case is about. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote

from aegis.faults import mcp, pages
from aegis.faults.base import Seen

Record = dict[str, Any]

_LIMITS = re.compile(
    r"limit|(per|page|max)?_?(size|results|items|count|page)|count|first|last|top|take|max|n|num|number_?of_\w+"
)
_ORDERING = re.compile(
    r"sort(ing|_?by|_?order|_?dir(ection)?)?|order_?by|dir(ection)?|fields?|select|expand|include|embed|lang(uage)?|locale"
    r"|format|api_?version|version|v|page|page_?(number|token)|offset|cursor|after|before|skip|start|marker|(next_?)?token"
)
_SEARCHES = re.compile(r"q|s|query|search|search_?(term|text|query)|text|terms?|keywords?|phrase|name_?like")
_OWN_KEY = re.compile(
    r"_?(id|uuid|guid|key|number|no|nr|sku|code|slug|ref|reference|href|url|uri|self|link|etag|handle|email|e_?mail|iban"
    r"|barcode|tracking(_?(id|number|code|url))?)",
    re.I,
)
_KEY_ENDING = re.compile(
    r".*(_(id|uuid|number|no|code|key|ref|sku|email)|Id|Uuid|Number|Code|Key|Ref|Sku|Email)"
)
_DIGIT = re.compile(r"\d")


def scalar(value: Any) -> str | None:
    """A text, number or truth value as the text that names it; None for everything else."""
    if isinstance(value, str):
        return value.casefold().removeprefix("#")
    if isinstance(value, bool) or value is None or isinstance(value, dict | list):
        return None
    return str(value)


def list_of(value: Any) -> list[Any] | None:
    """The listing in a result: a list of two or more records, or of one."""
    items = pages.items_of(value)
    if not items or not all(isinstance(item, dict) and item for item in items):
        return None
    return items


def holds_named(value: Any, named: frozenset[str], *, besides: list[Any] | None = None) -> bool:
    """Whether one of the ids stands anywhere in a value, outside the list `besides`."""
    if value is besides:
        return False
    if isinstance(value, dict):
        return any(holds_named(item, named, besides=besides) for item in value.values())
    if isinstance(value, list):
        return any(holds_named(item, named, besides=besides) for item in value)
    return scalar(value) in named


def key_fields(record: Record, named: frozenset[str]) -> tuple[str, ...]:
    """The record's own members by which the case names it."""
    return tuple(name for name, value in record.items() if scalar(value) in named)


def targets(records: list[Record], named: frozenset[str]) -> list[tuple[Record, tuple[str, ...]]]:
    """The records that the case names, each with the members by which it does. What several records have in common
    (the order of all these lines) names none of them, nor does an id that is the same as that."""
    found = []
    for record in records:
        naming = key_fields(record, named)
        own = [
            name
            for name in naming
            if sum(scalar(other.get(name)) == scalar(record[name]) for other in records) == 1
        ]
        common = {scalar(record[name]) for name in naming if name not in own}
        if fields := tuple(name for name in own if scalar(record[name]) not in common):
            found.append((record, fields))
    return found


def shared(records: list[Record]) -> frozenset[str]:
    """What all of several records have in the same member: the order of all these lines."""
    if len(records) < 2:
        return frozenset()
    return frozenset(
        text
        for name, value in records[0].items()
        if (text := scalar(value)) is not None
        and all(scalar(other.get(name)) == text for other in records[1:])
    )


def own_keys(records: list[Record]) -> frozenset[str]:
    """The members that tell a record from all others, by their names and by never being the same twice."""
    names: dict[str, list[str]] = {}
    for record in records:
        for name, value in record.items():
            if (text := scalar(value)) is not None:
                names.setdefault(name, []).append(text)
    return frozenset(
        name
        for name, values in names.items()
        if _OWN_KEY.fullmatch(name)
        or (_KEY_ENDING.fullmatch(name) and len(values) > 1 and len(set(values)) == len(values))
    )


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asked a listing for."""

    bounded: bool
    """It said how many records it wants."""
    searches: tuple[str, ...]
    """Free texts that were searched for."""
    filters: tuple[str, ...]
    """Values that the records were to have."""
    path: tuple[str, ...]
    """Ids in the path: those of what the list belongs to."""

    def kept(self, records: list[Record]) -> frozenset[str] | None:
        """The members that further records must share with these, to be an answer to the same request; None when no
        one can tell which records would be."""
        kept: set[str] = set()
        for value in self.filters:
            fields = _common(records, value)
            if not fields:
                return None
            kept |= fields
        for value in self.path:
            kept |= _common(records, value)
        return frozenset(kept)


def _common(records: list[Record], value: str) -> frozenset[str]:
    """The members that have this value in every record."""
    names = {name for name, item in records[0].items() if scalar(item) == value}
    return frozenset(name for name in names if all(scalar(record.get(name)) == value for record in records))


def asked(seen: Seen) -> Asked:
    """By the query of an HTTP request, or the arguments of a tool call."""
    path, _, query = seen.request.target.partition("?")
    call = mcp.call_of(seen)
    if call is not None:
        path, told = "", _flat(call.arguments)
    else:
        told = list(parse_qsl(query))
    bounded, searches, filters = False, [], []
    for name, value in told:
        plain, text = re.sub(r"[$@.\[\]-]", "_", name).strip("_").lower(), value.casefold().removeprefix("#")
        if not text:
            continue
        if _SEARCHES.fullmatch(plain):
            searches.append(text)
        elif _ORDERING.fullmatch(plain) or (plain == "order" and text.lstrip("+-") in ("asc", "desc")):
            continue
        elif _LIMITS.fullmatch(plain) and text.isdecimal():
            bounded = True
        else:
            filters.append(text)
    ids = [unquote(part).casefold() for part in path.split("/") if _DIGIT.search(part)]
    return Asked(
        bounded, tuple(searches), tuple(filters), tuple(part for part in ids if not _is_version(part))
    )


def _is_version(part: str) -> bool:
    return re.fullmatch(r"v\d{1,2}((alpha|beta)\d*)?|\d{4}-\d\d(-\d\d)?", part) is not None


def _flat(arguments: Any, name: str = "", depth: int = 4) -> list[tuple[str, str]]:
    if isinstance(arguments, dict) and depth:
        return [pair for key, item in arguments.items() for pair in _flat(item, str(key), depth - 1)]
    if isinstance(arguments, list) and depth:
        return [pair for item in arguments for pair in _flat(item, name, depth - 1)]
    if arguments is None or isinstance(arguments, bool):
        return []
    return [(name, str(arguments))]
