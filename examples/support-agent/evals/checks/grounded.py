"""A scorer of the project itself: an amount that the agent names comes from a tool or from the customer."""

import json
import re
from collections.abc import Iterator
from typing import Any

AMOUNT = re.compile(r"\b(\d+)\.(\d{2}) EUR\b")
ASKED = re.compile(r"\b(\d+)(?:[.,](\d{2}))? EUR\b")


def amounts(trial: Any) -> tuple[bool, str]:
    """Passed when each amount in an answer stands in an earlier tool result or in the customer's words."""
    known: set[int] = set()
    for number, turn in enumerate(trial.turns):
        known.update(cents(ASKED, turn.user))
        for call in trial.tool_calls:
            if call.turn == number:
                known.update(figures(call.result))
        invented = sorted(set(cents(AMOUNT, turn.answer)) - known)
        if invented:
            named = ", ".join(f"{value / 100:.2f} EUR" for value in invented)
            return False, f"the answer to {turn.user!r} names {named}, which no tool gave"
    return True, "every amount comes from a tool or from the customer"


def cents(pattern: re.Pattern[str], text: str) -> Iterator[int]:
    for whole, rest in pattern.findall(text):
        yield int(whole) * 100 + int(rest or 0)


def figures(value: Any) -> Iterator[int]:
    """Every whole number in a JSON value, or in a text that is one."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        value = json.loads(value)
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from figures(item)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield value
