"""What MCP servers say of their tools: `tools/list`, learned from the lists that pass."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from aegis.faults.base import Seen
from aegis.faults.tee import tell
from aegis.gateway.base import Forward, ResponsePlan
from aegis.trace import lenient

_MAX_LIST_BYTES = 4 * 1024 * 1024
_MAX_TOOLS = 10_000
_MAX_DEPTH = 24


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_WRITES = _words(
    """
    accept add append apply approve archive assign book buy cancel change charge close commit confirm create delete deny
    disable drop edit enable execute forward grant insert invite issue log make mark merge modify move order patch pay
    place post purchase push put record refund reject remove rename reopen replace reply reserve reset resolve revoke
    run save schedule send set share start stop store submit subscribe transfer trigger unlock unsubscribe update upload
    upsert withdraw write
    """
)
"""Verbs by which the name of a tool says that it changes something."""
_READS = _words(
    "check count describe fetch find get inspect list load look lookup query read search show view"
)
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_NO_MORE_MEMBERS = (
    "additionalProperties",
    "unevaluatedProperties",
    "propertyNames",
    "patternProperties",
    "maxProperties",
)
_NO_MORE_ITEMS = ("maxItems", "unevaluatedItems", "contains", "uniqueItems", "prefixItems")


@dataclass(frozen=True, slots=True)
class Room:
    """What may be added to a tool's structured result without breaking its output schema, against which clients check
    it."""

    members: bool = True
    items: bool = True


class ToolLists:
    """Tools by server and name."""

    def __init__(self) -> None:
        self._tools: dict[tuple[str, int, str], dict[str, Any]] = {}

    @staticmethod
    def is_list(seen: Seen) -> bool:
        return isinstance(seen.json, dict) and seen.json.get("method") == "tools/list"

    async def observe(self, seen: Seen, forward: Forward) -> ResponsePlan:
        plan = await forward(seen.request)
        place = (seen.request.host, seen.request.port)
        return tell(plan, _MAX_LIST_BYTES, lambda document: self._learn(place, document))

    def _learn(self, place: tuple[str, int], document: bytes) -> None:
        result = lenient.mapping(lenient.mapping(lenient.parse(document)).get("result"))
        for tool in lenient.mappings(result.get("tools")):
            if (name := lenient.name(tool.get("name"))) and len(self._tools) < _MAX_TOOLS:
                self._tools[(*place, name)] = tool

    def _tool(self, seen: Seen, name: str) -> dict[str, Any]:
        return self._tools.get((seen.request.host, seen.request.port, name), {})

    def writes(self, seen: Seen, name: str) -> bool:
        """Whether the tool changes something: as its `readOnlyHint` says, else as its name does."""
        hint = lenient.mapping(self._tool(seen, name).get("annotations")).get("readOnlyHint")
        if isinstance(hint, bool) and hint:
            return False
        words = [word.lower() for word in _WORD.findall(name)]
        said = next((word for word in words if word in _WRITES or word in _READS), None)
        return said in _WRITES or (hint is False and said is None)

    def parameters(self, seen: Seen, name: str) -> dict[str, dict[str, Any]]:
        """Its parameters, each with its schema."""
        schema = lenient.mapping(self._tool(seen, name).get("inputSchema"))
        return {
            key: value
            for key, value in lenient.mapping(schema.get("properties")).items()
            if isinstance(value, dict)
        }

    def room(self, seen: Seen, name: str) -> Room:
        schema = self._tool(seen, name).get("outputSchema")
        return Room(not _holds(schema, _NO_MORE_MEMBERS), not _holds(schema, _NO_MORE_ITEMS))


def _holds(schema: Any, words: tuple[str, ...], depth: int = _MAX_DEPTH) -> bool:
    """Whether one of these restricts anything, at any depth; deeper schemas are taken to."""
    if depth == 0:
        return True
    if isinstance(schema, dict):
        return any(schema.get(word, True) not in (True, {}) for word in words) or any(
            _holds(item, words, depth - 1) for item in schema.values()
        )
    return isinstance(schema, list) and any(_holds(item, words, depth - 1) for item in schema)
