"""Yesterday's answer."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from aegis.faults import aging, jsonpath, mcp
from aegis.faults.answers import to_json, with_body
from aegis.faults.base import Hit, Seen
from aegis.faults.jsonbody import change_json
from aegis.faults.memory import Memory, can_keep
from aegis.faults.paramkinds import PATH, PATHS
from aegis.faults.selective import NO_BODY, NO_SUCCESS, Selective, lacks_body
from aegis.gateway.base import Forward, ResponsePlan
from aegis.suite.kinds import Anything, Duration, Flag, Key, MapOf

_DAY_S = 24 * 3600.0


class Stale(Selective):
    """Answers a GET request, or a tool call of MCP that reads, with what was true some time ago, as a cache, a search
    index or a read replica does that lags behind.

    The old answer is the first one that this URL (or this tool, with the same arguments) gave in the trial; upstream
    is not asked again. So an agent that writes and then reads back sees the state before its write. When there is none
    yet, upstream's answer is taken. On either, `set` puts old values in (`{$.status: pending}`) and `fields` moves
    times back by `age`; `body` is the whole of yesterday's body. Without any of these the first answer passes
    unchanged. Of an MCP tool call the paths are of what the tool returned, and `body` is what it returns.

    Every client takes it for a success. Over HTTP the headers Date, Last-Modified and Expires are as old, and Age says
    so, as caches do; `disclosed: false` leaves that out, as replicas do.
    """

    name = "stale"
    group = "semantic"
    stage = "body"
    layers = frozenset({"http", "mcp"})
    keys = (
        Key("age", Duration(1.0, 366 * _DAY_S), "How old the answer is", default="24h"),
        Key("disclosed", Flag(), "Whether the headers tell its age", default=True),
        Key("set", MapOf(PATH, Anything(), "JSON paths with values"), "JSON path → the value that was there"),
        Key("fields", PATHS, "JSON paths of times (RFC 3339 or Unix) that become older by age"),
        Key("body", Anything(), "Yesterday's body: text, or a list or mapping for JSON"),
    )
    needs_body = True

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__(params)
        self._memory = Memory()
        self._set = [(jsonpath.parse(path), value) for path, value in params.get("set", {}).items()]
        self._fields = [jsonpath.parse(path) for path in params.get("fields", ())]
        self._matching: Seen | None = None

    @classmethod
    def problem(cls, params: Mapping[str, Any]) -> str | None:
        if "body" in params and ("set" in params or "fields" in params):
            return "has 'body' and changes to it: write them into 'body'"
        return None

    def takes(self, seen: Seen, picked: bool) -> bool:
        # Asked right before `watches`, of what matches: only this is worth keeping.
        self._matching = seen
        return picked and can_keep(seen)

    def watches(self, seen: Seen) -> bool:
        return seen is self._matching and can_keep(seen)

    async def observe(self, seen: Seen, forward: Forward) -> ResponsePlan:
        return self._memory.watch(seen, await forward(seen.request))

    async def apply(self, hit: Hit, seen: Seen, forward: Forward) -> ResponsePlan:
        kept = None if "body" in self.params else self._memory.recall(seen)
        if kept is not None:
            # An answer out of the memory is stale whatever is found in it.
            return self._aged(seen, await change_json(kept, seen, self._change, _say_nothing))
        plan = await forward(seen.request)
        if not self._can_bend(hit, plan):
            return plan
        if "body" in self.params:
            return self._aged(seen, await self._replaced(seen, plan))
        spared: list[str] = []

        def pass_on(why: str) -> None:
            spared.append(why)
            self.pass_on(hit, why)

        plan = await change_json(plan, seen, self._change, pass_on)
        return plan if spared else self._aged(seen, plan)

    def _can_bend(self, hit: Hit, plan: ResponsePlan) -> bool:
        if not 200 <= plan.status < 300 or lacks_body(plan):
            self.pass_on(hit, NO_BODY if 200 <= plan.status < 300 else NO_SUCCESS)
            return False
        if not (self._set or self._fields or "body" in self.params):
            self.pass_on(hit, "no earlier answer to this request is known")
            return False
        return True

    async def _replaced(self, seen: Seen, plan: ResponsePlan) -> ResponsePlan:
        body = self.params["body"]
        call = mcp.call_of(seen)
        if call is None:
            return with_body(plan, body.encode() if isinstance(body, str) else to_json(body))
        await plan.release()
        return mcp.answer(call, mcp.returned(call, body))

    def _aged(self, seen: Seen, plan: ResponsePlan) -> ResponsePlan:
        if self.params["disclosed"] and mcp.call_of(seen) is None:
            plan.headers = aging.aged_headers(plan.headers, self.params["age"])
        return plan

    def _change(self, value: Any) -> bool:
        changed = [jsonpath.change(value, path, partial(_put, old)) > 0 for path, old in self._set]
        changed += [aging.age_fields(value, path, self.params["age"]) for path in self._fields]
        return any(changed)


def _put(value: Any, parent: Any, key: Any) -> None:
    parent[key] = value


def _say_nothing(why: str) -> None:
    return None


fault = Stale
