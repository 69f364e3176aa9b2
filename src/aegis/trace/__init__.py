"""What happened in a trial. Values and pure functions; only `otlp_http.send` does I/O.

Public names: `Trace`, `TurnRecord`, `ToolCall` (model.py), `Exchange`, `Body` (exchange.py), `ModelCall`,
`ToolRequest`, `ToolResult` (calls.py), `Usage` (usage.py), and `build_trace` (build.py, loaded on first use).
Further modules: the wire formats (formats/, mcp_http.py), `har`, `otel` and `otlp_http` for export, `timeline`
for reading.
"""

from typing import TYPE_CHECKING, Any

from aegis.trace.calls import ModelCall, ToolRequest, ToolResult
from aegis.trace.exchange import Body, Exchange
from aegis.trace.model import ToolCall, Trace, TurnRecord
from aegis.trace.usage import Usage

if TYPE_CHECKING:
    from aegis.trace.build import build_trace

__all__ = [
    "Body",
    "Exchange",
    "ModelCall",
    "ToolCall",
    "ToolRequest",
    "ToolResult",
    "Trace",
    "TurnRecord",
    "Usage",
    "build_trace",
]


def __getattr__(name: str) -> Any:
    if name == "build_trace":
        from aegis.trace.build import build_trace

        return build_trace
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
