"""What all rewrites of tool results share: which exchanges they are about."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from aegis.faults import mcp
from aegis.faults.base import Seen
from aegis.faults.rewrites.toollists import ToolLists
from aegis.faults.selective import Selective
from aegis.gateway.base import Forward, ResponsePlan
from aegis.suite.kinds import Flag, Key, ListOf, Text
from aegis.trace.modelrequests import asks_a_model
from aegis.trace.providers import provider_of

WRITES = Key(
    "writes",
    Flag(),
    "Whether answers to requests that may change something are changed too: methods other than GET, tools that write",
    default=False,
)
NAMED = Key(
    "named",
    ListOf(Text("an id"), "a list of ids such as ['1042']"),
    "Ids of the records that the case is about",
    default=[],
)
_ABOUT_THE_SERVER = re.compile(r"/\.well-known/|.*/(openapi|swagger)(\.json)?$")
_MAX_HOSTS = 1000


class ToolRewrite(Selective):
    """A rewrite of what tools return: JSON that HTTP hosts answer to GET, and results of MCP tools that read. Hosts at
    which the trial asks a language model are left alone, errors as well."""

    group = "semantic"
    stage = "rewrite"
    layers = frozenset({"http", "mcp"})
    needs_body = True
    keys: ClassVar[tuple[Key, ...]] = (WRITES, NAMED)

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__(params)
        self.tools = ToolLists()
        self.named = frozenset(name.casefold().removeprefix("#") for name in params["named"]) - {""}
        self._model_hosts: set[tuple[str, int]] = set()

    def admits(self, seen: Seen) -> bool:
        request = seen.request
        if (call := mcp.call_of(seen)) is not None:
            return self.params["writes"] or not self.tools.writes(seen, call.name)
        if asks_a_model(request.method, seen.path):
            if len(self._model_hosts) < _MAX_HOSTS:
                self._model_hosts.add((request.host, request.port))
            return False
        if mcp.is_message(seen.json) or self._is_of_models(seen):
            return False
        if request.header("range") is not None or _ABOUT_THE_SERVER.match(seen.path):
            return False
        return request.method == "GET" or (self.params["writes"] and request.method != "HEAD")

    def watches(self, seen: Seen) -> bool:
        return self.tools.is_list(seen)

    async def observe(self, seen: Seen, forward: Forward) -> ResponsePlan:
        return await self.tools.observe(seen, forward)

    def _is_of_models(self, seen: Seen) -> bool:
        host = seen.request.host
        if (host, seen.request.port) in self._model_hosts:
            return True
        provider = provider_of(host, "")
        # Amazon answers for half of the world's tools, at names like those of its models.
        return provider != "unknown" and (provider != "aws.bedrock" or host.startswith("bedrock"))
