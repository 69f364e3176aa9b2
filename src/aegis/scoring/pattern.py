"""Regular expressions of a suite applied to text of an agent, within a bounded time.

Python's own `re` can't be stopped: it holds the interpreter lock for as long as a catastrophic pattern
backtracks, and one answer made for it would hang the whole run. The `regex` package takes the same syntax,
checks a deadline while it matches, and lets go of the lock."""

from __future__ import annotations

import re
import time
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import regex

JUDGING_S = 10.0
"""Time for everything that one expectation does with a text. Honest patterns need milliseconds."""

_SPECIAL = frozenset("\\^$.|?*+()[]{}")


class TooSlowError(Exception):
    """Judging took longer than `JUDGING_S`."""

    def __init__(self) -> None:
        super().__init__(
            f"judging it took longer than {JUDGING_S:g} s (a pattern with catastrophic backtracking?)"
        )


class Deadline:
    """A moment on the monotonic clock, `JUDGING_S` from now unless told otherwise."""

    def __init__(self, seconds: float = JUDGING_S) -> None:
        self._until = time.monotonic() + seconds

    def left_s(self) -> float:
        """Seconds left; raises `TooSlowError` when there are none."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise TooSlowError
        return left


def problem(pattern: str) -> str | None:
    """What is wrong with a pattern, or None."""
    if _SPECIAL.isdisjoint(pattern):
        return None  # a plain text compiles: spares a suite of many thousands the compiler
    try:
        # Three times as fast, and what `re` takes `regex` takes too.
        re.compile(pattern)
        return None
    except (re.error, ValueError, OverflowError, RecursionError):
        pass
    import regex

    try:
        _compiled(pattern, False)
    except (regex.error, ValueError, OverflowError, RecursionError) as error:
        return f"not a regular expression: {error}"
    return None


def found(pattern: str, text: str, deadline: Deadline, *, ignore_case: bool = False) -> bool:
    """Whether the pattern matches somewhere in the text. Raises `TooSlowError`."""
    try:
        match = _compiled(pattern, ignore_case).search(text, timeout=deadline.left_s(), concurrent=True)
    except TimeoutError:
        raise TooSlowError from None
    return match is not None


@lru_cache(maxsize=4096)
def _compiled(pattern: str, ignore_case: bool) -> regex.Pattern[str]:
    import regex

    return regex.compile(pattern, regex.IGNORECASE if ignore_case else 0)
