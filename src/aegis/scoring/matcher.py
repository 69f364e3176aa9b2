"""Conditions on a text, shared by every scorer that looks at one (an answer, a file, an output).

A matcher is a text (short for `contains`) or a mapping. Every condition in the mapping must hold:
`equals`, `contains`, `matches`, `json`, `schema`, and `any`, `all`, `not` over further matchers, which
inherit the options `ignore_case` and `normalize_whitespace`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from aegis.errors import InfrastructureError
from aegis.scoring import configs, jsonvalue, pattern, schema
from aegis.scoring.configs import Path, Problem
from aegis.scoring.pattern import Deadline, TooSlowError
from aegis.scoring.words import shown
from aegis.suite.units import describe as kind_of

CONDITIONS = ("equals", "contains", "matches", "json", "schema", "any", "all", "not")
OPTIONS = ("ignore_case", "normalize_whitespace")
KEYS = CONDITIONS + OPTIONS

MAX_DEPTH = 20
"""How deep `any`, `all` and `not` may be nested."""


@dataclass(frozen=True, slots=True)
class Judgement:
    ok: bool
    reason: str
    """One line: what was expected of the text, and what it was."""


def problems(config: Any, path: Path = (), depth: int = MAX_DEPTH) -> Iterator[Problem]:
    """What is wrong with a matcher."""
    if isinstance(config, str):
        if not config:
            yield path, "expected a text to look for, got an empty one"
        return
    if not isinstance(config, Mapping):
        yield path, f"expected a text or a mapping, got {kind_of(config)}"
        return
    for where, message in configs.keys(config, KEYS):
        yield (*path, *where), message
    if not has_conditions(config):
        yield path, f"expected a condition: {', '.join(CONDITIONS)}"
    for where, message in condition_problems(config, depth):
        yield (*path, *where), message


def has_conditions(config: Mapping[str, Any]) -> bool:
    return any(key in config for key in CONDITIONS)


def condition_problems(config: Mapping[str, Any], depth: int = MAX_DEPTH) -> Iterator[Problem]:
    """What is wrong with the conditions and options of a mapping that may hold other keys too."""
    for key in OPTIONS:
        yield from configs.flag(config, key)
    for key, check in _CHECKS.items():
        if key in config and (message := check(config[key])):
            yield (key,), message
    if depth == 0 and any(key in config for key in ("any", "all", "not")):
        yield (), f"any, all and not are nested deeper than {MAX_DEPTH} levels"
        return
    for key in ("any", "all"):
        if key in config:
            yield from _list_problems(config[key], (key,), depth - 1)
    if "not" in config:
        yield from problems(config["not"], ("not",), depth - 1)


async def judge(config: Any, text: str, noun: str) -> Judgement:
    """Judge a text, called `noun` in the reason (`the answer`), in a thread and within `JUDGING_S`.

    Raises `InfrastructureError` for a schema that can't be resolved.
    """
    return await asyncio.to_thread(judge_now, config, text, noun)


def judge_now(config: Any, text: str, noun: str) -> Judgement:
    """As `judge`, in this thread."""
    subject = _Subject(text, Deadline())
    try:
        lack = _lack(config, subject)
    except TooSlowError as error:
        return Judgement(False, f"expected {noun} to {describe(config)}, but {error}")
    if lack is None:
        return Judgement(True, f"{noun} does {describe(config)}")
    return Judgement(False, f"expected {noun} to {describe(config)}, {lack}")


def fits(config: Any, text: str, deadline: Deadline) -> bool:
    """Whether a text does what a matcher asks for, in this thread: for one of many texts that share a deadline. Raises
    `TooSlowError`, and `InfrastructureError` for a schema that can't be resolved."""
    return _lack(config, _Subject(text, deadline)) is None


async def holds(config: Any, text: str) -> bool:
    """Whether a text does what a matcher asks for, found out in a thread. Raises `InfrastructureError` when that takes
    longer than `JUDGING_S`, and for a schema that can't be resolved."""

    def look() -> bool:
        try:
            return _lack(config, _Subject(text, Deadline())) is None
        except TooSlowError as error:
            raise InfrastructureError(
                f"whether an answer does {describe(config)} is not known: {error}"
            ) from None

    return await asyncio.to_thread(look)


def describe(config: Any) -> str:
    """What a matcher asks for, reading on after `to` or `does`: `contain "refund" and not contain
    "sorry"`."""
    if isinstance(config, str):
        return f"contain {shown(config)}"
    parts = [_WORDS[key](config[key]) for key in CONDITIONS if key in config]
    if config.get("ignore_case"):
        parts[-1] += " (ignoring case)"
    return " and ".join(parts)


