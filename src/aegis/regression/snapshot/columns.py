"""What a run's trials did, by columns: each thing once, and cut to any length without looking at the trials again.

A reference counts back from the newest entry of its table: 0 is the next new one, 1 the newest, 2 the one before it.
Trials of one case do much the same, so most references are 0 or 1 whatever the size of the suite, and take next to
nothing when compressed.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import chain, islice
from operator import attrgetter
from typing import Any, TypeVar

from aegis.regression.drift import shorten
from aegis.regression.drift.behaviour import Behaviour
from aegis.regression.drift.observe import finite

MAX_AMOUNT = 2**53

_FLAGS = {True: "1", False: "0", None: "?"}
_REQUEST = attrgetter("host", "method", "path", "to_model")

_Thing = TypeVar("_Thing", bound=Hashable)


class Columns:
    """Texts are as long as they were observed; `document` cuts them."""

    def __init__(self, trials: Sequence[Behaviour]) -> None:
        self._answer, self._answers = once(trial.answer for trial in trials)
        self._rule, rules = once(tuple(trial.rules.items()) for trial in trials)
        self._rules = [list(map(list, each)) for each in rules]

        request_places, requests = once(map(_REQUEST, chain.from_iterable(each.requests for each in trials)))
        self._traffic, traffic = once(_split(request_places, (len(each.requests) for each in trials)))
        hosts, methods, paths, to_model = zip(*requests, strict=True) if requests else ((), (), (), ())
        self._requests: dict[str, Any] = {}
        self._of_requests: dict[str, Any] = {}
        for name, column in (("host", hosts), ("method", methods), ("path", paths)):
            places, self._of_requests[f"{name}s"] = once(column)
            self._requests[name] = references(places)
        self._requests["to_model"] = "".join(map(_FLAGS.__getitem__, to_model))
        self._of_requests["traffic"] = _sequences(traffic)

        # By how Python writes it: 1, 1.0 and true are equal there.
        values: dict[str, Any] = {}
        use_places, uses = once(
            (call.name, _noted(repr(call.arguments), call.arguments, values), call.writes)
            for each in trials
            for call in each.tools
        )
        self._call, self._calls = once(_split(use_places, (len(each.tools) for each in trials)))
        name_places, self._names = once(name for name, _, _ in uses)
        value_places, texts = once(text for _, text, _ in uses)
        self._uses = list(zip(name_places, value_places, (writes for _, _, writes in uses), strict=True))
        self._values = [(len(text), values[text]) for text in texts]

        self._amounts = {
            "tokens": [_whole(trial.tokens) for trial in trials],
            "cost_usd": [_four_digits(trial.cost_usd) for trial in trials],
            "latency_ms": [_milliseconds(trial.latency_s) for trial in trials],
        }

    def document(self, chars: int) -> dict[str, Any]:
        """As it is written, with answers cut to `chars` characters and arguments to what that means for them."""
        cut, answers = once(shorten.answer(text, chars) for text in self._answers)
        call, calls, uses, values = self._cut_calls(shorten.argument_chars(chars))
        return {
            "behaviours": {
                "calls": references(call),
                "traffic": references(self._traffic),
                "rules": references(self._rule),
                "answer": references(map(cut.__getitem__, self._answer)),
                **self._amounts,
            },
            "answers": answers,
            "rules": self._rules,
            "calls": _sequences(calls),
            "tools": {
                "name": references(name for name, _, _ in uses),
                "arguments": references(value for _, value, _ in uses),
                "writes": "".join(_FLAGS[writes] for _, _, writes in uses),
            },
            "names": self._names,
            "arguments": values,
            "requests": self._requests,
            **self._of_requests,
        }

    def _cut_calls(
        self, chars: int
    ) -> tuple[
        list[int], Sequence[tuple[int, ...]], Sequence[tuple[int, int, bool | None]], Sequence[object]
    ]:
        """What differed only behind the cut is one and the same."""
        cut = [shorten.recut(value, chars) if size > chars else value for size, value in self._values]
        if all(new is old for new, (_, old) in zip(cut, self._values, strict=True)):
            return self._call, self._calls, self._uses, cut
        value_places, texts = once(map(repr, cut))
        kept = dict(zip(value_places, cut, strict=True))
        use_places, uses = once((name, value_places[value], writes) for name, value, writes in self._uses)
        call_places, calls = once(tuple(map(use_places.__getitem__, each)) for each in self._calls)
        return (
            [call_places[place] for place in self._call],
            calls,
            uses,
            [kept[place] for place in range(len(texts))],
        )


def references(places: Iterable[int]) -> list[int]:
    """Places of a table as they are written, in this order."""
    written, size = [], 0
    for place in places:
        if place == size:
            size += 1
            written.append(0)
        else:
            written.append(size - place)
    return written


def once(things: Iterable[_Thing]) -> tuple[list[int], list[_Thing]]:
    """The place of each, and the table: everything once, in the order of its first appearance."""
    table: dict[_Thing, int] = {}
    return [table.setdefault(thing, len(table)) for thing in things], list(table)


def _noted(text: str, value: object, values: dict[str, object]) -> str:
    values.setdefault(text, value)
    return text


def _split(flat: Iterable[int], lengths: Iterable[int]) -> Iterator[tuple[int, ...]]:
    rest = iter(flat)
    return (tuple(islice(rest, length)) for length in lengths)


def _sequences(rows: Sequence[tuple[int, ...]]) -> list[list[int]]:
    """Each row's references, which go on counting from row to row."""
    written = iter(references(chain.from_iterable(rows)))
    return [list(islice(written, len(row))) for row in rows]


def _whole(amount: int | None) -> int | None:
    return amount if amount is not None and 0 <= amount <= MAX_AMOUNT else None


def _four_digits(amount: float | None) -> float | None:
    kept = finite(amount)
    return None if kept is None or kept > MAX_AMOUNT else float(f"{kept:.4g}")


def _milliseconds(amount: float | None) -> int | None:
    kept = finite(amount)
    return None if kept is None or kept > MAX_AMOUNT / 1000 else round(kept * 1000)
