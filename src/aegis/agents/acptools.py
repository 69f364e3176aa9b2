"""Tool calls as an agent reports them in the Agent Client Protocol: begun in one message, changed by later ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from acp import schema

from aegis.agents.record import Record
from aegis.agents.reported import Allowance
from aegis.trace import ToolCall


@dataclass(slots=True)
class _Call:
    index: int
    turn: int
    title: str = ""
    kind: str = ""
    raw_input: Any = None
    places: tuple[str, ...] = ()
    raw_output: Any = None
    content: Any = None
    failed: bool = False
    permission: str = ""
    sizes_bytes: dict[str, int] = field(default_factory=lambda: {"asked": 0, "told": 0})


class ReportedTools:
    """Keeps the record's tool calls as the last message about each of them says."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._calls: dict[str, _Call] = {}
        self._allowance = Allowance()

    def update(
        self, message: schema.ToolCall | schema.ToolCallUpdate, size_bytes: int, *, permission: str = ""
    ) -> None:
        """One message about one call, the first one or not. `permission`: how a question about it was answered. Raises
        `AgentFault` when it is too much to keep."""
        call = self._calls.get(message.tool_call_id)
        is_new = call is None
        if call is None:
            call = _Call(len(self._record.tool_calls), len(self._record.turns))
        self._pay(call, message, size_bytes, is_new)
        _apply(call, message)
        call.permission = permission or call.permission
        self._record.report(_tool_call(call, message.tool_call_id), None if is_new else call.index)
        self._calls[message.tool_call_id] = call

    def _pay(
        self, call: _Call, message: schema.ToolCall | schema.ToolCallUpdate, size_bytes: int, is_new: bool
    ) -> None:
        """A message replaces what an earlier one said of the same: what counts is what is kept."""
        told = message.content is not None or message.raw_output is not None
        part = "told" if told and not is_new else "asked"
        if not told and not is_new and message.raw_input is None and message.locations is None:
            size_bytes = max(size_bytes, call.sizes_bytes[part])  # a title or a status
        self._allowance.spend(size_bytes - call.sizes_bytes[part], calls=int(is_new))
        call.sizes_bytes[part] = size_bytes


def _apply(call: _Call, message: schema.ToolCall | schema.ToolCallUpdate) -> None:
    if message.title:
        call.title = message.title
    if message.kind:
        call.kind = message.kind
    if message.raw_input is not None:
        call.raw_input = message.raw_input
    if message.locations is not None:
        call.places = tuple(place.path for place in message.locations)
    if message.raw_output is not None:
        call.raw_output = message.raw_output
    if message.content is not None:
        call.content = [_plain(item) for item in message.content]
    if message.status:
        call.failed = message.status == "failed"


def _tool_call(call: _Call, id_: str) -> ToolCall:
    """Named by its kind (`edit`, `execute`), which a suite can rely on; titles are words for people."""
    name = call.kind if call.kind not in ("", "other") else call.title
    arguments = call.raw_input
    if arguments is None and call.places:
        arguments = {"locations": list(call.places)}
    result = call.raw_output if call.raw_output is not None else call.content
    return ToolCall(
        name or "other",
        arguments,
        result,
        turn=call.turn,
        id=id_,
        is_error=call.failed,
        permission=call.permission,
    )


def _plain(item: Any) -> Any:
    """Text as text; anything else as the protocol has it."""
    if isinstance(item, schema.ContentToolCallContent) and isinstance(item.content, schema.TextContentBlock):
        return item.content.text
    return item.model_dump(mode="json", by_alias=True, exclude_none=True)
