"""From what the agent's driver and the gateway recorded to the trace of the trial. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from aegis.trace import mcp_http, prices, toolcalls
from aegis.trace.exchange import Exchange
from aegis.trace.faults import FaultReport
from aegis.trace.message import FetchBlob
from aegis.trace.model import Trace
from aegis.trace.observe import observe
from aegis.trace.usage import add_up


def build_trace(
    driver_trace: Trace,
    exchanges: Sequence[Exchange],
    fetch_blob: FetchBlob,
    *,
    at: datetime | None = None,
    faults: Sequence[FaultReport] = (),
) -> Trace:
    """The driver's trace with everything that the exchanges tell: model calls, merged tool calls, totals.

    `fetch_blob` gives the bytes of bodies that are stored apart; it is asked only for those that can matter, and what
    it raises comes out of here. `at` is when the trial ran, for prices that changed (default: now). `faults` are what
    the trial's fault rules came to. Nothing else is
    raised, whatever the exchanges hold.
    """
    # Recorders tell of an exchange when it has ended; its id tells when it began.
    exchanges = sorted(exchanges, key=lambda exchange: exchange.id)
    observed = observe(exchanges, fetch_blob, at)
    models = {seen.call.exchange for seen in observed}
    rest = [exchange for exchange in exchanges if exchange.id not in models]
    mcp_calls, mcp_ids = mcp_http.tool_calls(rest, fetch_blob)
    others = [exchange for exchange in rest if exchange.id not in mcp_ids]
    turn_ends_s = [ended_s for _, ended_s in driver_trace.turn_times_s]
    tool_calls = toolcalls.merge(driver_trace.tool_calls, observed, mcp_calls, others, turn_ends_s)
    calls = tuple(seen.call for seen in observed)
    return replace(
        driver_trace,
        tool_calls=tool_calls,
        recorded=True,
        exchanges=tuple(exchanges),
        model_calls=calls,
        faults=tuple(faults),
        usage=add_up(calls, len(tool_calls), prices.source() if calls else None),
    )
