"""The keys of a fault rule, as a suite writes it. docs/suite.md is the same for people."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from aegis.faults import jsonpath, registry
from aegis.suite.kinds import (
    BAD,
    Choice,
    Duration,
    Flag,
    Integer,
    Key,
    Number,
    Schema,
    Section,
    Text,
)
from aegis.suite.problems import Path, Problems
from aegis.suite.units import describe

MAX_MATCHES = 1_000_000
_DAY_S = 24 * 3600.0
_ID = Text(
    "a name of letters, digits, '.', '_', '-' and '/'", re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}")
)
_COUNT = Integer(1, MAX_MATCHES)
_TIME = Duration(0.001, _DAY_S)


@dataclass(frozen=True, slots=True)
class OneOrMore:
    """A value, or a list of such values; reads to a tuple."""

    item: Any
    expected: str

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if not isinstance(value, list):
            one = self.item.read(value, path, problems)
            return BAD if one is BAD else (one,)
        if not value:
            problems.wrong(path, f"expected {self.expected}, got an empty list")
            return BAD
        found = tuple(self.item.read(item, (*path, index), problems) for index, item in enumerate(value))
        return BAD if BAD in found else found

    def schema(self) -> Schema:
        item = self.item.schema()
        return {"anyOf": [item, {"type": "array", "minItems": 1, "items": item}]}


@dataclass(frozen=True, slots=True)
class Method:
    """An HTTP method; reads to upper case."""

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if isinstance(value, str) and re.fullmatch(r"[A-Za-z]{1,30}", value):
            return value.upper()
        problems.wrong(path, f"expected a method such as GET, got {describe(value)}")
        return BAD

    def schema(self) -> Schema:
        return {"type": "string", "pattern": "^[A-Za-z]{1,30}$"}


@dataclass(frozen=True, slots=True)
class HostGlob:
    """A host name, `*` for any characters; reads to lower case."""

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if isinstance(value, str) and re.fullmatch(r"[^\s/@:?#]{1,253}", value):
            return value.lower().rstrip(".")
        port = isinstance(value, str) and re.fullmatch(r"[^\s/@:?#]+:([0-9]{1,5})", value)
        hint = f" (write port: {port[1]} beside it)" if port else ""
        problems.wrong(path, f"expected a host such as crm.example or *.example, got {describe(value)}{hint}")
        return BAD

    def schema(self) -> Schema:
        return {"type": "string", "pattern": "^[^\\s/@:?#]{1,253}$"}


@dataclass(frozen=True, slots=True)
class BodyMatch:
    """JSON paths into the request's body, each with the value that must stand there."""

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if not isinstance(value, dict) or not value:
            problems.wrong(
                path, f"expected JSON paths with values such as {{$.order: 1042}}, got {describe(value)}"
            )
            return BAD
        for place, wanted in value.items():
            try:
                jsonpath.parse(str(place))
            except ValueError as error:
                problems.wrong((*path, place), str(error))
            if isinstance(wanted, dict | list):
                problems.wrong(
                    (*path, place), f"expected a text, a number, true, false or null, got {describe(wanted)}"
                )
        return {str(place): wanted for place, wanted in value.items()}

    def schema(self) -> Schema:
        return {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
        }


_NAME_GLOB = Text("a name; * stands for any characters", re.compile(r"[^\s]{1,200}"))
_PATH_GLOB = Text("a path that begins with / or *", re.compile(r"[/*][^\s?#]*"))

MATCH = Section(
    (
        Key("host", OneOrMore(HostGlob(), "hosts"), "Host names; * stands for any characters"),
        Key("port", Integer(1, 65535), "Port"),
        Key("method", OneOrMore(Method(), "methods"), "HTTP methods"),
        Key("path", OneOrMore(_PATH_GLOB, "paths"), "Paths without the query; * stands for any characters"),
        Key("body", BodyMatch(), "JSON path into the request's body → the value that must stand there"),
        Key(
            "tool",
            OneOrMore(_NAME_GLOB, "names of tools"),
            "MCP tools that are called; * stands for any characters",
        ),
        Key(
            "call",
            Choice("call", ("model", "tool")),
            "model: calls of a language model; tool: MCP tool calls",
        ),
        Key(
            "credential",
            Text("the name of a secret, any or none"),
            "Secret that the request carries, any or none",
        ),
    ),
    not_empty=True,
)


@dataclass(frozen=True, slots=True)
class CountOr:
    """A whole number (reads to `("count", n)`), a duration (`("time", s)`), or a match (`("match", fields)`)."""

    match: bool = False

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if isinstance(value, dict) and self.match:
            found = MATCH.read(value, path, problems)
            return BAD if found is BAD else ("match", found)
        if isinstance(value, str):
            seconds = _TIME.read(value, path, problems)
            return BAD if seconds is BAD else ("time", seconds)
        count = _COUNT.read(value, path, problems)
        return BAD if count is BAD else ("count", count)

    def schema(self) -> Schema:
        kinds = [_COUNT.schema(), _TIME.schema()]
        return {"anyOf": [*kinds, MATCH.schema()] if self.match else kinds}


@dataclass(frozen=True, slots=True)
class Short:
    """A match; text is a host."""

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if isinstance(value, str):
            host = HostGlob().read(value, path, problems)
            return BAD if host is BAD else {"host": (host,)}
        return MATCH.read(value, path, problems)

    def schema(self) -> Schema:
        return {"anyOf": [HostGlob().schema(), MATCH.schema()]}


RULE_KEYS = (
    Key("inject", Text("the name of a fault"), "The fault (aegis faults list)", required=True),
    Key("id", _ID, "Name of the rule in reports; the fault's name by default"),
    Key("match", Short(), "Which exchanges it is about; all of them by default"),
    Key("on", OneOrMore(_COUNT, "numbers of matches"), "These matches only, from 1"),
    Key("from", _COUNT, "This match and later ones"),
    Key("to", _COUNT, "This match and earlier ones"),
    Key("every", _COUNT, "Every so many matches"),
    Key("after", CountOr(), "Matches after this one, or later than this time (2s) since the agent's start"),
    Key("probability", Number(1.0), "Share of the matches, decided by a hash of the trial and the match"),
    Key(
        "until",
        CountOr(match=True),
        "At most so many hits, or until this time, or until a request that matches this was answered with 2xx",
    ),
    Key("require_fired", Flag(), "Whether a trial that it did not hit is an error", default=False),
)
RULE_NAMES = frozenset(key.name for key in RULE_KEYS)


def rule_section(name: str) -> Section:
    """The keys of a rule that injects this fault: the rule's own, and the fault's parameters beside them."""
    return Section((*RULE_KEYS, *registry.get(name).keys))


def schema() -> Schema:
    """JSON Schema of one rule, for editors: any fault, with the keys that this fault takes."""
    return {"anyOf": [_schema_of(name) for name in registry.names()]}


def _schema_of(name: str) -> Schema:
    found = rule_section(name).schema()
    summary = " ".join((registry.get(name).__doc__ or "").split("\n\n")[0].split())
    found["properties"]["inject"] = {"const": name, "description": summary}
    return found
