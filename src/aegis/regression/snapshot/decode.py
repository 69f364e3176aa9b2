"""A snapshot out of bytes that came from somebody else's branch: believed in nothing."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import Any, NoReturn

import zstandard

from aegis.errors import UsageError
from aegis.regression.drift.behaviour import Behaviour, Request, ToolUse
from aegis.regression.nocycles import uncollected
from aegis.regression.snapshot.columns import MAX_AMOUNT
from aegis.regression.snapshot.encode import COUNTS
from aegis.regression.snapshot.model import SCHEMA, Facts, Snapshot
from aegis.regression.trials import CaseKey, Trials

MAX_BYTES = 64 * 1024 * 1024
"""Compressed."""
MAX_TEXT_BYTES = 192 * 1024 * 1024
_MAX_RATIO, _SMALL_BYTES = 400, 4 * 1024 * 1024
"""A real one shrinks by less, unless it is small anyway."""
_MAX_VALUES = 16_000_000
"""Commas and brackets: what bounds the memory that the parsed text takes."""
_MAX_CHARS = 1_000
_MAX_COUNT = 1_000_000
"""Trials of one case."""
_MAX_DEPTH = 64

_RUN_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_NAME, _VERSION = SCHEMA.split("/")
_NEWER = re.compile(rf"{re.escape(_NAME)}/([0-9]{{1,9}})")


class _Problem(Exception):
    """What is wrong with the bytes."""


def from_bytes(data: bytes, where: str) -> Snapshot:
    """The inverse of `to_bytes`. `where` says in errors what was read: a file, a commit of a ref.

    Raises `UsageError` when the bytes are damaged, are something else, or were written by a newer Aegis; nothing else,
    whatever they are. Takes at most a few hundred MiB for that.
    """
    try:
        with uncollected():
            return _read(_parse(data))
    except _Newer as newer:
        raise UsageError(
            f"{where} was written by a newer Aegis: its schema is {newer}, and this one reads {SCHEMA}",
            fix="upgrade aegis-evals, or make a baseline with this version: run the suite there and push it",
        ) from None
    except _Problem as problem:
        raise UsageError(
            f"{where} is no snapshot of a run that can be read: {problem}",
            fix="if it is damaged, remove it and make the baseline anew: run the suite on that commit and push it",
        ) from None


class _Newer(Exception):
    """The schema, as it was written."""


def _parse(data: bytes) -> Mapping[str, Any]:
    text = _decompress(data)
    if sum(map(text.count, (b",", b"[", b"{"))) > _MAX_VALUES:
        raise _Problem(f"it holds more than {_MAX_VALUES:,} values")
    try:
        document = json.loads(text.decode("utf-8", "surrogatepass"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise _Problem(f"its text is no JSON ({type(error).__name__})") from None
    if not isinstance(document, dict):
        raise _Problem("its text is no JSON object")
    schema = document.get("schema")
    if schema != SCHEMA:
        if isinstance(schema, str) and (found := _NEWER.fullmatch(schema)) and int(found[1]) > int(_VERSION):
            raise _Newer(schema)
        raise _Problem(f"its schema is {_shown(schema)}, not {SCHEMA}")
    return document


def _decompress(data: bytes) -> bytes:
    if len(data) > MAX_BYTES:
        raise _Problem(f"it has {len(data):,} bytes, and {MAX_BYTES:,} are the most")
    try:
        size = zstandard.get_frame_parameters(data).content_size
    except zstandard.ZstdError:
        raise _Problem("it is not compressed by zstandard, as snapshots are") from None
    # Of a frame that doesn't tell its size, the size is huge.
    if size > min(MAX_TEXT_BYTES, max(_SMALL_BYTES, _MAX_RATIO * len(data))):
        raise _Problem(f"{len(data):,} bytes that claim to be {size:,} or to have no end")
    try:
        return zstandard.ZstdDecompressor(max_window_size=2**27).decompress(data, allow_extra_data=False)
    except (zstandard.ZstdError, MemoryError):
        raise _Problem("it is damaged: it cannot be decompressed") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _shown(value: object) -> str:
    return repr(value[:60]) if isinstance(value, str) else "missing"


def _read(document: Mapping[str, Any]) -> Snapshot:
    chars = document.get("chars")
    if type(chars) is not int or not 1 <= chars <= _MAX_COUNT:
        raise _Problem("its `chars` is no length")
    trials, lengths = _cases(document)
    columns = _Columns(document, sum(lengths))
    begins = accumulate(lengths, initial=0)
    spans = {
        key: (begin, begin + length)
        for key, begin, length in zip(trials, begins, lengths, strict=False)
        if length
    }
    return Snapshot(_facts(_object(document, "facts")), trials, Behaviours(columns, spans), chars)


def _facts(given: Mapping[str, Any]) -> Facts:
    values: dict[str, Any] = {}
    for field in dataclasses.fields(Facts):
        value = given.get(field.name)
        expected = _FACTS[str(field.type)]
        if type(value) not in expected:
            raise _Problem(f"its `facts.{field.name}` is missing or of another type")
        if isinstance(value, str) and len(value) > _MAX_CHARS:
            raise _Problem(f"its `facts.{field.name}` is longer than {_MAX_CHARS:,} characters")
        if isinstance(value, int) and not 0 <= value <= MAX_AMOUNT:
            raise _Problem(f"its `facts.{field.name}` is no number of trials")
        values[field.name] = value
    for name in ("run_id", "replay_of"):
        if values[name] is not None and not _RUN_ID.fullmatch(values[name]):
            raise _Problem(f"its `facts.{name}` is no run id")
    if values["commit"] is not None and not _COMMIT.fullmatch(values["commit"]):
        raise _Problem("its `facts.commit` is no commit")
    return Facts(**values)


_FACTS: Mapping[str, tuple[type, ...]] = {
    "str": (str,),
    "bool": (bool,),
    "int": (int,),
    "str | None": (str, type(None)),
}


def _cases(document: Mapping[str, Any]) -> tuple[dict[CaseKey, Trials], list[int]]:
    given = _object(document, "cases")
    names = _strings(given, "case")
    size = len(names)
    if any(not name or len(name) > _MAX_CHARS for name in names):
        raise _Problem("a case's id is empty or too long")
    variants = _Shared(_strings(document, "variants"), "variants").all(_numbers(given, "variant", size))
    counts = [_numbers(given, name, size, _MAX_COUNT) for name in COUNTS]
    contents = _column(given, "content", size, (str, type(None)))
    if any(content is not None and len(content) > _MAX_CHARS for content in contents):
        raise _Problem("a case's content is too long for a digest")
    lengths = _numbers(given, "behaviours", size, _MAX_COUNT)
    keys = map(CaseKey, names, variants)
    trials = {key: Trials(*row) for key, *row in zip(keys, *counts, contents, strict=True)}
    if len(trials) < size:
        raise _Problem("a case is there twice")
    if any(length > item.judged for length, item in zip(lengths, trials.values(), strict=True)):
        raise _Problem("a case has the behaviour of more trials than were judged")
    return trials, lengths


# As their `_make`, in a quarter of the time.
_BEHAVIOUR = partial(tuple.__new__, Behaviour)
_USE = partial(tuple.__new__, ToolUse)
_REQUEST = partial(tuple.__new__, Request)


class _Columns:
    """Everything that trials did, column by column, what repeats as one object."""

    def __init__(self, document: Mapping[str, Any], size: int) -> None:
        given = _object(document, "behaviours")
        self.calls = _shared(given, "calls", size, _calls(document))
        self.traffic = _shared(given, "traffic", size, _traffic(document))
        self.rules = _shared(given, "rules", size, _rules(document))
        self.answers = _shared(given, "answer", size, _strings(document, "answers"))
        self.tokens = _amounts(given, "tokens", size, (int, type(None)))
        self.costs = _amounts(given, "cost_usd", size, (int, float, type(None)))
        latencies = _amounts(given, "latency_ms", size, (int, type(None)))
        self.latencies = [None if item is None else item / 1000 for item in latencies]


class Behaviours(Mapping[CaseKey, Sequence[Behaviour]]):
    """Made when they are asked for."""

    def __init__(self, columns: _Columns, spans: Mapping[CaseKey, tuple[int, int]]) -> None:
        self._columns = columns
        self._spans = spans

    def __getitem__(self, key: CaseKey) -> tuple[Behaviour, ...]:
        begin, end = self._spans[key]
        of = self._columns
        rows = zip(
            of.calls[begin:end],
            of.traffic[begin:end],
            of.answers[begin:end],
            of.tokens[begin:end],
            of.costs[begin:end],
            of.latencies[begin:end],
            of.rules[begin:end],
            strict=True,
        )
        return tuple(map(_BEHAVIOUR, rows))

    def __iter__(self) -> Iterator[CaseKey]:
        return iter(self._spans)

    def __len__(self) -> int:
        return len(self._spans)

    def __contains__(self, key: object) -> bool:
        return key in self._spans

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        return dict(self) == {key: tuple(trials) for key, trials in other.items()}

    __hash__ = None  # type: ignore[assignment]


def _calls(document: Mapping[str, Any]) -> list[tuple[ToolUse, ...]]:
    given = _object(document, "tools")
    writes = _flags(given, "writes", "10?")
    size = len(writes)
    names = _shared(given, "name", size, _strings(document, "names"))
    arguments = _list(document, "arguments")
    if not all(map(_shallow, arguments)):
        raise _Problem(f"a tool's arguments are nested over {_MAX_DEPTH} levels, or numbers over 64 bits")
    values = _shared(given, "arguments", size, arguments)
    uses = list(map(_USE, zip(names, values, map(_KNOWN.__getitem__, writes), strict=True)))
    return _sequences(document, "calls", uses)


def _traffic(document: Mapping[str, Any]) -> list[tuple[Request, ...]]:
    given = _object(document, "requests")
    to_model = _flags(given, "to_model", "10")
    size = len(to_model)
    hosts = _shared(given, "host", size, _strings(document, "hosts"))
    methods = _shared(given, "method", size, _strings(document, "methods"))
    paths = _shared(given, "path", size, _strings(document, "paths"))
    requests = list(map(_REQUEST, zip(hosts, methods, paths, map("1".__eq__, to_model), strict=True)))
    return _sequences(document, "traffic", requests)


_KNOWN = {"1": True, "0": False, "?": None}


def _rules(document: Mapping[str, Any]) -> list[dict[str, bool]]:
    found = []
    for row in _list(document, "rules"):
        if not isinstance(row, list) or not all(_is_rule(item) for item in row):
            raise _Problem("its `rules` are no rules")
        found.append(dict(row))
    return found


def _is_rule(item: object) -> bool:
    return (
        isinstance(item, list) and len(item) == 2 and isinstance(item[0], str) and isinstance(item[1], bool)
    )


def _shallow(value: object, depth: int = _MAX_DEPTH) -> bool:
    if isinstance(value, dict):
        return depth > 0 and all(_shallow(item, depth - 1) for item in value.values())
    if isinstance(value, list):
        return depth > 0 and all(_shallow(item, depth - 1) for item in value)
    # Numbers as long as one likes, and infinity as 1e999: Python's JSON reads both.
    return (
        math.isfinite(value) if isinstance(value, float) else not isinstance(value, int) or abs(value) < 2**64
    )


class _Shared:
    """The entries of a table, by references that count back (encode.py)."""

    def __init__(self, entries: Sequence[Any], name: str) -> None:
        self._entries = entries
        self._name = name
        self._size = 0

    def all(self, references: Sequence[int]) -> list[Any]:
        entries = self.some(references)
        self.finish()
        return entries

    def some(self, references: Sequence[int]) -> list[Any]:
        """References are whole numbers, and not negative."""
        places, size = [], self._size
        for reference in references:
            if reference:
                if reference > size:
                    raise _Problem(f"a reference before the first entry of its `{self._name}`")
                places.append(size - reference)
            else:
                places.append(size)
                size += 1
        if size > len(self._entries):
            raise _Problem(f"a reference behind the last entry of its `{self._name}`")
        self._size = size
        return list(map(self._entries.__getitem__, places))

    def finish(self) -> None:
        if self._size != len(self._entries):
            raise _Problem(f"its `{self._name}` has entries that nothing refers to")


def _shared(given: Mapping[str, Any], name: str, size: int, entries: Sequence[Any]) -> list[Any]:
    return _Shared(entries, name).all(_numbers(given, name, size))


def _sequences(document: Mapping[str, Any], name: str, entries: Sequence[Any]) -> list[tuple[Any, ...]]:
    rows = _list(document, name)
    if not set(map(type, rows)) <= {list}:
        raise _Problem(f"its `{name}` are no sequences")
    flat = [reference for row in rows for reference in row]
    _check_numbers(flat, name, MAX_AMOUNT)
    found = _Shared(entries, name).all(flat)
    ends = list(accumulate(map(len, rows)))
    return [tuple(found[end - len(row) : end]) for row, end in zip(rows, ends, strict=True)]


def _object(given: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = given.get(name)
    if not isinstance(value, dict):
        raise _Problem(f"its `{name}` is missing or no object")
    return value


def _list(given: Mapping[str, Any], name: str) -> list[Any]:
    value = given.get(name)
    if not isinstance(value, list):
        raise _Problem(f"its `{name}` is missing or no list")
    return value


def _column(given: Mapping[str, Any], name: str, size: int, types: tuple[type, ...]) -> list[Any]:
    values = _list(given, name)
    if len(values) != size:
        raise _Problem(f"its `{name}` has {len(values):,} entries instead of {size:,}")
    if not set(map(type, values)) <= set(types):
        raise _Problem(f"its `{name}` has entries of another type")
    return values


def _strings(given: Mapping[str, Any], name: str) -> list[str]:
    values = _list(given, name)
    return _column(given, name, len(values), (str,))


def _flags(given: Mapping[str, Any], name: str, known: str) -> str:
    value = given.get(name)
    if not isinstance(value, str) or not set(value) <= set(known):
        raise _Problem(f"its `{name}` has entries that are not known")
    return value


def _numbers(given: Mapping[str, Any], name: str, size: int, most: int = MAX_AMOUNT) -> list[int]:
    values = _list(given, name)
    if len(values) != size:
        raise _Problem(f"its `{name}` has {len(values):,} entries instead of {size:,}")
    _check_numbers(values, name, most)
    return values


def _check_numbers(values: Sequence[Any], name: str, most: int) -> None:
    if not set(map(type, values)) <= {int}:
        raise _Problem(f"its `{name}` has entries that are no whole numbers")
    if values and not (min(values) >= 0 and max(values) <= most):
        raise _Problem(f"its `{name}` has entries below 0 or above {most:,}")


def _amounts(given: Mapping[str, Any], name: str, size: int, types: tuple[type, ...]) -> list[Any]:
    values = _column(given, name, size, types)
    known = [value for value in values if value is not None]
    # JSON's 1e999 is infinity.
    if known and not (min(known) >= 0 and max(known) <= MAX_AMOUNT):
        raise _Problem(f"its `{name}` has entries below 0 or above {MAX_AMOUNT:,}")
    return values
