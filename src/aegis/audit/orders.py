"""In which orders one machine gets the trials."""

from __future__ import annotations

import random
from collections.abc import Sequence

from aegis.audit.model import Trial

AS_WRITTEN = "as written"
REVERSED = "reversed"


def make_orders(plan: Sequence[Trial], count: int, seed: int) -> dict[str, tuple[Trial, ...]]:
    """Up to `count` different orders by name: the suite's own, its reverse, then shuffled ones.

    The reverse is the second one because of what it tells: whatever ran before a trial in the first runs after it
    there, so two orders halve the suspects. Equal orders are made only once: a suite of one trial has one.
    """
    orders = {AS_WRITTEN: tuple(plan)}
    if count > 1 and len(plan) > 1:
        orders[REVERSED] = tuple(reversed(plan))
    draw = random.Random(seed)
    for number in range(1, count - 1):
        for _ in range(20):  # short plans have few orders
            shuffled = list(plan)
            draw.shuffle(shuffled)
            if tuple(shuffled) not in orders.values():
                orders[f"shuffled {number}"] = tuple(shuffled)
                break
    return orders
