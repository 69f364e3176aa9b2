"""The key `stress`, as far as the suite's room knows it: its shape here, its rules with whoever knows transforms."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from aegis.suite.kinds import BAD, Schema
from aegis.suite.model import StressRule
from aegis.suite.problems import Path, Problems
from aegis.suite.units import describe

NONE = "none"
"""In a case: it runs as written only."""

EXPECTED = (
    "the name of a transform or of a set such as production, "
    "or a list such as [{transform: bloated-tools, levels: [8k]}]"
)


class ReadStress(Protocol):
    """From a value of the key `stress` to rules: the transforms' own room, which is out of reach here."""

    def __call__(self, value: Any, path: Path, problems: Problems) -> tuple[StressRule, ...] | None:
        """None for `none`. What is wrong is added to the problems."""


@dataclass(frozen=True, slots=True)
class Stress:
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


def combined(own: tuple[StressRule, ...] | None, shared: tuple[StressRule, ...]) -> tuple[StressRule, ...]:
    """A case's own rules, then the shared ones of transforms that it does not name; None: it wants none."""
    if own is None:
        return ()
    named = {rule.transform for rule in own}
    return (*own, *(rule for rule in shared if rule.transform not in named))
