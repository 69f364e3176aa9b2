"""Expressions of GitHub Actions: the part of the language that our files use. What it doesn't know is an error."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

_TOKEN = re.compile(
    r"\s*(?:('(?:[^']|'')*')|(\d+(?:\.\d+)?)|(==|!=|&&|\|\||[!(),])|([A-Za-z_][\w-]*(?:\.[\w-]+)*))"
)
_EMBEDDED = re.compile(r"\$\{\{(.*?)\}\}", re.S)
STATUS = ("always", "cancelled", "failure", "success")

Functions = Mapping[str, Callable[..., Any]]


def evaluate(text: str, contexts: Mapping[str, Any], functions: Functions) -> Any:
    """The value of an expression, without its `${{ }}`. Raises AssertionError for what is no expression."""
    tokens = list(_tokens(text))
    value, rest = _or(tokens, contexts, functions)
    assert rest == [], f"cannot read {text!r} from {rest}"
    return value


def filled(text: str, contexts: Mapping[str, Any], functions: Functions) -> str:
    """A text with each `${{ expression }}` in it replaced by its value."""
    return _EMBEDDED.sub(lambda found: shown(evaluate(found[1], contexts, functions)), text)


def holds(condition: str, contexts: Mapping[str, Any], functions: Functions) -> bool:
    """Whether a step with this `if` is run. Without a function that asks for the status, only after success."""
    whole = _EMBEDDED.fullmatch(condition.strip())
    text = whole[1] if whole else condition
    asks = any(re.search(rf"\b{name}\s*\(", text) for name in STATUS)
    return (asks or functions["success"]()) and truthy(evaluate(text, contexts, functions))


def shown(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def truthy(value: Any) -> bool:
    return value not in (None, False, 0, "")


def _tokens(text: str) -> Iterator[str]:
    position = 0
    while text[position:].strip():
        found = _TOKEN.match(text, position)
        assert found, f"cannot read {text[position:]!r}"
        yield found[0].strip()
        position = found.end()


Parsed = tuple[Any, list[str]]


def _or(tokens: list[str], contexts: Mapping[str, Any], functions: Functions) -> Parsed:
    value, tokens = _and(tokens, contexts, functions)
    while tokens[:1] == ["||"]:
        other, tokens = _and(tokens[1:], contexts, functions)
        value = value if truthy(value) else other
    return value, tokens


def _and(tokens: list[str], contexts: Mapping[str, Any], functions: Functions) -> Parsed:
    value, tokens = _equal(tokens, contexts, functions)
    while tokens[:1] == ["&&"]:
        other, tokens = _equal(tokens[1:], contexts, functions)
        value = other if truthy(value) else value
    return value, tokens


def _equal(tokens: list[str], contexts: Mapping[str, Any], functions: Functions) -> Parsed:
    value, tokens = _one(tokens, contexts, functions)
    while tokens[:1] in (["=="], ["!="]):
        other, rest = _one(tokens[1:], contexts, functions)
        # Texts are compared without regard to letter case; nothing here compares a text with a number.
        same = str(value).lower() == str(other).lower() if value is not None else other in (None, "")
        value, tokens = same == (tokens[0] == "=="), rest
    return value, tokens


def _one(tokens: list[str], contexts: Mapping[str, Any], functions: Functions) -> Parsed:
    assert tokens, "the expression ends too early"
    first, rest = tokens[0], tokens[1:]
    if first == "!":
        value, rest = _one(rest, contexts, functions)
        return not truthy(value), rest
    if first == "(":
        value, rest = _or(rest, contexts, functions)
        assert rest[:1] == [")"], "a ) is missing"
        return value, rest[1:]
    if first.startswith("'"):
        return first[1:-1].replace("''", "'"), rest
    if first[0].isdigit():
        return float(first), rest
    if first in ("true", "false", "null"):
        return {"true": True, "false": False, "null": None}[first], rest
    if rest[:1] == ["("]:
        arguments, rest = _arguments(rest[1:], contexts, functions)
        return functions[first](*arguments), rest
    return _looked_up(first, contexts), rest


def _arguments(
    tokens: list[str], contexts: Mapping[str, Any], functions: Functions
) -> tuple[list[Any], list[str]]:
    found: list[Any] = []
    while tokens[:1] != [")"]:
        value, tokens = _or(tokens, contexts, functions)
        found.append(value)
        if tokens[:1] == [","]:
            tokens = tokens[1:]
    return found, tokens[1:]


def _looked_up(name: str, contexts: Mapping[str, Any]) -> Any:
    context, *keys = name.split(".")
    value: Any = contexts[context]
    for key in keys:
        # As GitHub has it, what is not there is null.
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
