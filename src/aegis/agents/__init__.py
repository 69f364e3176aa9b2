"""Drivers: how turns reach an agent and its answers come back. One protocol in one file.

Public names: `get`, `protocols`; the contract stands in `aegis.agents.base`, the protocols in docs/agents.md.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from aegis.errors import UsageError

if TYPE_CHECKING:
    from aegis.agents.base import AgentDriver

__all__ = ["get", "protocols"]

_DRIVERS = {
    "text": "aegis.agents.text",
    "jsonl": "aegis.agents.jsonl",
    "python": "aegis.agents.python",
    "chat": "aegis.agents.chat",
    "acp": "aegis.agents.acp",
}
"""Protocol → module whose `driver` speaks it."""


def protocols() -> list[str]:
    """The names that `agent.protocol` may have, in the documentation's order."""
    return list(_DRIVERS)


def get(protocol: str) -> AgentDriver:
    """The driver of a protocol. Raises `UsageError` for a name that isn't one of `protocols()`."""
    module = _DRIVERS.get(protocol)
    if module is None:
        raise UsageError(
            f"unknown agent protocol {protocol!r}", fix=f"Use one of: {', '.join(_DRIVERS)} (docs/agents.md)."
        )
    driver: AgentDriver = importlib.import_module(module).driver
    return driver
