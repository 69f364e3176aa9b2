"""What is compared by distances between trials: one value a trial, and how far two of them are apart."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from aegis.regression.drift import normal
from aegis.regression.drift.behaviour import Behaviour
from aegis.regression.drift.findings import Aspect
from aegis.regression.stats import distances

_SHOWN_CHARS = 160
Distance = Callable[[Any, Any], float]


@dataclass(frozen=True, slots=True)
class Series:
    """One thing that each trial of a case did, in both sides."""

    aspect: Aspect
    what: str
    before: tuple[Hashable, ...]
    now: tuple[Hashable, ...]
    distance: Distance
    show: Callable[[Any], str]

    @property
    def constant(self) -> bool:
        return len({*self.before, *self.now}) <= 1


def series(before: Sequence[Behaviour], now: Sequence[Behaviour]) -> Iterator[Series]:
    """Everything that can be compared in a case's trials."""
    for aspect, what, value, distance, show in _SINGLE:
        yield Series(aspect, what, tuple(map(value, before)), tuple(map(value, now)), distance, show)
    yield from _arguments(before, now)


def side(values: Sequence[Hashable], show: Callable[[Any], str]) -> str:
    """What most trials did, and how many: `lookup → refund (18 of 20)`."""
    value, count = Counter(values).most_common(1)[0]
    return f"{show(value)} ({count} of {len(values)})"


def shorten(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else f"{text[: _SHOWN_CHARS - 1]}…"


def write_of(method: str, host: str, path: str) -> str:
    return f"{method.upper()} {host}{normal.path(path)}"


def _names(trial: Behaviour) -> tuple[str, ...]:
    return tuple(call.name for call in trial.tools)


def _hosts(trial: Behaviour) -> frozenset[str]:
    return frozenset(request.host for request in trial.requests)


def _writes(trial: Behaviour) -> tuple[str, ...]:
    return tuple(
        write_of(request.method, request.host, request.path) for request in trial.requests if request.writes
    )


def _arguments(before: Sequence[Behaviour], now: Sequence[Behaviour]) -> Iterator[Series]:
    """The values at each path of each tool's arguments, in the order of the calls; only trials that call the tool are
    compared, since whether it is called is another question."""
    sides = [[_values(trial) for trial in trials] for trials in (before, now)]
    tools = dict.fromkeys(name for trials in sides for trial in trials for name in trial)
    for tool in tools:
        called = [[trial[tool] for trial in trials if tool in trial] for trials in sides]
        if not all(called):
            continue
        for path in dict.fromkeys(path for trials in called for trial in trials for path in trial):
            old, new = (tuple(tuple(trial.get(path, ())) for trial in trials) for trials in called)
            yield Series("arguments", f"{tool} {path}", old, new, distances.edit, _show_sequence(", "))


def _values(trial: Behaviour) -> dict[str, dict[str, list[str]]]:
    """Tool → path → values."""
    found: dict[str, dict[str, list[str]]] = {}
    for call in trial.tools:
        paths = found.setdefault(call.name, {})
        # No arguments at all are no value of the whole.
        for path, value in normal.leaves(call.arguments) if call.arguments else ():
            if isinstance(value, str):
                value = normal.text(value)
            paths.setdefault(path, []).append(json.dumps(value, ensure_ascii=False, default=str))
    return found


def _show_sequence(between: str) -> Callable[[Sequence[str]], str]:
    return lambda items: shorten(between.join(items)) or "none"


def _show_set(items: frozenset[str]) -> str:
    return shorten(", ".join(sorted(items))) or "none"


def _word_distance(first: tuple[str, ...], second: tuple[str, ...]) -> float:
    return distances.jaccard(distances.shingles(first), distances.shingles(second))


def _show_answer(words: tuple[str, ...]) -> str:
    return repr(shorten(" ".join(words))) if words else "none"


_Row = tuple[Aspect, str, Callable[[Behaviour], Hashable], Distance, Callable[[Any], str]]
_SINGLE: tuple[_Row, ...] = (
    ("tools", "tool calls", _names, distances.edit, _show_sequence(" → ")),
    ("hosts", "hosts", _hosts, distances.jaccard, _show_set),
    ("writes", "writes", _writes, distances.edit, _show_sequence(", ")),
    ("answer", "answer", lambda trial: normal.words(trial.answer), _word_distance, _show_answer),
)
