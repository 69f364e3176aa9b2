"""Further records like those of a list. Pure: what varies comes from the random numbers that are given."""

from __future__ import annotations

import copy
import datetime as dt
import random
import re
from collections.abc import Callable, Collection
from typing import Any

from aegis.faults.rewrites.documents import Literal
from aegis.faults.rewrites.records import Record, own_keys, scalar

_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?=$|[T ])")
_HEX = re.compile(r"(?=.*[0-9])(?=.*[a-f])[0-9a-f-]{8,}", re.I)
_WORD = re.compile(r"[^\W\d_]{4,}")
_TRIES = 60
_HEX_DIGITS = "0123456789abcdef"
_LETTERS = "bcdfghjklmnprstvwz"


class Maker:
    """Makes records out of the shape and the values of those that are there."""

    def __init__(
        self,
        records: list[Record],
        rng: random.Random,
        *,
        named: Collection[str],
        kept: Collection[str] = (),
        said: Collection[str] = (),
    ) -> None:
        """`named` are ids that no new record may have; `kept` the members that stay as they are; `said` words, in lower
        case, that no text of a sibling may hold."""
        self._records = list(records)
        self._rng = rng
        self._kept = frozenset(kept)
        self._said = frozenset(said)
        self._keys = own_keys(records) - self._kept
        self._named = frozenset(named)
        self._taken = set(named)
        for record in records:
            self._taken |= {text for value in record.values() if (text := scalar(value)) is not None}

    def sibling(self) -> Record:
        """Another record of the list: keys of its own, other values out of the columns of the list."""
        made = copy.deepcopy(self._rng.choice(self._records))
        for name, value in list(made.items()):
            if name in self._kept:
                continue
            made[name] = self._fresh(value) if name in self._keys else self._other(name, value)
        return made

    def near_miss(self, target: Record, fields: Collection[str]) -> Record:
        """A record that is easily taken for the target: it is the target in all but the members `fields`, its other
        keys, and one more value."""
        made = copy.deepcopy(target)
        for name in fields:
            made[name] = self._near(made[name])
        for name in made:
            if name in self._keys and name not in fields:
                made[name] = self._fresh(made[name])
        self._shift_one(made, [name for name in made if name not in (*fields, *self._kept, *self._keys)])
        return made

    # -- keys ------------------------------------------------------------------------------------------------------

    def _fresh(self, value: Any) -> Any:
        """A key that nothing has."""
        return self._unlike(value, self._scrambled)

    def _near(self, value: Any) -> Any:
        """A key that nothing has, one digit or letter from this one where that is possible."""
        return self._unlike(value, self._one_off)

    def _unlike(self, value: Any, how: Callable[[str], str]) -> Any:
        text = _plain(value)
        if text is None:
            return value
        for number in range(_TRIES):
            made = (how if number < _TRIES // 2 else self._scrambled)(text)
            if made.casefold().removeprefix("#") not in self._taken:
                break
        else:
            made = _lengthened(text, self._taken)
        self._taken.add(made.casefold().removeprefix("#"))
        return int(made) if isinstance(value, int) else made

    def _scrambled(self, text: str) -> str:
        if _HEX.fullmatch(text):
            return "".join(
                self._rng.choice(_HEX_DIGITS) if char in _HEX_DIGITS else char for char in text.lower()
            )
        if re.search(r"\d", text):
            made = "".join(self._rng.choice("0123456789") if char.isdecimal() else char for char in text)
            return _no_leading_zero(text, made, self._rng)
        return f"{text}-{self._letters(3)}" if text else self._letters(6)

    def _one_off(self, text: str) -> str:
        places = [place for place, char in enumerate(text) if char.isdecimal()]
        if not places:
            return f"{text}-{self._letters(1)}"
        # The last digits are those that people read over.
        place = self._rng.choice(places[-3:])
        if len(places) > 1 and self._rng.random() < 0.3:
            first, second = places[-2:]
            swapped = list(text)
            swapped[first], swapped[second] = swapped[second], swapped[first]
            return _no_leading_zero(text, "".join(swapped), self._rng)
        made = text[:place] + self._rng.choice("0123456789") + text[place + 1 :]
        return _no_leading_zero(text, made, self._rng)

    def _letters(self, count: int) -> str:
        return "".join(self._rng.choice(_LETTERS) for _ in range(count))

    # -- other values ----------------------------------------------------------------------------------------------

    def _other(self, name: str, value: Any) -> Any:
        column = [
            record[name] for record in self._records if name in record and type(record[name]) is type(value)
        ]
        found = copy.deepcopy(self._rng.choice(column))
        if scalar(found) in self._named:
            return self._fresh(found)
        if isinstance(found, str):
            if (shifted := self._shifted_date(found)) is not None:
                return shifted
            if self._said & {word.casefold() for word in _WORD.findall(found)}:
                return self._unsaid(name, found)
        return found

    def _unsaid(self, name: str, found: str) -> str:
        """A text that holds none of the words by which the user may mean another record."""
        others = [
            record[name]
            for record in self._records
            if isinstance(record.get(name), str)
            and not self._said & {word.casefold() for word in _WORD.findall(record[name])}
        ]
        if others:
            return str(self._rng.choice(others))
        return _WORD.sub(lambda word: self._letters(len(word[0])).capitalize(), found)

    def _shift_one(self, made: Record, names: list[str]) -> None:
        """Move one date or number a little."""
        movable = [name for name in names if self._moved(made[name]) is not None]
        if movable:
            name = self._rng.choice(movable)
            made[name] = self._moved(made[name])

    def _moved(self, value: Any) -> Any:
        if isinstance(value, bool):
            return None
        if isinstance(value, Literal):
            digits = len(value.text.partition(".")[2])
            simple = re.fullmatch(r"-?\d+\.\d+", value.text) is not None
            return Literal(f"{value + self._rng.randint(1, 9) / 10**digits:.{digits}f}") if simple else None
        if isinstance(value, int):
            return value + self._rng.randint(1, 9) * 10 ** max(0, len(str(abs(value))) - 2)
        return self._shifted_date(value) if isinstance(value, str) else None

    def _shifted_date(self, text: str) -> str | None:
        found = _DATE.match(text)
        if found is None:
            return None
        try:
            day = dt.date(*map(int, found.groups())) - dt.timedelta(days=self._rng.randint(1, 60))
        except (ValueError, OverflowError):
            return None
        return day.isoformat() + text[found.end() :]


def _plain(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _no_leading_zero(text: str, made: str, rng: random.Random) -> str:
    """Numbers have as many digits as before, and texts of digits look as they did."""
    place = next((place for place, char in enumerate(text) if char.isdecimal()), None)
    if place is None or text[place] == "0" or made[place] != "0":
        return made
    return made[:place] + rng.choice("123456789") + made[place + 1 :]


def _lengthened(text: str, taken: Collection[str]) -> str:
    """Where all keys of this length are taken."""
    number = 1
    while f"{text}{number}".casefold().removeprefix("#") in taken:
        number += 1
    return f"{text}{number}"
