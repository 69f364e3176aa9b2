"""Collecting everything that is wrong with a suite, so that one look at the file is enough to mend it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

Path = tuple[str | int, ...]
"""Where a value stands in the document: `("cases", 3, "world", "files", "orders.json")`."""

Locate = Callable[[Path], tuple[str, int]]
"""File (as shown to people) and line (from 1) of the value at a path, or of the nearest thing around it."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


@dataclass(slots=True)
class Problems:
    """Problems of one document, which must be plain data (dicts, lists, scalars) for naming the case."""

    document: Any
    locate: Locate
    found: list[Problem] = field(default_factory=list)

    def add(self, path: Path, message: str) -> None:
        file, line = self.locate(path)
        self.found.append(Problem(file, line, message))

    def wrong(self, path: Path, expectation: str) -> None:
        """`expectation` reads on after the place: `expected a duration such as 2s, got 'fast'`."""
        self.add(path, f"{self.where(path)}: {expectation}")

    def where(self, path: Path) -> str:
        """The place in words: `timeout of case 'refund'`, `agent.env.MODEL`, `case 3`, `the suite`."""
        if len(path) >= 2 and path[0] == "cases" and isinstance(path[1], int):
            case = self._case(path[1])
            return f"{_dotted(path[2:])} of {case}" if path[2:] else case
        return _dotted(path) if path else "the suite"

    def _case(self, index: int) -> str:
        cases = self.document.get("cases") if isinstance(self.document, dict) else None
        case = cases[index] if isinstance(cases, list | tuple) and index < len(cases) else None
        name = case.get("id") if isinstance(case, dict) else None
        return f"case {name!r}" if isinstance(name, str) and len(name) <= 100 else f"case {index + 1}"


def nearest(name: object, known: Iterable[str]) -> str | None:
    """The known name that is most like this one; None when none is near."""
    near = difflib.get_close_matches(str(name)[:100], list(known), n=1)
    return near[0] if near else None


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """` (did you mean 'expect'?)`, or nothing when no known name is near."""
    near = nearest(name, known)
    return f" (did you mean {near!r}?)" if near else ""


_WORD = re.compile(r"[A-Za-z0-9_-]+")


def _dotted(path: Path) -> str:
    text = ""
    for step in path:
        if isinstance(step, int) or not _WORD.fullmatch(step):
            text += f"[{step!r}]"
        else:
            text += f".{step}" if text else step
    return text if len(text) <= 200 else text[:197] + "..."
