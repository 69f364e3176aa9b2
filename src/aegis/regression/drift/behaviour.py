"""What one trial did, reduced to what is compared. Whoever has traces fills it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from aegis.regression.trials import CaseKey

WRITE_METHODS = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class ToolUse(NamedTuple):
    name: str
    arguments: Any = None
    """As JSON."""
    writes: bool | None = None
    """Whether it changed something outside; None when that isn't known."""


class Request(NamedTuple):
    """A request that left the sandbox, refused ones included."""

    host: str
    method: str = ""
    """"" for connections without HTTP."""
    path: str = ""
    """The query may stand in it; it isn't looked at."""
    to_model: bool = False
    """Whether the host is a model provider's: its POST requests write nothing."""

    @property
    def writes(self) -> bool:
        return not self.to_model and self.method.upper() in WRITE_METHODS


class Behaviour(NamedTuple):
    """One judged trial. What wasn't measured is None, and is not compared."""

    tools: tuple[ToolUse, ...] = ()
    """In the order in which they were asked for."""
    requests: tuple[Request, ...] = ()
    answer: str = ""
    tokens: int | None = None
    cost_usd: float | None = None
    latency_s: float | None = None
    """The agent's own time, without what it was made to wait."""
    rules: Mapping[str, bool] = {}
    """Resilience rule → whether it was kept; without those that had nothing to judge."""


CaseBehaviours = Mapping[CaseKey, Sequence[Behaviour]]
