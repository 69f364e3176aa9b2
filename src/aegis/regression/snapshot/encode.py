"""A snapshot as bytes: JSON by columns, compressed. docs/regression.md ("What is kept") describes the form."""

from __future__ import annotations

import dataclasses
import json
from bisect import bisect_left
from itertools import islice

import zstandard

from aegis.regression.drift import shorten
from aegis.regression.nocycles import uncollected
from aegis.regression.snapshot.columns import Columns, once, references
from aegis.regression.snapshot.model import SCHEMA, Snapshot

_STRONG, _LARGE_BYTES, _LARGE = 17, 1024 * 1024, 12
"""Level of compression; and the one for texts that are longer than this, of which the strong one takes ten times as
long for a tenth less."""
_QUICK = 3

_BASE_BYTES, _TRIAL_BYTES = 256 * 1024, 44
"""How large a snapshot may be: so much, and so much more a trial."""
_CHARS = (
    *(shorten.LONGEST, 3_000, 2_000, 1_400, 1_000, 700, 500, 360, 256, 192, 144, 112),
    *(96, 88, 80, 72, 64, 56, 48, 40, 32, 24, 16),
)
"""The lengths to which answers and arguments are cut until it is no larger."""
_SAMPLE_BYTES, _SAMPLE_CASES = 2 * 1024 * 1024, 20
"""The length is chosen by cases that have so much text between them, and are so many at least."""
_SAMPLE_TELLS = 0.97
"""The whole is smaller by so much, about, than they let expect: more of it has been there before."""

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
    with uncollected():
        return _fitting(snapshot)


def _fitting(snapshot: Snapshot) -> bytes:
    """With the longest texts that fit, or the shortest."""
    run = _Run(snapshot)
    budget = budget_bytes(run.trials)
    lengths = [chars for chars in _CHARS if snapshot.chars is None or chars < snapshot.chars]
    tries = [*([] if snapshot.chars is None else [snapshot.chars]), *lengths]
    whole = run.text(tries[0])
    if len(whole) <= budget:
        return _compressed(whole)
    guess = _Guess(snapshot, tries[0], whole)
    begin = bisect_left(tries[:-1], True, key=lambda chars: guess(chars) <= budget)
    for chars in tries[begin:]:
        if chars != tries[-1] and guess(chars) > budget:
            continue
        data = _compressed(whole if chars == tries[0] else run.text(chars))
        if len(data) <= budget:
            break
        guess.correct(chars, len(data))
    return data


class _Run:
    def __init__(self, snapshot: Snapshot, every: int = 1) -> None:
        """Of each `every`th case."""
        trials = dict(islice(snapshot.trials.items(), None, None, every))
        found = [tuple(snapshot.behaviours.get(key, ())) for key in trials]
        variant, variants = once(key.variant for key in trials)
        self._columns = Columns([trial for case in found for trial in case])
        self._head = {"schema": SCHEMA, "facts": dataclasses.asdict(snapshot.facts)}
        self._cases = {
            "cases": {
                "case": [key.case for key in trials],
                "variant": references(variant),
                **{name: [getattr(item, name) for item in trials.values()] for name in COUNTS},
                "content": [item.content for item in trials.values()],
                "behaviours": list(map(len, found)),
            },
            "variants": variants,
        }
        self.trials = sum(map(len, found))

    def text(self, chars: int) -> bytes:
        document = {**self._head, "chars": chars, **self._cases, **self._columns.document(chars)}
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        # Agents can say lone surrogates.
        return text.encode("utf-8", "surrogatepass")


class _Guess:
    """About how large it is with texts of some length, told by some of the cases."""

    def __init__(self, snapshot: Snapshot, longest: int, whole: bytes) -> None:
        every = min(len(whole) // _SAMPLE_BYTES, len(snapshot.trials) // _SAMPLE_CASES)
        self._sample = _Run(snapshot, max(1, every))
        text = self._sample.text(longest)
        self._text_ratio = len(whole) / len(text)
        self._ratio = _SAMPLE_TELLS * len(_compressed(whole, _QUICK)) / len(_compressed(text, _QUICK))
        self._sizes: dict[int, int] = {}

    def __call__(self, chars: int) -> float:
        """Bytes."""
        if chars not in self._sizes:
            text = self._sample.text(chars)
            level = _level(len(text) * self._text_ratio)
            self._sizes[chars] = len(_compressed(text, level))
        return self._sizes[chars] * self._ratio

    def correct(self, chars: int, size: int) -> None:
        """It is so large, in fact."""
        self._ratio *= size / self(chars)


def _level(size: float) -> int:
    return _LARGE if size > _LARGE_BYTES else _STRONG


def _compressed(text: bytes, level: int | None = None) -> bytes:
    level = _level(len(text)) if level is None else level
    return zstandard.ZstdCompressor(level=level, write_checksum=True).compress(text)
