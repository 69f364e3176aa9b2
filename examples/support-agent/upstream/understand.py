"""Reading a customer's message: what it wants, which order it is about, which amount it names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Intent = Literal["refund", "refund_newest", "refunded_amount", "list", "order", "thanks", "greeting", "other"]

_INTENTS: tuple[tuple[Intent, re.Pattern[str]], ...] = (
    ("refunded_amount", re.compile(r"\bhow much\b.*\b(get back|got back|refund(ed)?|back)\b", re.I | re.S)),
    ("refund_newest", re.compile(r"\brefund\b.*\b(newest|latest|most recent)\b.*\borders?\b", re.I | re.S)),
    ("refund", re.compile(r"\b(refund|money back|reimburse|return my money)\b", re.I)),
    ("list", re.compile(r"\b(list|show|which|what)\b.*\borders\b", re.I | re.S)),
    ("order", re.compile(r"\b(status|where is|note|track|arriv\w*|tell me about)\b", re.I)),
    ("thanks", re.compile(r"\b(thanks|thank you|bye)\b", re.I)),
    ("greeting", re.compile(r"^\s*(hi|hello|good (morning|day|evening))\b", re.I)),
)
_REFERENCE = re.compile(r"\border\s*(?:number|no\.?|nr\.?)?\s*#?\s*([\w-]*\d[\w-]*)", re.I)
_BARE_NUMBER = re.compile(r"(?<![\w.,-])#?(\d{4})(?![\w-]|[.,]\d)")
_AMOUNT = re.compile(
    r"(?:(?:€|EUR)\s*(\d+)(?:[.,](\d{2}))?|(\d+)(?:[.,](\d{2}))?\s*(?:€|EUR\b|euros?\b))", re.I
)
_LIMIT = re.compile(r"\blast (\w+) orders\b", re.I)
_NUMBER_WORDS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "ten": 10}
_ORDINALS = {"first": 0, "second": 1, "third": 2, "fourth": 3, "fifth": 4, "last": -1}


@dataclass(frozen=True, slots=True)
class Reference:
    """An order number as the customer wrote it; `number` is None when it cannot be one."""

    text: str
    number: int | None


def intent(text: str) -> Intent:
    return next((name for name, pattern in _INTENTS if pattern.search(text)), "other")


def order_reference(text: str) -> Reference | None:
    """The order that the text names by number (four digits), or None when it names none."""
    match = _REFERENCE.search(text) or _BARE_NUMBER.search(text)
    if match is None:
        return None
    written = match.group(1)
    return Reference(written, int(written) if re.fullmatch(r"[1-9]\d{3}", written) else None)


def chosen_from(text: str, shown: Sequence[int]) -> int | None:
    """The order that the text picks out of a list shown before (`the second one`), or None."""
    for word, index in _ORDINALS.items():
        if re.search(rf"\b{word}\b(?! \w+ orders)", text, re.I) and -len(shown) <= index < len(shown):
            return shown[index]
    return None


def amount_cents(text: str) -> int | None:
    """The first amount of money in the text, in cents."""
    match = _AMOUNT.search(text)
    if match is None:
        return None
    whole = match.group(1) or match.group(3)
    cents = match.group(2) or match.group(4) or "00"
    return int(whole) * 100 + int(cents)


def how_many(text: str) -> int | None:
    """The number in `my last three orders`, or None."""
    match = _LIMIT.search(text)
    if match is None:
        return None
    word = match.group(1).lower()
    return int(word) if word.isdigit() else _NUMBER_WORDS.get(word)
