"""GraphQL errors under status 200."""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import parse_qs

from aegis.faults.added import own_names
from aegis.faults.answers import json_answer
from aegis.faults.base import Hit, Seen
from aegis.faults.jsonbody import change_json
from aegis.faults.selective import Selective
from aegis.gateway.base import Forward, ResponsePlan
from aegis.suite.kinds import Flag, Key, Text


class GraphqlErrors(Selective):
    """Answers a GraphQL request with `errors` under status 200, as GraphQL servers do when a resolver fails.

    Without `partial` the request is not passed on, and `data` is null. With it upstream answers, one field of the
    operation becomes null, and the error's `path` names it: the rest of `data` is right. HTTP clients see a success
    and try nothing again; agents that look at `data` alone take the null for an answer.

    A request is GraphQL's when its JSON has a text `query` or a persisted query, or its URL a `query` in braces;
    others are no matches of this fault.
    """

    name = "graphql-errors"
    group = "semantic"
    stage = "answer"
    keys = (
        Key(
            "message",
            Text("text", any_character=True),
            "What the error says",
            default="Internal server error",
        ),
        Key(
            "code",
            Text("a code such as INTERNAL_SERVER_ERROR"),
            "Its extensions.code, by which clients tell errors apart",
            default="INTERNAL_SERVER_ERROR",
        ),
        Key("partial", Flag(), "Whether the other fields are answered", default=False),
    )
    needs_body = True

    def admits(self, seen: Seen) -> bool:
        return _operations(seen) > 0

    async def apply(self, hit: Hit, seen: Seen, forward: Forward) -> ResponsePlan:
        if self.params["partial"]:
            plan = await forward(seen.request)
            change = partial(self._fail_one, hit.draw("field"))
            return await change_json(
                plan, seen, change, partial(self.pass_on, hit), nothing="no field has data"
            )
        failed = {"data": None, "errors": [self._error()]}
        batch = isinstance(seen.json, list)
        value = [failed] * _operations(seen) if batch else failed
        return json_answer(200, value, method=seen.request.method)

    def _fail_one(self, drawn: float, value: Any) -> bool:
        answers = [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, dict)]
        answered = [item for item in answers if isinstance(item.get("data"), dict)]
        fields = [
            (item, name)
            for item in answered
            for name in own_names(item["data"])
            if item["data"][name] is not None
        ]
        if not fields:
            return False
        item, name = fields[int(drawn * len(fields))]
        item["data"][name] = None
        errors = item.get("errors")
        item["errors"] = [*(errors if isinstance(errors, list) else ()), {**self._error(), "path": [name]}]
        return True

    def _error(self) -> dict[str, Any]:
        return {"message": self.params["message"], "extensions": {"code": self.params["code"]}}


def _operations(seen: Seen) -> int:
    """How many operations a request asks for; 0: it is not GraphQL's."""
    if seen.request.method == "GET":
        query = parse_qs(seen.request.target.partition("?")[2])
        return int(
            any("{" in text for text in query.get("query", ())) or _persisted(query.get("extensions", ()))
        )
    if seen.request.method != "POST":
        return 0
    operations = seen.json if isinstance(seen.json, list) else [seen.json]
    return len(operations) if all(map(_is_operation, operations)) else 0


def _is_operation(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    extensions = value.get("extensions")
    persisted = isinstance(extensions, dict) and "persistedQuery" in extensions
    query = value.get("query")
    return persisted or (isinstance(query, str) and "{" in query)


def _persisted(texts: Any) -> bool:
    return any('"persistedQuery"' in text for text in texts)


fault = GraphqlErrors
