"""The tool calls of a trial, each once, whichever way it was seen: reported by the agent, asked for by a model, run by
an MCP server."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from aegis.trace.drafts import Draft, asked_for
from aegis.trace.exchange import Exchange
from aegis.trace.mcp_http import McpToolCall
from aegis.trace.model import ToolCall
from aegis.trace.observe import ObservedCall

_PREFIX_END = re.compile(r"[^A-Za-z0-9]$")


def merge(
    reported: Sequence[ToolCall],
    observed: Sequence[ObservedCall],
    mcp: Sequence[McpToolCall],
    others: Sequence[Exchange],
    turn_ends_s: Sequence[float],
) -> tuple[ToolCall, ...]:
    """All tool calls in order. `others` are the exchanges with hosts that are no model's; `turn_ends_s` says when
    each turn was over."""
    drafts = asked_for(observed)
    _add_mcp(drafts, mcp)
    drafts.sort(key=lambda draft: draft.started_s or 0.0)
    for draft in drafts:
        draft.turn = sum(end < (draft.started_s or 0.0) for end in turn_ends_s[:-1])
    matched = _match_reported(reported, drafts)
    kept = [draft for draft in drafts if not draft.doubtful]
    _attach(kept, others)
    calls = [(draft, draft.tool_call()) for draft in kept]
    return _in_order(reported, matched, calls)


def _add_mcp(drafts: list[Draft], calls: Sequence[McpToolCall]) -> None:
    """Recognise the MCP calls among what the models asked for; add those that no model asked for."""
    free = [draft for draft in drafts if draft.seen == ["model"]]
    for call in calls:
        found = next((draft for draft in free if _is_same(draft, call)), None)
        if found is None:
            found = Draft(call.name, call.arguments, [], started_s=call.started_s, from_s=float("inf"))
            drafts.append(found)
        else:
            free.remove(found)
        found.seen.append("mcp")
        found.exchanges.append(call.exchange)
        found.doubtful = False
        if found.answered_in is None:
            found.result, found.ended_s = call.result, call.ended_s
        found.is_error = found.is_error or call.is_error


def _is_same(draft: Draft, call: McpToolCall) -> bool:
    in_time = draft.from_s <= call.started_s <= draft.until_s
    return (
        in_time
        and _same_name(draft.name, call.name)
        and _canonical(draft.arguments) == _canonical(call.arguments)
    )


def _same_name(shown: str, name: str) -> bool:
    """Agents show models the tools of MCP servers with the server's name in front: `crm__lookup`, `crm.lookup`."""
    if shown == name:
        return True
    return bool(name) and shown.endswith(name) and _PREFIX_END.search(shown[: -len(name)]) is not None


def _match_reported(reported: Sequence[ToolCall], drafts: Sequence[Draft]) -> dict[int, Draft]:
    """Index in `reported` → the draft that it is another sight of. The model's ids match first, whatever the agent
    calls the tool (ACP has kinds and titles, no names); then, of calls with the same name, equal arguments, then
    arguments of which one side says more (defaults filled in, or none reported), each in order."""
    matched: dict[int, Draft] = {}
    free = list(drafts)
    for alike in (_same_id, _equal_arguments, _like_arguments):
        for index, call in enumerate(reported):
            if index in matched:
                continue
            found = next((draft for draft in free if alike(draft, call)), None)
            if found is not None:
                matched[index] = found
                free.remove(found)
    for index, draft in matched.items():
        call = reported[index]
        draft.seen.insert(0, "agent")
        draft.turn, draft.doubtful = call.turn, False
        draft.permission = call.permission
        if draft.result is None:
            draft.result = call.result
    return matched


def _same_id(draft: Draft, call: ToolCall) -> bool:
    return bool(call.id) and draft.id == call.id


def _equal_arguments(draft: Draft, call: ToolCall) -> bool:
    same = _canonical(draft.arguments) == _canonical(call.arguments)
    return _same_name(draft.name, call.name) and bool(same)


def _like_arguments(draft: Draft, call: ToolCall) -> bool:
    if not _same_name(draft.name, call.name):
        return False
    ours, theirs = _canonical(draft.arguments), _canonical(call.arguments)
    if ours is None or theirs is None:
        return True
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return (
            ours.items() <= theirs.items() or theirs.items() <= ours.items()
            if _plain(ours, theirs)
            else False
        )
    return False


def _plain(*values: dict[Any, Any]) -> bool:
    """Whether the values can be compared as sets."""
    return all(isinstance(item, str | int | float | None) for value in values for item in value.values())


def _canonical(arguments: Any) -> Any:
    """No arguments are no arguments, however they are written."""
    return None if arguments in ({}, "", None) else arguments


def _attach(drafts: Sequence[Draft], others: Sequence[Exchange]) -> None:
    """Give each exchange to the calls that may have made it. Of several calls at the same time, those whose
    arguments appear in the request made it; if none do, any may have."""
    for exchange in others:
        able = [draft for draft in drafts if draft.from_s <= exchange.started_s < draft.until_s]
        if len(able) > 1:
            newest = max(draft.from_s for draft in able)
            able = [draft for draft in able if draft.from_s == newest]
            able = [draft for draft in able if _mentions(exchange, draft.arguments)] or able
        for draft in able:
            draft.exchanges.append(exchange.id)


def _mentions(exchange: Exchange, arguments: Any) -> bool:
    body = exchange.request_body
    text = f"{exchange.path}\n{(body.text if body else None) or ''}"
    values = arguments.values() if isinstance(arguments, dict) else [arguments]
    words = [str(value) for value in values if isinstance(value, str | int) and not isinstance(value, bool)]
    return any(len(word) > 1 and word in text for word in words)


def _in_order(
    reported: Sequence[ToolCall], matched: dict[int, Draft], calls: Sequence[tuple[Draft, ToolCall]]
) -> tuple[ToolCall, ...]:
    """The observed calls by time; one that only the agent reported stands after the one it reported before."""
    places = {id(draft): place for place, (draft, _) in enumerate(calls)}
    after: dict[int, list[ToolCall]] = {}
    anchor = -1
    for index, call in enumerate(reported):
        if index in matched:
            anchor = max(anchor, places[id(matched[index])])
            continue
        # No later than the observed calls of the turns after its own.
        earlier = [place for place, (_, seen) in enumerate(calls) if seen.turn < call.turn]
        anchor = max(anchor, *earlier) if earlier else anchor
        after.setdefault(anchor, []).append(call)
    merged = list(after.get(-1, ()))
    for place, (_, seen) in enumerate(calls):
        merged += [seen, *after.get(place, ())]
    return tuple(merged)
