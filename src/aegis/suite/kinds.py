"""The kinds of value that a suite's keys take: each reads and normalises a value, and describes itself as
JSON Schema.

One definition serves the loader and the editor, so that they cannot disagree. `read` never raises: it adds
what is wrong to the problems and returns `BAD`, which the loader never looks at because it stops when there
are problems.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from aegis.suite.problems import Path, Problems, did_you_mean, nearest
from aegis.suite.units import (
    DURATION_PATTERN,
    SIZE_PATTERN,
    describe,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)

BAD: Final = object()

Schema = dict[str, Any]


class Kind(Protocol):
    def read(self, value: Any, path: Path, problems: Problems) -> Any: ...

    def schema(self) -> Schema: ...


@dataclass(frozen=True, slots=True)
class Text:
    """A string. `pattern` must match all of it; NUL characters are refused unless `any_character`."""

    expected: str = "text"
    pattern: re.Pattern[str] | None = None
    may_be_empty: bool = False
    any_character: bool = False

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if not isinstance(value, str):
            quotes = " (write it in quotes)" if isinstance(value, bool | int | float) else ""
            problems.wrong(path, f"expected {self.expected}, got {describe(value)}{quotes}")
        elif not (value or self.may_be_empty):
            problems.wrong(path, f"expected {self.expected}, got empty text")
        elif self.pattern is not None and not self.pattern.fullmatch(value):
            problems.wrong(path, f"expected {self.expected}, got {describe(value)}")
        elif "\0" in value and not self.any_character:
            problems.wrong(path, f"expected {self.expected}, got text with a NUL character in it")
        else:
            return value
        return BAD

    def schema(self) -> Schema:
        schema: Schema = {"type": "string"}
        if not self.may_be_empty:
            schema["minLength"] = 1
        if self.pattern is not None:
            schema["pattern"] = f"^{self.pattern.pattern}$"
        elif not self.any_character:
            schema["pattern"] = "^[^\\u0000]*$"
        return schema


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words."""

    noun: str
    words: tuple[str, ...]

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if value in self.words:
            return value
        if isinstance(value, str):
            hint = did_you_mean(value, self.words) or f" (known: {', '.join(self.words)})"
            problems.wrong(path, f"unknown {self.noun} {describe(value)}{hint}")
        else:
            problems.wrong(path, f"expected one of {', '.join(self.words)}, got {describe(value)}")
        return BAD

    def schema(self) -> Schema:
        return {"enum": list(self.words)}


@dataclass(frozen=True, slots=True)
class Integer:
    low: int
    high: int

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high:
            return value
        problems.wrong(path, f"expected a whole number from {self.low} to {self.high}, got {describe(value)}")
        return BAD

    def schema(self) -> Schema:
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


@dataclass(frozen=True, slots=True)
class Number:
    """A number (float) above zero, at most `high`."""

    high: float

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= self.high:
            return float(value)
        problems.wrong(path, f"expected a number above 0, at most {self.high:g}, got {describe(value)}")
        return BAD

    def schema(self) -> Schema:
        return {"type": "number", "exclusiveMinimum": 0, "maximum": self.high}


@dataclass(frozen=True, slots=True)
class Flag:
    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if isinstance(value, bool):
            return value
        problems.wrong(path, f"expected true or false, got {describe(value)}")
        return BAD

    def schema(self) -> Schema:
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class Anything:
    """Whatever a suite may hold, as it stands."""

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        return value

    def schema(self) -> Schema:
        return {}


@dataclass(frozen=True, slots=True)
class Duration:
    """Seconds (float) from `low_s` to `high_s`."""

    low_s: float
    high_s: float

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        try:
            seconds = parse_duration(value)
        except ValueError as error:
            problems.wrong(path, str(error))
            return BAD
        if self.low_s <= seconds <= self.high_s:
            return seconds
        bounds = f"from {format_duration(self.low_s)} to {format_duration(self.high_s)}"
        problems.wrong(path, f"expected a duration {bounds}, got {describe(value)}")
        return BAD

    def schema(self) -> Schema:
        return {"type": "string", "pattern": DURATION_PATTERN, "examples": ["500ms", "2s", "5m"]}


@dataclass(frozen=True, slots=True)
class Size:
    """Bytes (int) from `low` to `high`."""

    low: int
    high: int

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        try:
            size = parse_size(value)
        except ValueError as error:
            problems.wrong(path, str(error))
            return BAD
        if self.low <= size <= self.high:
            return size
        bounds = f"from {format_size(self.low)} to {format_size(self.high)}"
        problems.wrong(path, f"expected a size {bounds}, got {describe(value)}")
        return BAD

    def schema(self) -> Schema:
        return {"type": "string", "pattern": SIZE_PATTERN, "examples": ["512MiB", "2GiB"]}


@dataclass(frozen=True, slots=True)
class Converted:
    """Text that `convert` normalises; its `ValueError` (`expected …, got …`) is the problem."""

    convert: Callable[[str], str]
    expected: str
    pattern: str

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if not isinstance(value, str):
            problems.wrong(path, f"expected {self.expected}, got {describe(value)}")
            return BAD
        try:
            return self.convert(value)
        except ValueError as error:
            problems.wrong(path, str(error))
            return BAD

    def schema(self) -> Schema:
        return {"type": "string", "pattern": self.pattern}


