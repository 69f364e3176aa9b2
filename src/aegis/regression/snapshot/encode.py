"""A snapshot as bytes: JSON by columns, compressed. docs/regression.md ("What is kept") describes the form.

What repeats is written once. A reference counts back from the newest entry of its table: 0 is the next new one, 1 the
newest, 2 the one before it. Trials of one case do much the same, so most references are 0 or 1 whatever the size of
the suite, and take next to nothing when compressed.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Hashable, Iterable, Iterator
from typing import Any

import zstandard

from aegis.regression.drift import shorten
from aegis.regression.drift.behaviour import Behaviour, Request, ToolUse
from aegis.regression.drift.observe import finite
from aegis.regression.snapshot.model import SCHEMA, Snapshot

LEVEL = 17
_QUICK_LEVEL = 3
_QUICK_RATIO = 0.78
"""What `LEVEL` makes of the size at `_QUICK_LEVEL`, about; it only saves tries."""

_BASE_BYTES, _TRIAL_BYTES = 256 * 1024, 40
"""How large a snapshot may be: so much, and so much more a trial."""
_CHARS = (shorten.LONGEST, 3_000, 2_000, 1_400, 1_000, 700, 500, 360, 256, 192, 144, 112, 88, 64, 48, 32, 16)
"""The lengths to which answers and arguments are cut until it is no larger."""

MAX_AMOUNT = 2**53
COUNTS = ("passed", "failed", "errors", "missing")


def budget_bytes(trials: int) -> int:
    """Up to how many bytes of a snapshot texts are kept whole, or as long as fits."""
    return _BASE_BYTES + _TRIAL_BYTES * trials


def to_bytes(snapshot: Snapshot) -> bytes:
    """Compact, and always the same for the same snapshot (and version of zstandard).

    Exact, but for three things: answers, and texts among arguments, are cut to what fits into `budget_bytes`, for which
    `Snapshot.chars` stands; latencies are rounded to milliseconds; costs to four digits.
    """
    if unknown := [key for key in snapshot.behaviours if key not in snapshot.trials]:
        raise ValueError(f"there is behaviour of {unknown[0]}, and no trials")
    budget = budget_bytes(sum(len(found) for found in snapshot.behaviours.values()))
    lengths = [chars for chars in _CHARS if snapshot.chars is None or chars < snapshot.chars]
    tries = [*([] if snapshot.chars is None else [snapshot.chars]), *lengths]
    for chars in tries[_first_guess(snapshot, tries, budget) :]:
        data = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compress(_text(snapshot, chars))
        if len(data) <= budget:
            break
    return data


def _first_guess(snapshot: Snapshot, tries: list[int], budget: int) -> int:
    """Index of the longest that should fit: the strong compression is slow."""
    low, high = 0, len(tries) - 1
    while low < high:
        middle = (low + high) // 2
        text = _text(snapshot, tries[middle])
        size = len(text)
        if size > budget:
            size = int(len(zstandard.ZstdCompressor(level=_QUICK_LEVEL).compress(text)) * _QUICK_RATIO)
        low, high = (low, middle) if size <= budget else (middle + 1, high)
    return low


def _text(snapshot: Snapshot, chars: int) -> bytes:
    document = _Writer(chars).document(snapshot)
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # Agents can say lone surrogates.
    return text.encode("utf-8", "surrogatepass")


class _Table:
    """Things that are written once, in the order of their first appearance."""

    def __init__(self) -> None:
        self._places: dict[Any, int] = {}

    def place(self, thing: Hashable) -> int:
        return self._places.setdefault(thing, len(self._places))

    def __iter__(self) -> Iterator[Any]:
        return iter(self._places)


class _References:
    """Places as references, in the order in which they are written."""

    def __init__(self) -> None:
        self._size = 0

    def __call__(self, places: Iterable[int]) -> list[int]:
        written = []
        for place in places:
            if place == self._size:
                self._size += 1
                written.append(0)
            else:
                written.append(self._size - place)
        return written


class _Writer:
    def __init__(self, chars: int) -> None:
        self._chars = chars
        self._argument_chars = shorten.argument_chars(chars)
        self._names, self._values = _Table(), _Table()
        self._uses, self._calls = _Table(), _Table()
        self._hosts, self._methods, self._paths = _Table(), _Table(), _Table()
        self._requests, self._traffic = _Table(), _Table()
        self._rules, self._answers = _Table(), _Table()

    def document(self, snapshot: Snapshot) -> dict[str, Any]:
        keys = list(snapshot.trials)
        found = [tuple(snapshot.behaviours.get(key, ())) for key in keys]
        trials = [trial for case in found for trial in case]
        variants = _Table()
        columns = {
            "calls": [self._calls.place(self._calls_of(trial)) for trial in trials],
            "traffic": [self._traffic.place(self._traffic_of(trial)) for trial in trials],
            "rules": [self._rules.place(tuple(trial.rules.items())) for trial in trials],
            "answer": [self._answers.place(shorten.answer(trial.answer, self._chars)) for trial in trials],
        }
        written = {name: _References()(places) for name, places in columns.items()}
        uses, requests, calls, traffic = map(list, (self._uses, self._requests, self._calls, self._traffic))
        of_calls, of_traffic = _References(), _References()
        return {
            "schema": SCHEMA,
            "facts": dataclasses.asdict(snapshot.facts),
            "chars": self._chars,
            "cases": {
                "case": [key.case for key in keys],
                "variant": _References()(variants.place(key.variant) for key in keys),
                **{name: [getattr(item, name) for item in snapshot.trials.values()] for name in COUNTS},
                "content": [trial.content for trial in snapshot.trials.values()],
                "behaviours": list(map(len, found)),
            },
            "variants": list(variants),
            "behaviours": {
                **written,
                "tokens": [_whole(trial.tokens) for trial in trials],
                "cost_usd": [_four_digits(trial.cost_usd) for trial in trials],
                "latency_ms": [_milliseconds(trial.latency_s) for trial in trials],
            },
            "answers": list(self._answers),
            "rules": [list(map(list, rules)) for rules in self._rules],
            "calls": list(map(of_calls, calls)),
            "tools": {
                "name": _References()(name for name, _, _ in uses),
                "arguments": _References()(value for _, value, _ in uses),
                "writes": "".join(_FLAGS[writes] for _, _, writes in uses),
            },
            "names": list(self._names),
            "arguments": [json.loads(text) for text in self._values],
            "traffic": list(map(of_traffic, traffic)),
            "requests": {
                "host": _References()(host for host, _, _, _ in requests),
                "method": _References()(method for _, method, _, _ in requests),
                "path": _References()(path for _, _, path, _ in requests),
                "to_model": "".join(_FLAGS[to_model] for _, _, _, to_model in requests),
            },
            "hosts": list(self._hosts),
            "methods": list(self._methods),
            "paths": list(self._paths),
        }

    def _calls_of(self, trial: Behaviour) -> tuple[int, ...]:
        return tuple(map(self._use, trial.tools))

    def _use(self, call: ToolUse) -> int:
        kept = shorten.recut(call.arguments, self._argument_chars)
        # As text: 1, 1.0 and true are equal in Python.
        text = json.dumps(kept, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return self._uses.place((self._names.place(call.name), self._values.place(text), call.writes))

    def _traffic_of(self, trial: Behaviour) -> tuple[int, ...]:
        return tuple(map(self._request, trial.requests))

    def _request(self, request: Request) -> int:
        return self._requests.place(
            (
                self._hosts.place(request.host),
                self._methods.place(request.method),
                self._paths.place(request.path),
                request.to_model,
            )
        )


_FLAGS = {True: "1", False: "0", None: "?"}


def _whole(amount: int | None) -> int | None:
    return amount if amount is not None and 0 <= amount <= MAX_AMOUNT else None


def _four_digits(amount: float | None) -> float | None:
    kept = finite(amount)
    return None if kept is None or kept > MAX_AMOUNT else float(f"{kept:.4g}")


def _milliseconds(amount: float | None) -> int | None:
    kept = finite(amount)
    return None if kept is None or kept > MAX_AMOUNT / 1000 else round(kept * 1000)
