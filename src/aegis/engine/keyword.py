"""The selection language of `-k`: `refund and not (slow or flaky)`.

A word matches a case whose id contains it, or that has it as a tag; letter case does not matter. `not` binds
tighter than `and`, `and` tighter than `or`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from aegis.errors import UsageError
from aegis.suite.model import Case

Predicate = Callable[[Case], bool]
_TOKEN = re.compile(r"\s*([()]|[^\s()]+)")
_MAX_DEPTH = 100
"""Nesting bound: far above any expression a person writes, far below Python's recursion limit."""


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    column: int


def compile_keyword(expression: str) -> Predicate:
    """A predicate over cases. Raises `UsageError` that points at the place where the expression breaks."""
    return _Parser(expression).parse()


def matches_word(case: Case, word: str) -> bool:
    wanted = word.casefold()
    return wanted in case.id.casefold() or any(wanted == tag.casefold() for tag in case.tags)


class _Parser:
    """Recursive descent; one method for each level of precedence."""

    def __init__(self, expression: str) -> None:
        self._expression = expression
        self._tokens = [_Token(m[1], m.start(1)) for m in _TOKEN.finditer(expression)]
        self._next = 0
        self._depth = 0

    def parse(self) -> Predicate:
        if not self._tokens:
            raise UsageError("-k: the expression is empty", fix="write a case id or tag, e.g. -k refund")
        predicate = self._or()
        if self._peek() is not None:
            raise self._error("expected 'and', 'or' or the end")
        return predicate

    def _or(self) -> Predicate:
        parts = [self._and()]
        while self._take("or"):
            parts.append(self._and())
        return parts[0] if len(parts) == 1 else lambda case: any(part(case) for part in parts)

    def _and(self) -> Predicate:
        parts = [self._not()]
        while self._take("and"):
            parts.append(self._not())
        return parts[0] if len(parts) == 1 else lambda case: all(part(case) for part in parts)

    def _not(self) -> Predicate:
        negated = False
        while self._take("not"):
            negated = not negated
        inner = self._atom()
        return (lambda case: not inner(case)) if negated else inner

    def _atom(self) -> Predicate:
        token = self._peek()
        if token is None or token.text in (")", "and", "or"):
            raise self._error("expected a word, 'not' or '('")
        self._next += 1
        if token.text != "(":
            return lambda case: matches_word(case, token.text)
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._error("too many nested parentheses")
        inner = self._or()
        self._depth -= 1
        if not self._take(")"):
            raise self._error("expected ')'")
        return inner

    def _peek(self) -> _Token | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _take(self, text: str) -> bool:
        token = self._peek()
        if token is None or token.text != text:
            return False
        self._next += 1
        return True

    def _error(self, expected: str) -> UsageError:
        token = self._peek()
        found = "the end" if token is None else repr(token.text)
        column = len(self._expression) if token is None else token.column
        return UsageError(
            f"-k: {expected}, found {found} at column {column + 1}\n  {self._expression}\n  {' ' * column}^",
            fix="combine case ids and tags with 'and', 'or', 'not' and parentheses",
        )
