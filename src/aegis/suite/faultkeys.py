"""The key `faults`, as far as the suite's room knows it: its shape here, its rules with whoever knows the faults."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any, Protocol

from aegis.suite.kinds import BAD, Schema
from aegis.suite.model import FaultRule
from aegis.suite.problems import Path, Problems
from aegis.suite.units import describe

NONE = "none"
"""In a case: no faults but none at all, also not those of the suite."""

_ALONE = frozenset({"token-expired"})
"""Faults of which a trial has one at most: a case's own one stands in place of a shared one. Two would each wait for a
token that only the other is told."""

EXPECTED = "the name of a profile such as flaky-production, or a list such as [{inject: rate-limit, on: 1}]"


@dataclass(frozen=True, slots=True)
class Reach:
    """What the suite's trials can talk to, and with which secrets."""

    entries: tuple[str, ...] = ()
    """Of `network.allow` and `network.routes`, in normal form."""
    complete: bool = True
    """Whether all of them could be read: only then can something be called out of reach."""
    secrets: frozenset[str] = frozenset()


class ReadFaults(Protocol):
    """From a value of the key `faults` to rules: the faults' own room, which is out of reach here."""

    def __call__(
        self, value: Any, path: Path, problems: Problems, *, reach: Reach, folder: FilePath
    ) -> tuple[FaultRule, ...] | None:
        """None for `none`. What is wrong is added to the problems. `folder` is where the user's own profiles lie."""


@dataclass(frozen=True, slots=True)
class Faults:
    """Text or a list, as it stands. `entry` describes an element of the list, for editors only."""

    entry: Schema = field(default_factory=dict)

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if isinstance(value, str | list):
            return value
        problems.wrong(path, f"expected {EXPECTED}, got {describe(value)}")
        return BAD

    def schema(self) -> Schema:
        name: Schema = {"type": "string", "minLength": 1}
        return {
            "anyOf": [name, {"type": "array", "items": {"anyOf": [name, self.entry or {"type": "object"}]}}]
        }


def combined(own: tuple[FaultRule, ...] | None, shared: tuple[FaultRule, ...]) -> tuple[FaultRule, ...]:
    """A case's own rules, then the shared ones, with ids that are all different; None: it wants none at all. Of
    `token-expired` the case's own is the only one."""
    if own is None:
        return ()
    taken = {rule.id for rule in own}
    kinds = {rule.inject for rule in own}
    found = list(own)
    for rule in shared:
        if rule.inject in _ALONE and rule.inject in kinds:
            continue
        name, number = rule.id, 1
        while name in taken:
            number += 1
            name = f"{rule.id}-{number}"
        taken.add(name)
        found.append(rule.model_copy(update={"id": name}))
    return tuple(found)
