"""Where a request to a language model holds the instructions of whoever runs the agent, one function for each format.

Each puts a text behind the instructions that are there, or in their place when there are none, and returns whether it
could. Sources, checked on 2026-11-23: https://platform.openai.com/docs/api-reference (chat, responses),
https://docs.anthropic.com/en/api/messages, https://ai.google.dev/api/generate-content,
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from aegis.trace import lenient

Request = dict[str, Any]
_SYSTEM = ("system", "developer")


def instruct(path: str, request: Any, text: str) -> bool:
    """Put the text where this request holds its instructions; False for a request in no known format."""
    if not isinstance(request, dict):
        return False
    return next((put(request, text) for pattern, put in _FORMATS if pattern.search(path)), False)


def chat(request: Request, text: str) -> bool:
    """OpenAI's chat completions: the first message of role `system` or `developer`."""
    messages = request.get("messages")
    if not isinstance(messages, list):
        return False
    first = next((item for item in lenient.mappings(messages) if item.get("role") in _SYSTEM), None)
    if first is None:
        messages.insert(0, {"role": "system", "content": text})
        return True
    return _extend(first, "content", text, {"type": "text", "text": text})


def responses(request: Request, text: str) -> bool:
    """OpenAI's responses: `instructions`, or an item of role `system` or `developer` in the input. Instructions are
    sent with every request, those that go on with an earlier response too."""
    if request.get("instructions"):
        return _extend(request, "instructions", text, {"type": "input_text", "text": text})
    items = lenient.mappings(request.get("input"))
    first = next((item for item in items if item.get("role") in _SYSTEM), None)
    if first is not None:
        return _extend(first, "content", text, {"type": "input_text", "text": text})
    request["instructions"] = text
    return True


def anthropic(request: Request, text: str) -> bool:
    """Anthropic's messages: `system`, a text or a list of blocks."""
    if not isinstance(request.get("messages"), list):
        return False
    return _extend(request, "system", text, {"type": "text", "text": text})


def converse(request: Request, text: str) -> bool:
    """Bedrock's Converse: `system`, a list of blocks."""
    return _extend(request, "system", text, {"text": text}, empty=[])


def gemini(request: Request, text: str) -> bool:
    """Google's Gemini: the parts of `systemInstruction`, which may be written with `_` too."""
    if not isinstance(request.get("contents"), list | dict):
        return False
    written = [name for name in ("systemInstruction", "system_instruction") if request.get(name)]
    name = written[0] if written else "systemInstruction"
    told = request.get(name)
    if not told:
        request[name] = {"parts": [{"text": text}]}
        return True
    if not isinstance(told, dict):
        return _extend(request, name, text, {"text": text})
    if isinstance(told.get("parts"), dict):
        told["parts"] = [told["parts"]]
    return _extend(told, "parts", text, {"text": text}, empty=[])


def invoke(request: Request, text: str) -> bool:
    """Bedrock's and Vertex AI's way to carry what a model's own API takes: Anthropic's says so."""
    return "anthropic_version" in request and anthropic(request, text)


def _extend(parent: Request, name: str, text: str, part: Any, *, empty: Any = "") -> bool:
    told = parent.get(name) or empty
    if isinstance(told, str):
        parent[name] = f"{told}\n\n{text}" if told else text
    elif isinstance(told, list):
        parent[name] = [*told, part]
    else:
        return False
    return True


_FORMATS: tuple[tuple[re.Pattern[str], Callable[[Request, str], bool]], ...] = (
    (re.compile(r"/chat/completions$"), chat),
    (re.compile(r"/responses$"), responses),
    (re.compile(r"/v1/messages$"), anthropic),
    (re.compile(r":(stream)?generateContent$", re.I), gemini),
    (re.compile(r"/converse(-stream)?$"), converse),
    (re.compile(r"(/invoke(-with-response-stream)?|:(stream)?rawPredict)$", re.I), invoke),
)
