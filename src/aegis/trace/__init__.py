"""What happened in a trial. Values only: nothing here does I/O.

Public names: `Body`, `Exchange`, `Trace`, `TurnRecord`, `ToolCall`.
"""

from aegis.trace.exchange import Body, Exchange
from aegis.trace.model import ToolCall, Trace, TurnRecord

__all__ = ["Body", "Exchange", "ToolCall", "Trace", "TurnRecord"]
