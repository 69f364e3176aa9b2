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
    hits: tuple[int, ...] = ()
    """Numbers of the matches that it hit, from 1; the first 1,000."""
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

    def document(self) -> dict[str, Any]:
        """As the run document tells it."""
        notes = self.notes if self.fired else (not_fired(self), *self.notes)
        return {
            "id": self.id,
            "kind": self.kind,
            "fired": self.fired > 0,
            "hits": self.fired,
            "note": "; ".join(notes),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> FaultReport:
        """The inverse of `to_json`."""
        return cls(**{**data, "notes": tuple(data.get("notes", ())), "hits": tuple(data.get("hits", ()))})


def not_fired(fault: FaultReport) -> str:
    """Why a fault hit nothing, in words."""
    where = fault.where or "everything"
    if fault.displaced:
        return f"another fault took {'it' if fault.displaced == 1 else f'all {fault.displaced}'}: {where}"
    if fault.matched:
        times = "once" if fault.matched == 1 else f"{fault.matched} times"
        return f"{where} was seen {times}, never at a match that the rule picks"
    return f"nothing matched {where}"
