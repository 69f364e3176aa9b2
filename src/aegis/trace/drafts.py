"""Tool calls as models were seen to ask for them, with the results that the models were told."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aegis.trace.calls import ToolRequest, ToolResult
from aegis.trace.model import ToolCall
from aegis.trace.observe import ObservedCall


@dataclass(slots=True)
class Draft:
    """A tool call on its way to a `ToolCall`. The fields are those of `ToolCall`."""

    name: str
    arguments: Any
    seen: list[str]
    result: Any = None
    turn: int = 0
    id: str = ""
    is_error: bool = False
    permission: str = ""
    asked_in: int | None = None
    answered_in: int | None = None
    exchanges: list[int] = field(default_factory=list)
    started_s: float | None = None
    ended_s: float | None = None
    from_s: float = 0.0
    """From when on the agent may have run it."""
    until_s: float = float("inf")
    """When it had run, or the next model call began."""
    doubtful: bool = False
    """Asked for in an answer that broke off: counts only when something shows that it was run."""

    def tool_call(self) -> ToolCall:
        return ToolCall(
            name=self.name,
            arguments=self.arguments,
            result=self.result,
            turn=self.turn,
            seen=tuple(self.seen),
            id=self.id,
            is_error=self.is_error,
            permission=self.permission,
            asked_in=self.asked_in,
            answered_in=self.answered_in,
            exchanges=tuple(sorted(self.exchanges)),
            started_s=self.started_s,
            ended_s=self.ended_s,
        )


def asked_for(observed: Sequence[ObservedCall]) -> list[Draft]:
    """One draft for each tool call that a model asked for, in the order of asking."""
    told = [_by_key(seen.results) for seen in observed]
    asked: Counter[str] = Counter()
    drafts: list[Draft] = []
    for index, seen in enumerate(observed):
        for request in seen.call.tool_requests:
            draft = _draft(seen, request)
            drafts.append(draft)
            if request.by_provider:
                continue
            key = _key(request.id, request.name)
            # Ids need not be unique: some servers number from 0 in each answer.
            if _answer(draft, key, asked[key], observed, told, index + 1):
                asked[key] += 1
    return drafts


def _draft(seen: ObservedCall, request: ToolRequest) -> Draft:
    call = seen.call
    # A streamed answer may be acted upon before its end has arrived.
    ready = call.started_s if call.streamed or call.ended_s is None else call.ended_s
    draft = Draft(request.name, request.arguments, ["model"], id=request.id, asked_in=call.exchange)
    draft.started_s = call.ended_s if call.ended_s is not None else call.started_s
    draft.from_s, draft.doubtful = ready, call.incomplete
    if request.by_provider:
        draft.seen, draft.result = ["provider"], request.result
        draft.ended_s, draft.from_s, draft.doubtful = draft.started_s, float("inf"), False
    return draft


def _answer(
    draft: Draft,
    key: str,
    nth: int,
    observed: Sequence[ObservedCall],
    told: Sequence[dict[str, list[ToolResult]]],
    first: int,
) -> bool:
    """Look through the later requests for what the model was told of this call, the `nth` one with its key. False
    when it broke off and was asked for anew, with the same id: the later one is what was run then."""
    for index in range(first, len(observed)):
        results = told[index].get(key)
        if not results:
            if draft.doubtful and any(
                _key(item.id, item.name) == key for item in observed[index].call.tool_requests
            ):
                return False
            continue
        # Requests repeat the whole conversation; one that forgot its beginning has the newest ones.
        result = results[nth] if nth < len(results) else results[-1]
        call = observed[index].call
        draft.result, draft.is_error, draft.answered_in = result.content, result.is_error, call.exchange
        draft.ended_s = draft.until_s = call.started_s
        draft.doubtful = False
        return True
    if first < len(observed):
        draft.until_s = observed[first].call.started_s
    return True


def _by_key(results: Sequence[ToolResult]) -> dict[str, list[ToolResult]]:
    found: dict[str, list[ToolResult]] = defaultdict(list)
    for result in results:
        found[_key(result.id, result.name)].append(result)
    return found


def _key(id: str, name: str) -> str:
    return f"id {id}" if id else f"name {name}"
