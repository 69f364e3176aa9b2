"""Somebody else's instruction in what a tool returns."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from aegis.faults import jsonpath, mcp
from aegis.faults.base import Hit, Seen
from aegis.faults.paramkinds import PATH
from aegis.faults.rewrites import records, results
from aegis.faults.rewrites.base import ToolRewrite
from aegis.faults.rewrites.filler import plain
from aegis.faults.rewrites.results import Edit
from aegis.faults.rewrites.toollists import Room
from aegis.gateway.base import Forward, ResponsePlan
from aegis.suite.kinds import Choice, Key, Text

STYLES = ("note", "comment", "system", "description")
_FREE_TEXTS = (
    "note", "notes", "comment", "comments", "remark", "remarks", "memo", "description", "message", "body", "content",
    "text", "summary", "details", "instructions", "bio", "subject", "title",
)  # fmt: skip
"""Members into which other people write, the likeliest first."""
_NO_PLACE = "the response holds no object and no text"
_END_OF_PAGE = re.compile(r"</body\s*>", re.I)


class Plant(ToolRewrite):
    """Writes a text into what a tool returns, behind what stands there: into a member that other people fill (`note`,
    `comment`, `description`, …) of the record that the case names, or of the first one; into a new member `note` where
    there is none; behind a tool's plain text; at the end of a page of text or HTML.

    The styles: `note`, as it is; `comment`, as a comment of HTML; `system`, as if it were a message of the system.
    `description` writes into the descriptions of MCP tools instead, for agents that list them.
    """

    name = "rewrite/plant"
    keys = (
        *ToolRewrite.keys,
        Key("text", Text("the instruction"), "What is planted", required=True),
        Key("style", Choice("style", STYLES), "How it is written", default="note"),
        Key("field", PATH, "JSON path of the text into which it is written; found by itself by default"),
    )

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__(params)
        self._field = jsonpath.parse(params["field"]) if "field" in params else None

    def admits(self, seen: Seen) -> bool:
        if self.params["style"] == "description":
            return self.tools.is_list(seen)
        return super().admits(seen)

    async def apply(self, hit: Hit, seen: Seen, forward: Forward) -> ResponsePlan:
        plan = await forward(seen.request)
        if self.params["style"] == "description":
            return await results.change_listing(plan, seen, self._describe, partial(self.pass_on, hit))
        call = mcp.call_of(seen)
        edit = Edit(self._plant, self._plant_text, page=self._plant_text, nothing=_NO_PLACE)
        room = None if call is None else self.tools.room(seen, call.name)
        return await results.change_results(plan, seen, edit, partial(self.pass_on, hit), room)

    @property
    def _planted(self) -> str:
        text: str = self.params["text"]
        return {"comment": f"<!-- {text} -->", "system": f"[SYSTEM] {text}"}.get(self.params["style"], text)

    def _plant_text(self, text: str) -> str:
        told = self._planted
        if found := _END_OF_PAGE.search(text):
            return f"{text[: found.start()]}{told}{text[found.start() :]}"
        return f"{text}\n\n{told}" if text else told

    def _plant(self, value: Any, room: Room) -> bool:
        if self._field is not None:
            return jsonpath.change(value, self._field, self._append) > 0
        record = self._record(value)
        if record is None:
            return False
        name = next(_free_texts(record), None)
        if name is not None:
            self._append(record, name)
        elif room.members and "note" not in record:
            record["note"] = self._planted
        else:
            return False
        return True

    def _record(self, value: Any) -> records.Record | None:
        """The record that the case names, else the first one, else the object itself."""
        listing = records.list_of(value)
        if listing:
            if isinstance(value, dict) and any(True for _ in _free_texts(value)):
                return value
            named = [item for item in listing if records.key_fields(item, self.named)]
            first: records.Record = (named or listing)[0]
            return first
        if not isinstance(value, dict):
            return None
        # {"order": {…}}: what is wrapped is the object.
        inner = [item for item in value.values() if isinstance(item, dict)]
        return inner[0] if len(value) == 1 and inner else value

    def _append(self, parent: Any, key: Any) -> None:
        old = parent[key]
        parent[key] = f"{old} {self._planted}" if isinstance(old, str) and old else self._planted

    def _describe(self, message: dict[str, Any]) -> bool:
        """In the description of every tool: nobody knows which one the agent will read."""
        tools = [tool for tool in message["result"].get("tools") or () if isinstance(tool, dict)]
        for tool in tools:
            self._append(tool, "description") if "description" in tool else tool.update(
                description=self._planted
            )
        return bool(tools)


def _free_texts(record: records.Record) -> Iterator[str]:
    """The names of its members that hold free text, the likeliest first."""
    names = {plain(name): name for name, value in record.items() if isinstance(value, str) or value is None}
    return (names[word] for word in _FREE_TEXTS if word in names)


rewrite = Plant
