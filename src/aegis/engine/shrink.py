"""Delta debugging: from a set of things under which a trial fails to a smallest one under which it still does.

The algorithm is `ddmin` of A. Zeller and R. Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", IEEE
Transactions on Software Engineering 28(2), 2002, section 3.2. Its result is 1-minimal: without any one of what is left
the trial does not fail.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


class _OutOfBudgetError(Exception):
    pass


@dataclass(frozen=True, slots=True)
class Smallest(Generic[T]):
    """What is left."""

    kept: tuple[T, ...]
    tests: int
    """How many sets were tried."""
    minimal: bool
    """Whether every one of them was shown to be needed; False when the budget ended before."""


async def smallest(
    items: Sequence[T], fails: Callable[[tuple[T, ...]], Awaitable[bool]], *, budget: int
) -> Smallest[T]:
    """A smallest part of `items`, in their order, for which `fails` still holds; it holds for all of them. `fails` is
    asked at most `budget` times, and never twice for the same part."""
    search = _Search(tuple(items), fails, budget)
    try:
        minimal = await search.run()
    except _OutOfBudgetError:
        minimal = False
    kept = tuple(items[index] for index in search.kept)
    return Smallest(kept, search.tests, minimal)


class _Search(Generic[T]):
    def __init__(
        self, items: tuple[T, ...], fails: Callable[[tuple[T, ...]], Awaitable[bool]], budget: int
    ) -> None:
        self._items = items
        self._fails = fails
        self._budget = budget
        self._known: dict[tuple[int, ...], bool] = {}
        self.kept = tuple(range(len(items)))
        self.tests = 0

    async def run(self) -> bool:
        parts = 2
        while len(self.kept) >= 2:
            blocks = _split(self.kept, parts)
            rests = [tuple(index for index in self.kept if index not in block) for block in blocks]
            if (found := await self._first(blocks)) is not None:
                self.kept, parts = found, 2
            elif parts > 2 and (found := await self._first(rests)) is not None:
                self.kept, parts = found, max(parts - 1, 2)
            elif parts < len(self.kept):
                parts = min(2 * parts, len(self.kept))
            else:
                return True
        # One is left: whether it is needed at all is the caller's knowledge.
        return True

    async def _first(self, candidates: Sequence[tuple[int, ...]]) -> tuple[int, ...] | None:
        for candidate in candidates:
            if await self._still_fails(candidate):
                return candidate
        return None

    async def _still_fails(self, part: tuple[int, ...]) -> bool:
        if part not in self._known:
            if self.tests >= self._budget:
                raise _OutOfBudgetError
            self.tests += 1
            self._known[part] = await self._fails(tuple(self._items[index] for index in part))
        return self._known[part]


def _split(indices: tuple[int, ...], parts: int) -> list[tuple[int, ...]]:
    """In blocks of sizes that differ by one at most."""
    size, more = divmod(len(indices), parts)
    blocks, at = [], 0
    for number in range(parts):
        end = at + size + (number < more)
        blocks.append(indices[at:end])
        at = end
    return blocks
