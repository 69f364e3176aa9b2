"""What the clients of the reactions' table talk to: small right answers in the formats that they speak."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from support.http_upstream import HttpUpstream, Received, chunk, response

TEXT = "Order 1042 was delivered on Monday, and the refund of 42.00 EUR is booked."
PAGE: dict[str, Any] = {
    "data": [{"order": 1042, "status": "delivered"}, {"order": 1061, "status": "sent"}],
    "has_more": True,
    "next": "/orders?page=3",
    "updated_at": "2026-11-20T08:00:00Z",
}
PAGE_TEXT = json.dumps(PAGE, sort_keys=True)


def upstream() -> HttpUpstream:
    return HttpUpstream(_answer)


async def _answer(request: Received, writer: asyncio.StreamWriter) -> None:
    path = request.target.partition("?")[0]
    if path.startswith("/bucket/"):
        writer.write(response(TEXT.encode(), Content_Type="text/plain", ETag='"1042"'))
        return
    if path == "/orders":
        writer.write(response(json.dumps(PAGE).encode(), Content_Type="application/json"))
        return
    asked = json.loads(request.body)
    whole, events = _OPENAI if path.endswith("/chat/completions") else _ANTHROPIC
    if not asked.get("stream"):
        writer.write(response(json.dumps(whole).encode(), Content_Type="application/json"))
        return
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    for event in events:
        writer.write(chunk(event))
    writer.write(b"0\r\n\r\n")


def _words() -> list[str]:
    words = TEXT.split(" ")
    return [f"{word} " for word in words[:-1]] + [words[-1]]


def _openai_chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    value = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-5-mini",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }
    return b"data: " + json.dumps(value).encode() + b"\n\n"


_OPENAI = (
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-5-mini",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 20, "total_tokens": 29},
    },
    [
        *(_openai_chunk({"content": word}) for word in _words()),
        _openai_chunk({}, "stop"),
        b"data: [DONE]\n\n",
    ],
)


def _anthropic_event(value: dict[str, Any]) -> bytes:
    return f"event: {value['type']}\ndata: {json.dumps(value)}\n\n".encode()


_MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5",
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 9, "output_tokens": 20},
}
_ANTHROPIC = (
    {**_MESSAGE, "content": [{"type": "text", "text": TEXT}]},
    [
        _anthropic_event(
            {"type": "message_start", "message": {**_MESSAGE, "content": [], "stop_reason": None}}
        ),
        _anthropic_event(
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        ),
        *(
            _anthropic_event(
                {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}}
            )
            for word in _words()
        ),
        _anthropic_event({"type": "content_block_stop", "index": 0}),
        _anthropic_event(
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn", "stop_sequence": None},
                "usage": {"output_tokens": 20},
            }
        ),
        _anthropic_event({"type": "message_stop"}),
    ],
)
