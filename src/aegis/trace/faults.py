"""What the faults of a trial came to, as a value."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class FaultReport:
    """One fault rule of a trial, and what came of it. `Exchange.faults` holds the ids of those that hit it."""

    id: str
    """Unique in the trial: `rate-limit`, `token-expired-2`."""
    kind: str
    """The fault's name: `rate-limit`."""
    where: str = ""
    """What it applies to, in words: `GET crm.example/orders/*`."""
    matched: int = 0
    """Exchanges (or connections) that the rule's match covered."""
    fired: int = 0
    """Exchanges (or connections) that it hit."""
    displaced: int = 0
    """Exchanges that it would have hit if another fault had not taken them."""
    permanent: bool = False
    """Whether nothing in the rule lets it ever end: what it hides can't be had by trying again."""
    require_fired: bool = False
    notes: tuple[str, ...] = ()
    """Plain words on what else happened to it: early retries that were refused, a refresh that never came."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """Its parameters with every default filled in; durations in seconds, sizes in bytes."""

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> FaultReport:
        """The inverse of `to_json`."""
        return cls(**{**data, "notes": tuple(data.get("notes", ()))})
