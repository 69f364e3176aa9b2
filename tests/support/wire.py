"""Answers as model providers send them: bodies and streams of each wire format, and exchanges made of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from aegis.trace import Body, Exchange
from support.recorder import Reply


def exchange(
    path: str,
    request: Any,
    response: Any,
    *,
    id: int = 1,
    host: str = "api.openai.com",
    status: int = 200,
    content_type: str | None = None,
    started_s: float = 1.0,
    ended_s: float | None = 2.0,
    method: str = "POST",
    headers: tuple[tuple[str, str], ...] = (),
    **more: Any,
) -> Exchange:
    """An exchange with JSON (or given texts) in both directions."""
    stream = isinstance(response, str)
    kind = content_type or ("text/event-stream" if stream else "application/json")
    return Exchange(
        id=id,
        kind="http",
        scheme="https",
        host=host,
        port=443,
        method=method,
        path=path,
        request_headers=headers,
        request_body=None if request is None else body(request),
        status=status,
        response_headers=(("Content-Type", kind),),
        response_body=body(response),
        started_s=started_s,
        ended_s=ended_s,
        upstream="192.0.2.1:443",
        **more,
    )


def body(content: Any) -> Body:
    text = content if isinstance(content, str) else json.dumps(content)
    return Body(size_bytes=len(text.encode()), text=text)


def events(*bodies: Any, named: bool = False) -> str:
    """Server-sent events; with `named`, each has the name that its `type` says."""
    parts = []
    for item in bodies:
        data = item if isinstance(item, str) else json.dumps(item)
        name = f"event: {item['type']}\n" if named else ""
        parts.append(f"{name}data: {data}\n\n")
    return "".join(parts)


def streamed(text: str, *, cut: bool = False) -> Reply:
    """One piece for each event."""
    *whole, rest = text.split("\n\n")
    pieces = [f"{part}\n\n".encode() for part in whole] + ([rest.encode()] if rest else [])
    return Reply(pieces, content_type="text/event-stream", cut=cut)


def plain(content: Any, status: int = 200) -> Reply:
    return Reply([json.dumps(content).encode()], status=status)


# OpenAI's chat completions

CHAT_USAGE = {
    "prompt_tokens": 1000,
    "completion_tokens": 100,
    "total_tokens": 1100,
    "prompt_tokens_details": {"cached_tokens": 200},
    "completion_tokens_details": {"reasoning_tokens": 40},
}


def chat(
    text: str | None = "Done.", tools: Sequence[tuple[str, str, Any]] = (), **more: Any
) -> dict[str, Any]:
    """A whole answer. `tools`: (id, name, arguments)."""
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
    if tools:
        message["tool_calls"] = [
            {"id": i, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
            for i, name, arguments in tools
        ]
    reason = "tool_calls" if tools else "stop"
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-5-mini-2025-08-07",
        "choices": [{"index": 0, "message": message, "finish_reason": reason, "logprobs": None}],
        "usage": CHAT_USAGE,
        **more,
    }


def chat_chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-5-mini-2025-08-07",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        **more,
    }


def chat_piece(index: int, arguments: str, **more: Any) -> dict[str, Any]:
    """A piece of a streamed tool call."""
    name = {"name": more.pop("name")} if "name" in more else {}
    return {"tool_calls": [{"index": index, **more, "function": {**name, "arguments": arguments}}]}


CHAT_STREAM = events(
    chat_chunk({"role": "assistant", "content": ""}),
    chat_chunk({"content": "Let me "}),
    chat_chunk({"content": "look."}),
    chat_chunk(chat_piece(0, "", id="call_a", type="function", name="lookup_order")),
    chat_chunk(chat_piece(0, '{"order"')),
    chat_chunk(chat_piece(0, ": 1042}")),
    chat_chunk(chat_piece(1, "", id="call_b", type="function", name="get_policy")),
    chat_chunk(chat_piece(1, "{}")),
    chat_chunk({}, "tool_calls"),
    {**chat_chunk({}), "choices": [], "usage": CHAT_USAGE},
    "[DONE]",
)


# OpenAI's responses

RESPONSE_USAGE = {
    "input_tokens": 1000,
    "input_tokens_details": {"cached_tokens": 200},
    "output_tokens": 100,
    "output_tokens_details": {"reasoning_tokens": 40},
    "total_tokens": 1100,
}


def response(output: list[dict[str, Any]], status: str = "completed", **more: Any) -> dict[str, Any]:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": "gpt-5-mini-2025-08-07",
        "output": output,
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": RESPONSE_USAGE if status == "completed" else None,
        **more,
    }


SAID = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "Let me look.", "annotations": []}],
}
CALLED = {
    "id": "fc_1",
    "type": "function_call",
    "status": "completed",
    "call_id": "call_a",
    "name": "lookup_order",
    "arguments": '{"order": 1042}',
}
SEARCHED = {
    "id": "ws_1",
    "type": "web_search_call",
    "status": "completed",
    "action": {"type": "search", "query": "refund law"},
}


def response_events(*, final: bool = True) -> str:
    begun = {**SAID, "status": "in_progress", "content": []}
    asked = {**CALLED, "status": "in_progress", "arguments": ""}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    call = {"item_id": "fc_1", "output_index": 1}
    parts: list[dict[str, Any]] = [
        {"type": "response.created", "response": response([], "in_progress")},
        {"type": "response.output_item.added", "output_index": 0, "item": begun},
        {"type": "response.output_text.delta", **place, "delta": "Let me ", "logprobs": []},
        {"type": "response.output_text.delta", **place, "delta": "look.", "logprobs": []},
        {"type": "response.output_item.done", "output_index": 0, "item": SAID},
        {"type": "response.output_item.added", "output_index": 1, "item": asked},
        {"type": "response.function_call_arguments.delta", **call, "delta": '{"order"'},
        {"type": "response.function_call_arguments.delta", **call, "delta": ": 1042}"},
    ]
    if final:
        parts.append({"type": "response.output_item.done", "output_index": 1, "item": CALLED})
        parts.append({"type": "response.completed", "response": response([SAID, CALLED])})
    numbered = [{**part, "sequence_number": number} for number, part in enumerate(parts)]
    return events(*numbered, named=True)


# Anthropic's messages

MESSAGE_USAGE = {
    "input_tokens": 700,
    "cache_creation_input_tokens": 100,
    "cache_read_input_tokens": 200,
    "output_tokens": 100,
}


def message(content: list[dict[str, Any]], stop: str = "end_turn", **more: Any) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-20250514",
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": MESSAGE_USAGE,
        **more,
    }


USE = {"type": "tool_use", "id": "toolu_a", "name": "lookup_order", "input": {"order": 1042}}
MESSAGE_EVENTS: list[dict[str, Any]] = [
    {
        "type": "message_start",
        "message": message([], usage={**MESSAGE_USAGE, "output_tokens": 1}, stop_reason=None),
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Let me "}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "look."}},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {**USE, "input": {}}},
    {
        "type": "content_block_delta",
        "index": 1,
        "delta": {"type": "input_json_delta", "partial_json": '{"or'},
    },
    {
        "type": "content_block_delta",
        "index": 1,
        "delta": {"type": "input_json_delta", "partial_json": 'der": 1042}'},
    },
    {"type": "content_block_stop", "index": 1},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "tool_use", "stop_sequence": None},
        "usage": {"output_tokens": 100},
    },
    {"type": "message_stop"},
]
MESSAGE_STREAM = events(*MESSAGE_EVENTS, named=True)


# Google Gemini


def gemini(parts: list[dict[str, Any]], finish: str | None = "STOP", **more: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    usage = {
        "promptTokenCount": 1000,
        "cachedContentTokenCount": 200,
        "candidatesTokenCount": 60,
        "thoughtsTokenCount": 40,
        "totalTokenCount": 1100,
    }
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-2.5-flash", **more}


GEMINI_CHUNKS = [
    gemini([{"text": "pondering", "thought": True}], None),
    gemini([{"text": "Let me "}], None),
    gemini([{"text": "look."}, {"functionCall": {"name": "lookup_order", "args": {"order": 1042}}}]),
]