@dataclass(frozen=True, slots=True)
class ListOf:
    item: Kind
    expected: str
    min_items: int = 0
    unique: bool = False

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if not isinstance(value, list):
            hint = " (write it as a list: [...])" if isinstance(value, str) else ""
            problems.wrong(path, f"expected {self.expected}, got {describe(value)}{hint}")
            return BAD
        if len(value) < self.min_items:
            problems.wrong(path, f"expected {self.expected}, got {describe(value)}")
            return BAD
        items = [self.item.read(item, (*path, index), problems) for index, item in enumerate(value)]
        if self.unique:
            seen: set[Any] = set()
            for index, item in enumerate(items):
                if item in seen and item is not BAD:
                    problems.wrong((*path, index), f"{describe(item)} stands twice in the list")
                seen.add(item)
        return items

    def schema(self) -> Schema:
        schema: Schema = {"type": "array", "items": self.item.schema()}
        if self.min_items:
            schema["minItems"] = self.min_items
        if self.unique:
            schema["uniqueItems"] = True
        return schema


@dataclass(frozen=True, slots=True)
class MapOf:
    """A mapping whose keys the user names. Two keys that normalise to the same are a problem."""

    name: Kind
    value: Kind
    expected: str

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if not isinstance(value, dict):
            problems.wrong(path, f"expected {self.expected}, got {describe(value)}")
            return BAD
        result: dict[Any, Any] = {}
        for written, item in value.items():
            place = (*path, written)
            name = self.name.read(written, place, problems)
            if name in result and name is not BAD:
                problems.wrong(place, f"is the same as an earlier key ({describe(name)})")
            result[name] = self.value.read(item, place, problems)
        return result

    def schema(self) -> Schema:
        names = {key: value for key, value in self.name.schema().items() if key != "type"}
        return {"type": "object", "propertyNames": names, "additionalProperties": self.value.schema()}


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a section. `text` describes it for editors; `if_missing` goes on the message of a required
    one."""

    name: str
    kind: Kind
    text: str
    required: bool = False
    if_missing: str = ""
    default: Any = None
    """As the file would write it, for editors."""


@dataclass(frozen=True, slots=True)
class Section:
    """A mapping with known keys. Of `one_of`, exactly one must be there; with `not_empty`, any one of all."""

    keys: tuple[Key, ...]
    one_of: tuple[str, ...] = ()
    not_empty: bool = False
    kinds: Mapping[str, Kind] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kinds", {key.name: key.kind for key in self.keys})

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if not isinstance(value, dict):
            names = ", ".join(key.name for key in self.keys[:3])
            problems.wrong(path, f"expected a mapping with keys such as {names}, got {describe(value)}")
            return BAD
        result: dict[str, Any] = {}
        refused: set[str] = set()
        for name, item in value.items():
            kind = self.kinds.get(name)
            if kind is None:
                refused.add(self._refuse(name, path, problems))
            else:
                result[name] = kind.read(item, (*path, name), problems)
        for key in self.keys:
            if key.required and key.name not in result and key.name not in refused:
                problems.wrong(path, f"key {key.name!r} is missing{key.if_missing}")
        if self.one_of:
            self._check_one_of(result, refused, path, problems)
        if self.not_empty and not value:
            problems.wrong(path, f"needs {' or '.join(repr(key.name) for key in self.keys)}")
        return result

    def _refuse(self, name: str, path: Path, problems: Problems) -> str:
        """Returns the known key that was meant, as far as one can tell: it is not also called missing."""
        where = problems.where(path)
        meant = nearest(name, self.kinds)
        hint = f" (did you mean {meant!r}?)" if meant else ""
        problems.add((*path, name), f"unknown key {describe(name)} in {where}{hint}")
        return meant or name

    def _check_one_of(
        self, result: dict[str, Any], refused: set[str], path: Path, problems: Problems
    ) -> None:
        given = [name for name in self.one_of if name in result]
        if not given and refused.isdisjoint(self.one_of):
            problems.wrong(path, f"needs {' or '.join(map(repr, self.one_of))}")
        elif len(given) > 1:
            problems.wrong((*path, given[1]), f"has {' and '.join(map(repr, given))}: give one of them")

    def schema(self) -> Schema:
        schema: Schema = {
            "type": "object",
            "additionalProperties": False,
            "properties": {key.name: _described(key) for key in self.keys},
        }
        required = [key.name for key in self.keys if key.required]
        if required:
            schema["required"] = required
        if self.one_of:
            schema["oneOf"] = [{"required": [name]} for name in self.one_of]
        if self.not_empty:
            schema["minProperties"] = 1
        return schema


@dataclass(frozen=True, slots=True)
class Short:
    """A section, or text that is short for a section with nothing but the key `key`."""

    section: Section
    key: str
    expected: str

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if isinstance(value, dict):
            return self.section.read(value, path, problems)
        if not isinstance(value, str):
            problems.wrong(path, f"expected {self.expected}, got {describe(value)}")
            return BAD
        item = self.section.kinds[self.key].read(value, path, problems)
        return BAD if item is BAD else {self.key: item}

    def schema(self) -> Schema:
        return {"anyOf": [self.section.kinds[self.key].schema(), self.section.schema()]}


def holds_bad(value: Any) -> bool:
    """Whether something in a value that was read is wrong."""
    if isinstance(value, dict):
        return BAD in value or any(holds_bad(item) for item in value.values())
    if isinstance(value, list):
        return any(holds_bad(item) for item in value)
    return value is BAD


def _described(key: Key) -> Schema:
    schema = {"description": key.text, **key.kind.schema()}
    return schema if key.default is None else {**schema, "default": key.default}
