"""What is compared by distances between trials: one value a trial, and how far two of them are apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from itertools import combinations
from operator import attrgetter
from typing import Any, NamedTuple

from aegis.regression.drift import normal
from aegis.regression.drift.behaviour import Behaviour
from aegis.regression.drift.findings import Aspect
from aegis.regression.drift.views import Calls, Leaves, Traffic, Views
from aegis.regression.stats import distances

_SHOWN_CHARS = 160
Distances = Callable[[Sequence[Any]], Sequence[float]]
"""How far each pair of some different values is apart: 0 and 1, 0 and 2, …, 1 and 2, …"""


class Series(NamedTuple):
    """One thing that each trial of a case did, in both sides."""

    aspect: Aspect
    what: str
    before: tuple[Hashable, ...]
    now: tuple[Hashable, ...]
    distances: Distances
    show: Callable[[Any], str]


class Trials(NamedTuple):
    """The trials of one case on one side, by what is compared of them."""

    trials: Sequence[Behaviour]
    calls: Sequence[Calls]
    traffic: Sequence[Traffic]
    answers: Sequence[tuple[int, ...]]

    @classmethod
    def of(cls, trials: Sequence[Behaviour], views: Views) -> Trials:
        return cls(trials, views.calls(trials), views.traffic(trials), views.answers(trials))


def series(before: Trials, now: Trials, *, every: bool = False) -> Iterator[Series]:
    """Everything of a case's trials that can be compared and is not always the same; with `every` also what is."""
    calls = every or len({*before.calls, *now.calls}) > 1
    if calls:
        yield from _single("tools", "tool calls", _NAMES, before.calls, now.calls, every)
    if every or len({*before.traffic, *now.traffic}) > 1:
        yield from _single("hosts", "hosts", _HOSTS, before.traffic, now.traffic, every)
        yield from _single("writes", "writes", _WRITES, before.traffic, now.traffic, every)
    yield from _single("answer", "answer", _ANSWER, before.answers, now.answers, every)
    if calls:
        yield from _arguments(before.calls, now.calls, every)


def side(values: Sequence[Hashable], show: Callable[[Any], str]) -> str:
    """What most trials did, and how many: `lookup → refund (18 of 20)`."""
    value, count = Counter(values).most_common(1)[0]
    return f"{show(value)} ({count} of {len(values)})"


def shorten(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else f"{text[: _SHOWN_CHARS - 1]}…"


def _single(
    aspect: Aspect, what: str, how: _How, before: Sequence[Any], now: Sequence[Any], every: bool
) -> Iterator[Series]:
    value, distances_of, show = how
    if value is not None:
        before, now = [value(view) for view in before], [value(view) for view in now]
    if every or len({*before, *now}) > 1:
        yield Series(aspect, what, tuple(before), tuple(now), distances_of, show)


def _arguments(before: Sequence[Calls], now: Sequence[Calls], every: bool) -> Iterator[Series]:
    """The values at each path of each tool's arguments, in the order of the calls; only trials that call the tool are
    compared, since whether it is called is another question."""
    sides = [[view.arguments for view in views] for views in (before, now)]
    for tool in dict.fromkeys([name for trials in sides for trial in trials for name in trial]):
        old, new = ([trial[tool] for trial in trials if tool in trial] for trials in sides)
        if old and new and (every or len({*old, *new}) > 1):
            yield from _paths(tool, old, new, every)


def _paths(
    tool: str, before: Sequence[tuple[Leaves, ...]], now: Sequence[tuple[Leaves, ...]], every: bool
) -> Iterator[Series]:
    kinds = {calls: _by_path(calls) for calls in dict.fromkeys([*before, *now])}
    for path in dict.fromkeys([path for kind in kinds.values() for path in kind]):
        if every or len({kind.get(path, ()) for kind in kinds.values()}) > 1:
            old, new = (tuple([kinds[calls].get(path, ()) for calls in trials]) for trials in (before, now))
            yield Series("arguments", f"{tool} {path}", old, new, _by_edits, _LIST)


def _by_path(calls: tuple[Leaves, ...]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for leaves in calls:
        for path, value in leaves.items:
            found[path] = (*found[path], value) if path in found else (value,)
    return found


def _show_sequence(between: str) -> Callable[[Sequence[str]], str]:
    return lambda items: shorten(between.join(items)) or "none"


def _show_set(items: frozenset[str]) -> str:
    return shorten(", ".join(sorted(items))) or "none"


def _show_answer(words: tuple[int, ...]) -> str:
    return repr(shorten(" ".join(map(normal.word, words)))) if words else "none"


def _by_edits(kinds: Sequence[Any]) -> Sequence[float]:
    if len(kinds) == 2 or max(map(len, kinds)) <= 1:
        # Of two kinds nothing but that they differ matters (`permutation.larger_between_kinds`).
        return [1.0] * (len(kinds) * (len(kinds) - 1) // 2)
    return [distances.edit(one, other) for one, other in combinations(kinds, 2)]


def _by_members(kinds: Sequence[frozenset[Any]]) -> Sequence[float]:
    return [distances.jaccard(one, other) for one, other in combinations(kinds, 2)]


_How = tuple[Callable[[Any], Hashable] | None, Distances, Callable[[Any], str]]
_LIST = _show_sequence(", ")
_NAMES: _How = (attrgetter("names"), _by_edits, _show_sequence(" → "))
_HOSTS: _How = (attrgetter("hosts"), _by_members, _show_set)
_WRITES: _How = (attrgetter("writes"), _by_edits, _LIST)
_ANSWER: _How = (None, distances.shingle_jaccards, _show_answer)
