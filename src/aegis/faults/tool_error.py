"""A tool that fails."""

from __future__ import annotations

from aegis.faults import mcp
from aegis.faults.base import Fault, Hit, Seen
from aegis.gateway.base import Forward, ResponsePlan
from aegis.suite.kinds import Integer, Key, Text

_TOOL = "{tool}"


class ToolError(Fault):
    """Answers a tool call of MCP with an error of the tool and does not pass it on: status 200, `isError: true`, and a
    text. So MCP servers tell that an upstream of theirs has failed.

    HTTP clients and their retries see a success. MCP clients return the result to the agent, whose model reads the
    text; agents that look at `content` alone take it for data. With `code` the answer is an error of JSON-RPC, without
    a result: MCP clients raise it. Requests that are no tool calls are no matches of this fault.
    """

    name = "tool-error"
    group = "semantic"
    stage = "answer"
    layers = frozenset({"mcp"})
    keys = (
        Key(
            "text",
            Text("text", any_character=True),
            "What the error says; {tool} stands for the tool's name",
            default="Error executing tool {tool}: upstream request timed out",
        ),
        Key(
            "code",
            Integer(-2_147_483_648, 2_147_483_647),
            "Code of a JSON-RPC error (-32603: internal error) to answer in place of a result",
        ),
    )
    needs_body = True

    def admits(self, seen: Seen) -> bool:
        return mcp.call_of(seen) is not None

    async def apply(self, hit: Hit, seen: Seen, forward: Forward) -> ResponsePlan:
        call = mcp.call_of(seen)
        if call is None:
            return await forward(seen.request)
        text = self.params["text"].replace(_TOOL, call.name)
        if "code" in self.params:
            return mcp.refusal(call, self.params["code"], text)
        return mcp.answer(call, mcp.result(call, text, failed=True))


fault = ToolError
