"""Which requests change something, and which only look."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from aegis.scoring.resilience.attempt import Attempt
from aegis.scoring.resilience.failures import succeeded
from aegis.scoring.resilience.refresh import is_token_request
from aegis.scoring.resilience.traffic import Traffic

_READING_PATH = re.compile(
    r"/(?:_?search|_?m?search|query|lookup|_count|count_tokens|moderations|embeddings)$"
    r"|[./](?:list|info|history|get|search)$"  # Slack: POST /api/conversations.history
    r"|:(?:search|query|batchGet|lookup)$",
    re.I,
)
_READING_TOOL = re.compile(
    r"(?:^|[^a-z])(?:get|list|read|search|look_?up|find|fetch|query|describe|show|count|check|view)(?:[^a-z]|$)"
    r"|^(?:get|list|read|search|look|find|fetch|query|describe|show|count|check|view)[A-Z]"
)


def reads(traffic: Traffic, attempt: Attempt) -> bool:
    """Whether the request only looks: GET and HEAD, searches that are POSTed, GraphQL queries, what MCP servers offer
    for reading. A tool that the server does not describe is taken by its name."""
    if attempt.exchange.kind == "http" and attempt.method in ("GET", "HEAD", "OPTIONS"):
        return True
    body = attempt.message.request_map
    if body.get("jsonrpc") == "2.0":
        return attempt.tool is None or _is_reading_tool(traffic, attempt)
    if isinstance(query := body.get("query"), str) and attempt.message.path.endswith("/graphql"):
        return not _is_mutation(query)
    return attempt.method == "POST" and _READING_PATH.search(attempt.message.path) is not None


def changes(traffic: Traffic, attempt: Attempt) -> bool:
    """Whether it may change something on the other side; asking a model or for a token does not."""
    if attempt.exchange.kind == "http" and attempt.method not in ("POST", "PUT", "PATCH", "DELETE"):
        return False
    if traffic.is_model_call(attempt) or is_token_request(attempt, traffic.faults.values()):
        return False
    return not reads(traffic, attempt)


def adds_when_repeated(traffic: Traffic, attempt: Attempt) -> bool:
    """Whether doing it twice is not the same as doing it once. PUT and DELETE are idempotent (RFC 9110, 9.2.2), and so
    is a tool whose server says so."""
    if not changes(traffic, attempt) or (
        attempt.exchange.kind == "http" and attempt.method not in ("POST", "PATCH")
    ):
        return False
    return attempt.tool is None or _hints(traffic, attempt).get("idempotentHint") is not True


def looks(traffic: Traffic, attempt: Attempt) -> bool:
    """Whether it was a look at the state of the other side that got an answer. A new MCP session, and its list of
    tools, are none."""
    if not reads(traffic, attempt):
        return False
    body = attempt.message.request_map
    if body.get("jsonrpc") == "2.0" and attempt.tool is None and body.get("method") != "resources/read":
        return False
    return succeeded(attempt) or attempt.status in (404, 410)


def _is_mutation(query: str) -> bool:
    bare = "\n".join(line.partition("#")[0] for line in query.splitlines())
    return re.search(r"(?:^|[}\s])mutation\b", bare) is not None


def _is_reading_tool(traffic: Traffic, attempt: Attempt) -> bool:
    hint = _hints(traffic, attempt).get("readOnlyHint")
    return hint if isinstance(hint, bool) else _READING_TOOL.search(attempt.tool or "") is not None


def _hints(traffic: Traffic, attempt: Attempt) -> Mapping[str, Any]:
    return traffic.tool_hints.get((*attempt.place, attempt.tool or ""), {})
