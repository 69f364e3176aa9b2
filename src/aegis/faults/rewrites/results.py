"""What a tool has returned, changed on its way: the JSON of an HTTP response, the result of an MCP call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any

from aegis.faults import events, mcp
from aegis.faults.added import Before, Mark
from aegis.faults.answers import read_whole, with_body
from aegis.faults.base import Seen
from aegis.faults.rewrites import documents
from aegis.faults.rewrites.toollists import Room
from aegis.faults.selective import A_STREAM, NO_BODY, NO_JSON, NO_SUCCESS, NOT_TAKEN_APART, lacks_body
from aegis.gateway.base import ResponsePlan
from aegis.gateway.heads import text, without
from aegis.trace import lenient

NOTHING_FOUND = "nothing that it changes is in the response"
_NO_RESULT = "the response holds no result of the tool call"
_DIGESTS = (b"content-md5", b"digest", b"content-digest", b"repr-digest", b"x-goog-hash")
"""Headers that no longer say the truth of a changed body."""

_PAGES = ("text/html", "text/plain", "text/markdown")

PassOn = Callable[[str], None]
Change = Callable[[Any], str | None]
"""Changes a message in place; why nothing was changed, or None."""


def _no_text(text: str) -> str | None:
    return None


def _leave(told: dict[str, Any]) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Edit:
    """What is done to a result."""

    value: Callable[[Any, Room], bool]
    """Changes a mapping or a list in place; False when it found nothing to change."""
    text: Callable[[str], str | None] = _no_text
    """A tool's plain text, changed; None: as it is."""
    page: Callable[[str], str | None] = _no_text
    """A page of text or HTML that an HTTP host returned, likewise."""
    after: Callable[[dict[str, Any]], None] = _leave
    """What is still done to a tool's result (`CallToolResult`) of which something was changed."""
    nothing: str = NOTHING_FOUND
    """Why nothing was changed, when both have said so."""


async def change_results(
    plan: ResponsePlan, seen: Seen, edit: Edit, pass_on: PassOn, room: Room | None = None
) -> ResponsePlan:
    """The response with what the tool returned changed. `room`: what an MCP tool's output schema lets be added.

    When there is nothing to change the response is as it was, and `pass_on` is told why. What is answered from a
    recording was changed when it was recorded. What is added to JSON is marked (`aegis.faults.added`).
    """
    edit = replace(edit, value=_marking(edit.value, plan.added))
    call = mcp.call_of(seen)
    if call is not None:
        return await _change_message(plan, _Call(call, edit, room or Room()).change, pass_on)
    if plan.replayed:
        return plan
    why = _unfit(plan) or (A_STREAM if events.is_stream(plan) else await _change_document(plan, edit))
    if why is not None:
        pass_on(why)
    return plan


def _marking(change: Callable[[Any, Room], bool], marks: set[Mark]) -> Callable[[Any, Room], bool]:
    def changed(value: Any, room: Room) -> bool:
        before = Before(value)
        if not change(value, room):
            return False
        marks.update(before.added(value))
        return True

    return changed


async def change_listing(
    plan: ResponsePlan, seen: Seen, change: Callable[[dict[str, Any]], bool], pass_on: PassOn
) -> ResponsePlan:
    """The answer to any other MCP request, its message (with a `result`) changed in place."""
    asked = mcp.ToolCall(seen.json.get("id"), "")

    def changed(value: Any) -> str | None:
        message = mcp.answer_in(asked, value)
        if message is None:
            return _NO_RESULT
        return None if change(message) else NOTHING_FOUND

    return await _change_message(plan, changed, pass_on)


async def _change_message(plan: ResponsePlan, change: Change, pass_on: PassOn) -> ResponsePlan:
    """An answer of an MCP server, as JSON or as an event stream, which flows on meanwhile."""
    if plan.replayed:
        return plan
    why = _unfit(plan)
    if why is None and events.is_stream(plan):
        if events.open_stream(plan):
            plan.headers = without(plan.headers, *_DIGESTS)
            plan.body = _changed_events(plan.body, change, pass_on)
            return plan
        why = A_STREAM
    elif why is None:
        body = await read_whole(plan)
        value = None if body is None else documents.parse(body)
        why = NOT_TAKEN_APART if body is None else NO_JSON if value is None else change(value)
        if why is None:
            _put(plan, documents.write(value))
    if why is not None:
        pass_on(why)
    return plan


