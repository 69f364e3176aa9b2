"""A success without an effect."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

from aegis.faults import echo, mcp
from aegis.faults.answers import json_answer
from aegis.faults.base import Fault, Hit, Seen
from aegis.faults.toolschemas import OutputSchemas, plausible
from aegis.gateway.base import Forward, Framing, ResponsePlan
from aegis.gateway.deliver import Whole
from aegis.suite.kinds import Anything, Integer, Key, Text

_WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class SilentNoop(Fault):
    """Answers a write with a success and does not pass it on, as a service does whose queue loses the job, or whose
    transaction is rolled back after the answer.

    Nothing in the answer gives it away, and no client tries again: only an agent that reads back what it wrote can
    notice.

    Over HTTP (POST, PUT, PATCH, DELETE) the answer is the request's own object, JSON or form, with an `id`: the last
    part of the path for PUT and PATCH, else a new one; for DELETE it is `{"id": …, "deleted": true}`. `body` is
    another answer, in whose texts `{{$.path}}` stands for what the request's object has there. A tool call of MCP
    returns `text`, or `body` with the call's arguments filled in, and whatever else the tool's output schema asks for,
    if the client has listed the tools. Other messages of MCP and reads are no matches of this fault.
    """

    name = "silent-noop"
    group = "semantic"
    stage = "answer"
    layers = frozenset({"http", "mcp"})
    keys = (
        Key("status", Integer(200, 299), "Status of the answer over HTTP", default=200),
        Key("body", Anything(), "The answer: a list or mapping for JSON, or text"),
        Key(
            "text",
            Text("text", any_character=True),
            "What an MCP tool returns; may hold {{$.argument}}",
            default="Done.",
        ),
    )
    needs_body = True

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__(params)
        self._schemas = OutputSchemas()

    @classmethod
    def problem(cls, params: Mapping[str, Any]) -> str | None:
        return echo.problem([params.get("body"), params["text"]])

    def admits(self, seen: Seen) -> bool:
        if mcp.is_message(seen.json):
            return mcp.call_of(seen) is not None
        return seen.request.method in _WRITES

    def watches(self, seen: Seen) -> bool:
        return self._schemas.is_list(seen)

    async def observe(self, seen: Seen, forward: Forward) -> ResponsePlan:
        return await self._schemas.observe(seen, forward)

    async def apply(self, hit: Hit, seen: Seen, forward: Forward) -> ResponsePlan:
        if (call := mcp.call_of(seen)) is not None:
            return mcp.answer(call, self._returned(seen, call))
        status = self.params["status"]
        if status == 204:
            return ResponsePlan(204, "No Content", (), Framing.NONE, Whole(b""))
        source = _object(seen)
        value = echo.filled(self.params["body"], source) if "body" in self.params else _own(hit, seen, source)
        return json_answer(status, value)

    def _returned(self, seen: Seen, call: mcp.ToolCall) -> dict[str, Any]:
        if "body" in self.params:
            return mcp.returned(call, echo.filled(self.params["body"], call.arguments))
        text = str(echo.filled(f" {self.params['text']}", call.arguments))[1:]
        schema = self._schemas.of(seen, call.name)
        if schema is None:
            return mcp.result(call, text)
        return mcp.returned(call, plausible(schema, call.arguments, text))


def _object(seen: Seen) -> Any:
    """What the request sends, as a value: JSON, or a form."""
    if seen.json is not None:
        return seen.json
    kind = (seen.request.header("content-type") or "").lower()
    if seen.body and kind.startswith("application/x-www-form-urlencoded"):
        return dict(parse_qsl(seen.body.decode("utf-8", "replace"), keep_blank_values=True))
    return {}


def _own(hit: Hit, seen: Seen, source: Any) -> Any:
    last = unquote(seen.path.rstrip("/").rpartition("/")[2])
    if seen.request.method == "DELETE":
        return {"id": last, "deleted": True}
    if not isinstance(source, dict):
        return source
    named = seen.request.method != "POST" and bool(last)
    return {"id": last if named else _new_id(hit), **source}


def _new_id(hit: Hit) -> str:
    drawn = int(hit.draw("id") * (1 << 53))
    return str(uuid.uuid5(uuid.NAMESPACE_OID, str(drawn)))


fault = SilentNoop
