"""Which questions to the name server are one lookup of the workload's. Pure.

Programs look names up; resolvers ask. For one lookup a resolver asks for A and for AAAA, and asks again, with the same
number, what was not answered or was answered by a failure (glibc, musl, c-ares). So a question belongs to the lookup
that has had this very question, or else to the name's last one if that has not had one of its kind and is young. Any
other question begins a new lookup.
"""

from __future__ import annotations

from collections import OrderedDict

from .names import Question

TOGETHER_S = 5.0
"""How long after a lookup's first question one of another kind still belongs to it."""
KEPT_S = 60.0
"""How long a question may be repeated: longer than resolvers try."""
MAX_KEPT = 1024
MAX_WAITING = 16

Sender = tuple[str, int]


class Lookup:
    """One lookup: the host's answer, as soon as it is there, and whom to give it."""

    def __init__(self, name: str, begun_s: float) -> None:
        self.name = name
        self.begun_s = begun_s
        self.questions: set[tuple[int, int]] = set()
        self.answer: bytes | None = None
        self.waiting: list[tuple[bytes, Sender]] = []

    def wait(self, query: bytes, sender: Sender) -> None:
        """A question that waits for the host. One too many is dropped: a resolver asks again."""
        if len(self.waiting) < MAX_WAITING and (query, sender) not in self.waiting:
            self.waiting.append((query, sender))


class Lookups:
    def __init__(self) -> None:
        self._kept: OrderedDict[int, Lookup] = OrderedDict()
        self._latest: dict[str, Lookup] = {}
        self._number = 0

    def of(self, question: Question, now_s: float) -> tuple[Lookup, bool]:
        """The lookup that a question belongs to, and whether it is new."""
        name, kind, ident = question
        self._forget(now_s)
        for lookup in reversed(self._kept.values()):
            if lookup.name == name and (kind, ident) in lookup.questions:
                return lookup, False
        latest = self._latest.get(name)
        young = latest is not None and now_s - latest.begun_s <= TOGETHER_S
        if latest is not None and young and all(kind != other for other, _ in latest.questions):
            latest.questions.add((kind, ident))
            return latest, False
        return self._begin(question, now_s), True

    def drop(self, lookup: Lookup) -> None:
        """The host could not be asked: as if it had not begun."""
        lookup.questions.clear()
        if self._latest.get(lookup.name) is lookup:
            del self._latest[lookup.name]

    def clear(self) -> None:
        self._kept.clear()
        self._latest.clear()

    def _begin(self, question: Question, now_s: float) -> Lookup:
        lookup = Lookup(question.name, now_s)
        lookup.questions.add((question.kind, question.ident))
        self._number += 1
        self._kept[self._number] = self._latest[question.name] = lookup
        return lookup

    def _forget(self, now_s: float) -> None:
        while self._kept:
            number, oldest = next(iter(self._kept.items()))
            if len(self._kept) < MAX_KEPT and now_s - oldest.begun_s <= KEPT_S:
                return
            del self._kept[number]
            if self._latest.get(oldest.name) is oldest:
                del self._latest[oldest.name]