async def _change_document(plan: ResponsePlan, edit: Edit) -> str | None:
    """Why nothing was changed, None when something was."""
    body = await read_whole(plan)
    if body is None:
        return NOT_TAKEN_APART
    value = documents.parse(body)
    if value is not None:
        if not edit.value(value, Room()):
            return edit.nothing
        _put(plan, documents.write(value))
        return None
    kind = (text(plan.headers, b"content-type") or "").lower()
    if not kind.startswith(_PAGES):
        return NO_JSON
    try:
        page = edit.page(body.decode())
    except UnicodeDecodeError:
        return NOT_TAKEN_APART
    if page is None:
        return NO_JSON
    _put(plan, page.encode())
    return None


def _unfit(plan: ResponsePlan) -> str | None:
    if lacks_body(plan):
        return NO_BODY
    return NO_SUCCESS if not 200 <= plan.status < 300 or plan.status == 206 else None


def _put(plan: ResponsePlan, body: bytes) -> None:
    with_body(plan, body)
    plan.headers = without(plan.headers, *_DIGESTS)


async def _changed_events(
    body: AsyncIterator[bytes], change: Change, pass_on: PassOn
) -> AsyncIterator[bytes]:
    why: str | None = _NO_RESULT
    async for block, event in events.blocks(body):
        value = None if event is None or why != _NO_RESULT else documents.parse(event.data)
        if value is None or (told := change(value)) == _NO_RESULT:
            yield block
            continue
        why = told
        yield block if why is not None else events.with_data(block, documents.write(value))
    if why is not None:
        pass_on(why)


@dataclass(frozen=True, slots=True)
class _Call:
    """A tool call whose result is to be changed."""

    call: mcp.ToolCall
    edit: Edit
    room: Room

    def change(self, value: Any) -> str | None:
        """Why nothing was changed; None when something was."""
        message = mcp.answer_in(self.call, value)
        if message is None:
            return _NO_RESULT
        told = message["result"]
        if told.get("isError") is True:
            return NO_SUCCESS
        if not self._change_result(told):
            return self.edit.nothing
        self.edit.after(told)
        return None

    def _change_result(self, told: dict[str, Any]) -> bool:
        """Structured content, and the texts that say the same for models: both, or neither."""
        structured = told.get("structuredContent")
        room = Room()
        if isinstance(structured, dict | list):
            room = self.room
            if not self._change_structured(structured, room):
                return False
        return self._change_content(told, room) or structured is not None

    def _change_structured(self, structured: Any, room: Room) -> bool:
        # Servers wrap what is no mapping, which structured content has to be.
        if isinstance(structured, dict) and structured.keys() == {"result"}:
            inner = structured["result"]
            if isinstance(inner, str):
                return self._change_member(structured, "result", room)
            return isinstance(inner, dict | list) and self.edit.value(inner, room)
        return self.edit.value(structured, room)

    def _change_content(self, told: dict[str, Any], room: Room) -> bool:
        parts = lenient.sequence(told.get("content"))
        texts = [part for part in lenient.mappings(parts) if isinstance(part.get("text"), str)]
        values = [documents.parse(part["text"]) for part in texts]
        if len(values) > 1 and len(values) == len(parts) and all(isinstance(item, dict) for item in values):
            return self._change_parts(told, texts, values, room)
        return sum(self._change_member(part, "text", room) for part in texts) > 0

    def _change_parts(
        self, told: dict[str, Any], texts: list[dict[str, Any]], values: list[Any], room: Room
    ) -> bool:
        """A list that the server writes as one text for each of its records."""
        records = list(values)
        if not self.edit.value(records, room):
            return False
        known = {id(value): part for value, part in zip(values, texts, strict=True)}
        told["content"] = [_part_of(record, known.get(id(record), {"type": "text"})) for record in records]
        return True

    def _change_member(self, parent: dict[str, Any], name: str, room: Room) -> bool:
        text = parent[name]
        inner = documents.parse(text)
        if inner is None:
            changed = self.edit.text(text)
        else:
            changed = documents.write_text(inner) if self.edit.value(inner, room) else None
        if changed is not None:
            parent[name] = changed
        return changed is not None


def _part_of(record: Any, part: dict[str, Any]) -> dict[str, Any]:
    """The part that says this; one that says it already stays as the server wrote it."""
    if "text" in part and documents.parse(part["text"]) == record:
        return part
    return {**part, "text": documents.write_text(record)}