@dataclass(frozen=True, slots=True)
class _Subject:
    """A text and the options it is looked at with."""

    text: str
    deadline: Deadline
    ignore_case: bool = False
    normalize_whitespace: bool = False

    def under(self, config: Mapping[str, Any]) -> _Subject:
        options = {key: config[key] for key in OPTIONS if key in config}
        return replace(self, **options) if options else self

    def seen(self, text: str) -> str:
        """This text, or an expected one, as the options let it be seen."""
        if self.normalize_whitespace:
            text = " ".join(text.split())
        return text.casefold() if self.ignore_case else text


def _lack(config: Any, subject: _Subject) -> str | None:
    """None when everything holds; else what was found instead, reading on after a comma."""
    if isinstance(config, str):
        config = {"contains": config}
    subject = subject.under(config)
    for key in CONDITIONS:
        if key in config:
            subject.deadline.left_s()
            if lack := _LACKS[key](config[key], subject):
                return lack
    return None


def _found(subject: _Subject) -> str:
    return f"found {shown(subject.text, 200)}" if subject.text else "found nothing"


def _equals(expected: Any, subject: _Subject) -> str | None:
    # A block text in YAML ends in a line break, and so do most files: neither side's last one is meant.
    same = subject.seen(str(expected)).rstrip("\r\n") == subject.seen(subject.text).rstrip("\r\n")
    return None if same else _found(subject)


def _contains(expected: Any, subject: _Subject) -> str | None:
    text = subject.seen(subject.text)
    missing = [part for part in _as_list(expected) if subject.seen(str(part)) not in text]
    if not missing:
        return None
    named = f"missing {', '.join(map(shown, missing))}: " if len(_as_list(expected)) > 1 else ""
    return named + _found(subject)


def _matches(expression: str, subject: _Subject) -> str | None:
    text = " ".join(subject.text.split()) if subject.normalize_whitespace else subject.text
    hit = pattern.found(expression, text, subject.deadline, ignore_case=subject.ignore_case)
    return None if hit else _found(subject)


def _json(expected: Any, subject: _Subject) -> str | None:
    try:
        return jsonvalue.difference(expected, jsonvalue.parse(subject.text))
    except jsonvalue.NotJsonError as error:
        return f"but it is not JSON ({error}): {_found(subject)}"


def _schema(expected: Any, subject: _Subject) -> str | None:
    try:
        wrong = schema.violation(expected, jsonvalue.parse(subject.text), subject.deadline)
    except jsonvalue.NotJsonError as error:
        return f"but it is not JSON ({error}): {_found(subject)}"
    return f"but {wrong}" if wrong else None


def _any(matchers: Any, subject: _Subject) -> str | None:
    return None if any(_lack(matcher, subject) is None for matcher in matchers) else _found(subject)


def _all(matchers: Any, subject: _Subject) -> str | None:
    return next((lack for matcher in matchers if (lack := _lack(matcher, subject))), None)


def _not(matcher: Any, subject: _Subject) -> str | None:
    return _found(subject) if _lack(matcher, subject) is None else None


_LACKS: dict[str, Callable[[Any, _Subject], str | None]] = {
    "equals": _equals,
    "contains": _contains,
    "matches": _matches,
    "json": _json,
    "schema": _schema,
    "any": _any,
    "all": _all,
    "not": _not,
}

_WORDS: dict[str, Callable[[Any], str]] = {
    "equals": lambda value: f"equal {shown(str(value))}",
    "contains": lambda value: f"contain {' and '.join(shown(str(part)) for part in _as_list(value))}",
    "matches": lambda value: f"match {shown(value)}",
    "json": lambda value: f"be JSON that includes {shown(value)}",
    "schema": lambda value: "fit the JSON Schema",
    "any": lambda value: " or ".join(map(describe, value)),
    "all": lambda value: " and ".join(map(describe, value)),
    "not": lambda value: f"not {describe(value)}",
}


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _text_problem(value: Any) -> str | None:
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return None
    return f"expected a text, got {kind_of(value)} (put it in quotes)"


def _contains_problem(value: Any) -> str | None:
    if isinstance(value, list | tuple) and not value:
        return "expected a text or a list of texts, got an empty list"
    for part in _as_list(value):
        if part == "":
            return "expected a text to look for, got an empty one"
        if message := _text_problem(part):
            return message
    return None


def _matches_problem(value: Any) -> str | None:
    if not isinstance(value, str) or not value:
        return f"expected a regular expression, got {kind_of(value)}"
    return pattern.problem(value)


def _list_problems(value: Any, path: Path, depth: int) -> Iterator[Problem]:
    if not isinstance(value, list | tuple) or not value:
        yield path, f"expected a list of matchers, got {kind_of(value)}"
        return
    for index, matcher in enumerate(value):
        yield from problems(matcher, (*path, index), depth)


_CHECKS: dict[str, Callable[[Any], str | None]] = {
    "equals": _text_problem,
    "contains": _contains_problem,
    "matches": _matches_problem,
    "json": jsonvalue.problem,
    "schema": schema.problem,
}
