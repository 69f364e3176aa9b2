"""Delta debugging."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.engine.shrink import Smallest, smallest
from support.fuzzing import examples


def shrink(count: int, needed: set[int], budget: int = 10_000) -> tuple[Smallest[int], list[tuple[int, ...]]]:
    """`needed` together make it fail."""
    asked: list[tuple[int, ...]] = []

    async def fails(part: tuple[int, ...]) -> bool:
        asked.append(part)
        return needed <= set(part)

    return asyncio.run(smallest(range(count), fails, budget=budget)), asked


@settings(max_examples=examples(200))
@given(st.integers(1, 12), st.data())
def test_what_is_left_is_just_what_is_needed(count: int, data: st.DataObject) -> None:
    needed = data.draw(st.sets(st.integers(0, count - 1), min_size=1))
    found, asked = shrink(count, needed)
    assert found == Smallest(tuple(sorted(needed)), len(asked), True)
    assert len(set(asked)) == len(asked)


def test_failures_that_are_not_monotone_end_in_a_part_of_which_nothing_can_be_left_out() -> None:
    async def fails(part: tuple[int, ...]) -> bool:
        return len(part) % 2 == 0

    found = asyncio.run(smallest(range(8), fails, budget=1000))
    assert found.minimal
    assert len(found.kept) == 2


@pytest.mark.parametrize("budget", [0, 1, 3, 6])
def test_the_budget_is_kept_and_what_is_left_still_fails(budget: int) -> None:
    needed = {1, 6}
    found, asked = shrink(8, needed, budget)
    assert (found.tests, len(asked), found.minimal) == (budget, budget, False)
    assert needed <= set(found.kept)


def test_one_item_needs_no_test() -> None:
    assert shrink(1, {0}) == (Smallest((0,), 0, True), [])


def test_every_pair_of_seven_is_found_within_a_few_dozen_tests() -> None:
    for pair in itertools.combinations(range(7), 2):
        found, _ = shrink(7, set(pair))
        assert found.kept == pair
        assert found.tests <= 30
