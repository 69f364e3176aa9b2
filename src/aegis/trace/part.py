"""A trace cut to some of its turns, for whoever judges these alone. Pure."""

from __future__ import annotations

from dataclasses import replace

from aegis.trace.model import Trace
from aegis.trace.usage import add_up


def part(trace: Trace, first: int, last: int) -> Trace:
    """Turns `first` to `last` (from 0, both included), with the tool calls, exchanges and model calls of these turns.

    A call belongs to the turn that the trace says. An exchange belongs to the first turn that ended after it began; the
    last turn of all has what came later too. Times stay those of the trial, except that `duration_s` is that of the
    turns together; `waited_s` is not known of a part, and 0. What is known of the whole agent only (its output, its
    exit, what faults came to) stays as it is.
    """
    ends_s = [ended_s for _, ended_s in trace.turn_times_s][:-1]
    final = len(trace.turns) - 1

    def inside(turn: int) -> bool:
        return first <= min(turn, final) <= last

    turns = trace.turns[first : last + 1]
    exchanges = tuple(item for item in trace.exchanges if inside(sum(end < item.started_s for end in ends_s)))
    ids = {item.id for item in exchanges}
    calls = tuple(call for call in trace.model_calls if call.exchange in ids)
    tools = tuple(replace(tool, turn=tool.turn - first) for tool in trace.tool_calls if inside(tool.turn))
    usage = None if trace.usage is None else add_up(calls, len(tools), trace.usage.prices if calls else None)
    return replace(
        trace,
        turns=turns,
        tool_calls=tools,
        exchanges=exchanges,
        model_calls=calls,
        usage=usage,
        duration_s=sum(turn.duration_s for turn in turns),
        waited_s=0.0,
    )
