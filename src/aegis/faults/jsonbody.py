"""What a response says in JSON, changed on its way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from aegis.faults import added, events, mcp
from aegis.faults.answers import read_whole, to_json, with_body
from aegis.faults.base import Seen
from aegis.faults.selective import A_STREAM, NO_BODY, NO_JSON, NO_SUCCESS, NOT_TAKEN_APART, lacks_body
from aegis.gateway.base import ResponsePlan
from aegis.trace import lenient

NOTHING_FOUND = "nothing that it changes is in the response"
_NO_RESULT = "the response holds no result of the tool call"

PassOn = Callable[[str], None]


async def change_json(
    plan: ResponsePlan, seen: Seen, change: mcp.Change, pass_on: PassOn, *, nothing: str = NOTHING_FOUND
) -> ResponsePlan:
    """The response with its JSON changed in place by `change`. Of a tool call of MCP this is what the tool returned,
    and not the message around it; it may come as JSON or as an event stream, which flows on meanwhile.

    When there is nothing to change the response is as it was, and `pass_on` is told why; `nothing` is what it is told
    when `change` says so. `change` can tell what a rewrite has added (`aegis.faults.added`).
    """
    change = added.looking_past(plan.added, change)
    call = mcp.call_of(seen)
    if lacks_body(plan):
        why: str | None = NO_BODY
    elif not 200 <= plan.status < 300:
        why = NO_SUCCESS
    elif events.is_stream(plan):
        if call is not None and events.open_stream(plan):
            plan.body = _changed_events(plan.body, call, change, pass_on, nothing)
            return plan
        why = A_STREAM
    else:
        why = await _change_whole(plan, call, change, nothing)
    if why is not None:
        pass_on(why)
    return plan


async def _change_whole(
    plan: ResponsePlan, call: mcp.ToolCall | None, change: mcp.Change, nothing: str
) -> str | None:
    """Why nothing was changed, None when something was."""
    body = await read_whole(plan)
    if body is None:
        return NOT_TAKEN_APART
    value = lenient.bounded(lenient.parse(body))
    if not isinstance(value, dict | list):
        return NO_JSON
    if call is None:
        changed = change(value)
    elif (message := mcp.answer_in(call, value)) is not None:
        changed = mcp.change_result(message, change)
    else:
        return _NO_RESULT
    if changed:
        with_body(plan, to_json(value))
    return None if changed else nothing


async def _changed_events(
    body: AsyncIterator[bytes], call: mcp.ToolCall, change: mcp.Change, pass_on: PassOn, nothing: str
) -> AsyncIterator[bytes]:
    why: str | None = _NO_RESULT
    async for block, event in events.blocks(body):
        value = None if event is None or why is not _NO_RESULT else lenient.bounded(lenient.parse(event.data))
        message = mcp.answer_in(call, value)
        if message is None:
            yield block
            continue
        changed = mcp.change_result(message, change)
        why = None if changed else nothing
        yield events.with_data(block, to_json(value)) if changed else block
    if why is not None:
        pass_on(why)
