"""What tests of rewrites share: upstreams that answer JSON by path, and a tool server of a few lines."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

import requests

from support.http_upstream import HttpUpstream, Received, response
from support.storm import HOST, Storm

ORDERS = [
    {"id": 1042, "customer": 17, "item": "Standing desk", "total": 42.5, "ordered_on": "2026-03-01"},
    {"id": 1061, "customer": 17, "item": "Lamp", "total": 310.0, "ordered_on": "2026-04-02"},
    {"id": 1077, "customer": 17, "item": "Chair", "total": 99.9, "ordered_on": "2026-05-03"},
]


def serving(pages: Mapping[str, Any], **headers: str) -> HttpUpstream:
    """JSON by path, the query left out; 404 for others."""

    async def answer(request: Received, writer: asyncio.StreamWriter) -> None:
        found = pages.get(request.target.partition("?")[0])
        status = "404 Not Found" if found is None else "200 OK"
        body = json.dumps({"error": "not found"} if found is None else found).encode()
        writer.write(response(body, status, Content_Type="application/json", **headers))

    return HttpUpstream(answer)


def get(weather: Storm, target: str) -> requests.Response:
    return requests.get(f"http://127.0.0.1:{weather.port}{target}", headers={"Host": HOST}, timeout=60)


Result = Callable[[str, dict[str, Any]], dict[str, Any]]


def tool_server(tools: list[dict[str, Any]], result: Result) -> HttpUpstream:
    """Answers `tools/list` and, by `result(name, arguments)`, `tools/call`."""

    async def answer(request: Received, writer: asyncio.StreamWriter) -> None:
        message = json.loads(request.body)
        params = message.get("params", {})
        told = (
            {"tools": tools}
            if message["method"] == "tools/list"
            else result(params["name"], params.get("arguments", {}))
        )
        body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": told}).encode()
        writer.write(response(body, Content_Type="application/json"))

    return HttpUpstream(answer)


def ask(weather: Storm, method: str, **params: Any) -> dict[str, Any]:
    message = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
    url = f"http://127.0.0.1:{weather.port}/mcp"
    found: dict[str, Any] = requests.post(url, json=message, headers={"Host": HOST}, timeout=60).json()[
        "result"
    ]
    return found


def call(weather: Storm, tool: str, **arguments: Any) -> dict[str, Any]:
    return ask(weather, "tools/call", name=tool, arguments=arguments)


def texts(value: Any) -> dict[str, Any]:
    """A tool's result as text and as structure."""
    return {"content": [{"type": "text", "text": json.dumps(value)}], "structuredContent": value}
