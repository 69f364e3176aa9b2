"""What is compared by distances between trials: one value a trial, and how far two of them are apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from aegis.regression.drift.behaviour import Behaviour
from aegis.regression.drift.findings import Aspect
from aegis.regression.drift.views import Calls, Traffic, Views, alike
from aegis.regression.stats import distances

_SHOWN_CHARS = 160
Distances = Callable[[Sequence[Any]], list[list[float]]]
"""How far each of some different values is from each other."""


@dataclass(frozen=True, slots=True)
class Series:
    """One thing that each trial of a case did, in both sides."""

    aspect: Aspect
    what: str
    before: tuple[Hashable, ...]
    now: tuple[Hashable, ...]
    distances: Distances
    show: Callable[[Any], str]

    @property
    def constant(self) -> bool:
        return len({*self.before, *self.now}) <= 1


@dataclass(frozen=True, slots=True)
class Trials:
    """The trials of one case on one side, by what is compared of them."""

    trials: Sequence[Behaviour]
    calls: Sequence[Calls]
    traffic: Sequence[Traffic]
    words: Sequence[tuple[str, ...]]

    @classmethod
    def of(cls, trials: Sequence[Behaviour], views: Views) -> Trials:
        return cls(
            trials,
            [views.calls(trial) for trial in trials],
            [views.traffic(trial) for trial in trials],
            [views.words(trial) for trial in trials],
        )


def series(before: Trials, now: Trials) -> Iterator[Series]:
    """Everything of a case's trials that can be compared and is not always the same."""
    same_calls = alike([*before.calls, *now.calls])
    same_traffic = alike([*before.traffic, *now.traffic])
    for found in _series(before, now, calls=not same_calls, traffic=not same_traffic):
        if not found.constant:
            yield found


def everything(before: Trials, now: Trials) -> Iterator[Series]:
    """The same with what is always the same, for those who look at one case."""
    return _series(before, now, calls=True, traffic=True)


def _series(before: Trials, now: Trials, *, calls: bool, traffic: bool) -> Iterator[Series]:
    if calls:
        yield _single("tools", "tool calls", _NAMES, before.calls, now.calls)
    if traffic:
        yield _single("hosts", "hosts", _HOSTS, before.traffic, now.traffic)
        yield _single("writes", "writes", _WRITES, before.traffic, now.traffic)
    yield _single("answer", "answer", _ANSWER, before.words, now.words)
    if calls:
        yield from _arguments(before.calls, now.calls)


def side(values: Sequence[Hashable], show: Callable[[Any], str]) -> str:
    """What most trials did, and how many: `lookup → refund (18 of 20)`."""
    value, count = Counter(values).most_common(1)[0]
    return f"{show(value)} ({count} of {len(values)})"


def shorten(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else f"{text[: _SHOWN_CHARS - 1]}…"


def _single(aspect: Aspect, what: str, how: _How, before: Sequence[Any], now: Sequence[Any]) -> Series:
    value, distances_of, show = how
    return Series(aspect, what, tuple(map(value, before)), tuple(map(value, now)), distances_of, show)


def _arguments(before: Sequence[Calls], now: Sequence[Calls]) -> Iterator[Series]:
    """The values at each path of each tool's arguments, in the order of the calls; only trials that call the tool are
    compared, since whether it is called is another question."""
    values = {view: view.values() for view in (*before, *now)}
    sides = [[values[view] for view in views] for views in (before, now)]
    tools = dict.fromkeys(name for trials in sides for trial in trials for name in trial)
    for tool in tools:
        called = [[trial[tool] for trial in trials if tool in trial] for trials in sides]
        if not all(called):
            continue
        for path in dict.fromkeys([path for trials in called for trial in trials for path in trial]):
            old, new = ([trial.get(path, _NOTHING) for trial in trials] for trials in called)
            what = f"{tool} {path}"
            yield Series("arguments", what, tuple(map(tuple, old)), tuple(map(tuple, new)), _by_edits, _LIST)


def _show_sequence(between: str) -> Callable[[Sequence[str]], str]:
    return lambda items: shorten(between.join(items)) or "none"


def _show_set(items: frozenset[str]) -> str:
    return shorten(", ".join(sorted(items))) or "none"


def _show_answer(words: tuple[str, ...]) -> str:
    return repr(shorten(" ".join(words))) if words else "none"


def _by_edits(kinds: Sequence[Any]) -> list[list[float]]:
    return _between(kinds, distances.edit)


def _by_members(kinds: Sequence[Any]) -> list[list[float]]:
    return _between(kinds, distances.jaccard)


def _by_words(kinds: Sequence[Any]) -> list[list[float]]:
    return _between(list(map(distances.shingles, kinds)), distances.jaccard)


def _between(kinds: Sequence[Any], distance: Callable[[Any, Any], float]) -> list[list[float]]:
    between = [[0.0] * len(kinds) for _ in kinds]
    for row, first in enumerate(kinds):
        for column in range(row):
            between[row][column] = between[column][row] = distance(first, kinds[column])
    return between


_How = tuple[Callable[[Any], Hashable], Distances, Callable[[Any], str]]
_NOTHING: list[str] = []
_LIST = _show_sequence(", ")
_NAMES: _How = (lambda view: view.names, _by_edits, _show_sequence(" → "))
_HOSTS: _How = (lambda view: view.hosts, _by_members, _show_set)
_WRITES: _How = (lambda view: view.writes, _by_edits, _LIST)
_ANSWER: _How = (lambda words: words, _by_words, _show_answer)
