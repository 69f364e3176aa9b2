"""What tools say that they return: the output schemas of `tools/list`, and values that satisfy them."""

from __future__ import annotations

from typing import Any

from aegis.faults.base import Seen
from aegis.faults.tee import tell
from aegis.gateway.base import Forward, ResponsePlan
from aegis.trace import lenient

_MAX_LIST_BYTES = 4 * 1024 * 1024
_MAX_TOOLS = 10_000
_MAX_DEPTH = 12

Schema = dict[str, Any]


class OutputSchemas:
    """Learns from the tools' lists that pass. MCP clients hold a result against its tool's output schema, so that an
    invented one must satisfy it."""

    def __init__(self) -> None:
        self._schemas: dict[tuple[str, int, str], Schema] = {}

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
            name, schema = tool.get("name"), tool.get("outputSchema")
            if isinstance(name, str) and isinstance(schema, dict) and len(self._schemas) < _MAX_TOOLS:
                self._schemas[(*place, name)] = schema

    def of(self, seen: Seen, tool: str) -> Schema | None:
        return self._schemas.get((seen.request.host, seen.request.port, tool))


def plausible(schema: Schema, known: dict[str, Any], text: str) -> Any:
    """A value that satisfies the schema as far as its types and required members go: members of a known name have the
    known value, texts are `text`."""
    return _Plausible(schema, known, text).value(schema, 0)


class _Plausible:
    def __init__(self, root: Schema, known: dict[str, Any], text: str) -> None:
        self._root = root
        self._known = known
        self._text = text

    def value(self, schema: Any, depth: int) -> Any:
        schema = self._resolved(lenient.mapping(schema))
        for name in ("const", "default"):
            if name in schema:
                return schema[name]
        if isinstance(schema.get("enum"), list) and schema["enum"]:
            return schema["enum"][0]
        kind = _kind(schema)
        if depth < _MAX_DEPTH and kind == "object":
            return self._mapping(schema, depth)
        if depth < _MAX_DEPTH and kind == "array":
            least = lenient.count(schema.get("minItems")) or 0
            return [self.value(schema.get("items"), depth + 1) for _ in range(min(least, 100))]
        if kind in ("integer", "number"):
            return lenient.count(schema.get("minimum")) or 0
        return {"string": self._text, "boolean": True, "object": {}, "array": []}.get(kind)

    def _mapping(self, schema: Schema, depth: int) -> dict[str, Any]:
        members = lenient.mapping(schema.get("properties"))
        names = [*lenient.sequence(schema.get("required"))]
        names += [name for name in members if name in self._known and name not in names]
        return {name: self._member(name, members.get(name), depth) for name in names if isinstance(name, str)}

    def _member(self, name: str, schema: Any, depth: int) -> Any:
        made = self.value(schema, depth + 1)
        known = self._known.get(name)
        return known if name in self._known and (schema is None or _alike(known, made)) else made

    def _resolved(self, schema: Schema) -> Schema:
        for _ in range(_MAX_DEPTH):
            reference = schema.get("$ref")
            choices = next((schema[name] for name in ("anyOf", "oneOf", "allOf") if name in schema), None)
            if isinstance(reference, str) and reference.startswith("#/"):
                target: Any = self._root
                for step in reference[2:].split("/"):
                    target = lenient.mapping(target).get(step)
                schema = lenient.mapping(target)
            elif choices is not None:
                options = lenient.mappings(choices)
                schema = next((option for option in options if option.get("type") != "null"), {})
            else:
                break
        return schema


def _kind(schema: Schema) -> str:
    kind = schema.get("type")
    kinds = [item for item in (kind if isinstance(kind, list) else [kind]) if isinstance(item, str)]
    chosen = next((item for item in kinds if item != "null"), "")
    return chosen or ("object" if "properties" in schema else "null")


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return isinstance(one, bool) and isinstance(other, bool)
    if isinstance(one, int | float) and isinstance(other, int | float):
        return True
    return type(one) is type(other)
