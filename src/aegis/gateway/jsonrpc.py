"""JSON-RPC messages of the Model Context Protocol, as the requests and responses that interceptors know. Pure."""

from __future__ import annotations

import json
import re
from typing import Any

from aegis.gateway.base import RawHeaders, ResponsePlan

_METHOD = re.compile(r"[A-Za-z0-9_$.-]+(?:/[A-Za-z0-9_$.-]+)*")
_VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
"""In the `_meta` of every request since protocol version 2026-07-28."""


def parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def path(message: Any) -> str:
    """`/tools/call`: the method, where it reads as one."""
    method = message.get("method") if isinstance(message, dict) else None
    if isinstance(method, str) and len(method) <= 100 and _METHOD.fullmatch(method):
        return f"/{method}"
    return "/"


def headers(message: Any) -> RawHeaders:
    """As the same message has them over HTTP."""
    headers = ((b"Content-Type", b"application/json"), (b"Accept", b"application/json"))
    params = message.get("params") if isinstance(message, dict) else None
    meta = params.get("_meta") if isinstance(params, dict) else None
    version = meta.get(_VERSION_KEY) if isinstance(meta, dict) else None
    if isinstance(version, str) and re.fullmatch(r"[0-9A-Za-z.-]{1,40}", version):
        return (*headers, (b"MCP-Protocol-Version", version.encode()))
    return headers


def line(plan: ResponsePlan, body: bytes, request: Any) -> bytes | None:
    """What a fault answers, as the one line that the client reads; None for nothing. What is no JSON-RPC (an HTTP
    error's page) becomes the error that an MCP server answers when it fails itself."""
    if not body.strip():
        return None
    answer = parsed(body)
    if isinstance(answer, dict | list):
        return body if b"\n" not in body and b"\r" not in body else _compact(answer)
    identity = request.get("id") if isinstance(request, dict) else None
    # JSON-RPC 2.0, section 5.1: internal error.
    error = {"code": -32603, "message": f"{plan.status} {plan.reason}".strip()}
    return _compact({"jsonrpc": "2.0", "id": identity, "error": error})


def _compact(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
