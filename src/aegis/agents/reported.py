"""How many tool calls one conversation may report, whatever the protocol."""

from __future__ import annotations

from aegis.agents.base import MAX_ANSWER_BYTES
from aegis.agents.record import AgentFault
from aegis.suite.units import format_size

MAX_TOOL_CALLS = 10_000
"""Reported tool calls of one conversation; what is kept of them together is bounded by `MAX_ANSWER_BYTES`."""


class Allowance:
    """Counts what is kept of reported tool calls."""

    def __init__(self) -> None:
        self._calls = 0
        self._bytes = 0

    def spend(self, size_bytes: int, *, calls: int = 1) -> None:
        """So much more is kept, or less. Raises `AgentFault` when it is too much."""
        self._calls += calls
        self._bytes += size_bytes
        if self._calls > MAX_TOOL_CALLS:
            raise AgentFault(f"agent reported more than {MAX_TOOL_CALLS} tool calls", quote_stderr=False)
        if self._bytes > MAX_ANSWER_BYTES:
            size = format_size(MAX_ANSWER_BYTES)
            raise AgentFault(f"agent reported more than {size} of tool calls", quote_stderr=False)
