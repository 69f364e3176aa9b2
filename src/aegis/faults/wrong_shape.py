"""An answer of another shape than yesterday's."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from aegis.faults import jsonpath, mcp, shapes
from aegis.faults.base import Hit, Seen
from aegis.faults.jsonbody import change_json
from aegis.faults.paramkinds import PATH, PATHS
from aegis.faults.selective import Selective
from aegis.gateway.base import Forward, ResponsePlan
from aegis.suite.kinds import Choice, Key, MapOf, Text


class WrongShape(Selective):
    """Changes the shape of a JSON answer and not its meaning, as a release of the service that nobody announced does:
    a field is gone, has another name, or is a text where it was a number.

    `retype` comes first, then `rename`, then `remove`. Without any of them one field is chosen for each exchange, in
    every element when it stands in a list: `created_at` becomes `createdAt` (and the other way round), a name of one
    word goes away. Of an MCP tool call the paths are of what the tool returned: its structured content, and its texts
    that are JSON; other messages of MCP are no matches of this fault.

    HTTP clients see nothing of it. Typed SDKs fill in None or raise a validation error, also MCP clients when the tool
    has an output schema; agents that read the JSON as text often make the value up.
    """

    name = "wrong-shape"
    group = "semantic"
    stage = "body"
    layers = frozenset({"http", "mcp"})
    keys = (
        Key("remove", PATHS, "JSON paths of fields that are gone"),
        Key(
            "rename",
            MapOf(PATH, Text("a name"), "JSON paths with new names"),
            "JSON path → the field's new name",
        ),
        Key(
            "retype",
            MapOf(PATH, Choice("type", shapes.TYPES), "JSON paths with types"),
            f"JSON path → the value's new type: {', '.join(shapes.TYPES)}",
        ),
    )
    needs_body = True

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__(params)
        given = params.get
        self._remove = [jsonpath.parse(path) for path in given("remove", ())]
        self._rename = [(jsonpath.parse(path), name) for path, name in given("rename", {}).items()]
        self._retype = [(jsonpath.parse(path), kind) for path, kind in given("retype", {}).items()]

    def admits(self, seen: Seen) -> bool:
        # The other messages of a protocol are nobody's data.
        return not mcp.is_message(seen.json) or mcp.call_of(seen) is not None

    async def apply(self, hit: Hit, seen: Seen, forward: Forward) -> ResponsePlan:
        plan = await forward(seen.request)
        change = (
            self._as_told
            if self._remove or self._rename or self._retype
            else partial(_one, hit.draw("field"))
        )
        return await change_json(plan, seen, change, partial(self.pass_on, hit))

    def _as_told(self, value: Any) -> bool:
        done = [shapes.retype(value, path, kind) for path, kind in self._retype]
        done += [shapes.rename(value, path, name) for path, name in self._rename]
        done += [shapes.remove(value, path) for path in self._remove]
        return any(done)


def _one(drawn: float, value: Any) -> bool:
    found = shapes.leaves(value)
    if not found:
        return False
    steps = found[int(drawn * len(found))]
    name = shapes.other_case(str(steps[-1]))
    return shapes.remove(value, steps) if name is None else shapes.rename(value, steps, name)


fault = WrongShape
