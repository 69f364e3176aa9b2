"""Faults that may find nothing to act on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from aegis.faults.base import Fault, Hit
from aegis.gateway.base import Framing, ResponsePlan

NO_BODY = "the response has no body"
NO_SUCCESS = "the response is no success"
NO_JSON = "the response is not JSON"
A_STREAM = "the response is an event stream"
NOT_TAKEN_APART = "the response is longer than 8 MiB, or its content coding cannot be undone"


class Selective(Fault):
    """A fault that lets an exchange pass when it finds nothing to act on. The hit does not count then, and the report
    says why."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__(params)
        self._told: Counter[str] = Counter()

    def pass_on(self, hit: Hit, why: str) -> None:
        """This hit changes nothing, for `why`: plain words."""
        hit.spare()
        self.tell(f"passed unchanged: {why}")

    def tell(self, text: str) -> None:
        """A note for the report; the same one again is counted."""
        self._told[text] += 1

    def notes(self) -> tuple[str, ...]:
        return tuple(text if count == 1 else f"{text} ({count} times)" for text, count in self._told.items())


def lacks_body(plan: ResponsePlan) -> bool:
    """HEAD, 204, 304, 101."""
    return plan.framing is Framing.NONE
