"""What happened in a trial. Values only: nothing here does I/O.

Public names: `Trace`, `TurnRecord`, `ToolCall`.
"""

from aegis.trace.model import ToolCall, Trace, TurnRecord

__all__ = ["ToolCall", "Trace", "TurnRecord"]
