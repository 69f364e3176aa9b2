"""OpenAI's chat-completions format: a step as a completion, whole or as the chunks of a stream."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from upstream.steps import Answer, MessageJson, Step, content_text

CHARS_PER_TOKEN = 4
"""A rule of thumb for English text and JSON."""
TOKENS_PER_MESSAGE = 4
RELEASE = "2025-08-07"
"""Names of models come back with their date, as real ones do."""
_WORDS_PER_CHUNK = 3
_ARGUMENT_CHARS_PER_CHUNK = 12


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer to one request. Equal requests get equal ids."""

    id: str
    model: str
    created: int
    step: Step
    usage: Mapping[str, Any]

    def whole(self) -> Any:
        """The body of an answer that is not streamed."""
        message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
        if isinstance(self.step, Answer):
            message["content"] = self.step.text
        else:
            message["tool_calls"] = [self._tool_call(json.dumps(self.step.arguments))]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self._finish_reason()}
        return {**self._head("chat.completion"), "choices": [choice], "usage": self.usage}

    def chunks(self, *, include_usage: bool) -> Iterator[str]:
        """The data of each event of a streamed answer."""
        for delta in self._deltas():
            yield self._chunk([{"index": 0, "delta": delta, "finish_reason": None}], include_usage)
        yield self._chunk([{"index": 0, "delta": {}, "finish_reason": self._finish_reason()}], include_usage)
        if include_usage:
            yield json.dumps({**self._head("chat.completion.chunk"), "choices": [], "usage": self.usage})
        yield "[DONE]"

    def _chunk(self, choices: Sequence[Any], include_usage: bool) -> str:
        usage = {"usage": None} if include_usage else {}
        return json.dumps({**self._head("chat.completion.chunk"), "choices": choices, **usage})

    def _deltas(self) -> Iterator[Mapping[str, Any]]:
        if isinstance(self.step, Answer):
            yield {"role": "assistant", "content": "", "refusal": None}
            for text in _in_pieces(self.step.text):
                yield {"content": text}
            return
        call = {"index": 0, **self._tool_call("")}
        yield {"role": "assistant", "content": None, "tool_calls": [call], "refusal": None}
        arguments = iter(json.dumps(self.step.arguments))
        while piece := "".join(islice(arguments, _ARGUMENT_CHARS_PER_CHUNK)):
            yield {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": f"chatcmpl-{self.id}", "object": kind, "created": self.created, "model": self.model}

    def _tool_call(self, arguments: str) -> dict[str, Any]:
        name = "" if isinstance(self.step, Answer) else self.step.name
        return {
            "id": f"call_{self.id[:24]}",
            "type": "function",
            "function": {"name": name, "arguments": arguments},
        }

    def _finish_reason(self) -> str:
        return "stop" if isinstance(self.step, Answer) else "tool_calls"


def complete(request: Mapping[str, Any], step: Step) -> Completion:
    """The completion of a request that was answered by `step`."""
    messages: Sequence[MessageJson] = request["messages"]
    written = json.dumps([request["model"], messages], sort_keys=True)
    said = step.text if isinstance(step, Answer) else step.name + json.dumps(step.arguments)
    prompt = sum(_tokens(_message_text(message)) + TOKENS_PER_MESSAGE for message in messages)
    prompt += _tokens(json.dumps(request["tools"])) if request.get("tools") else 0
    return Completion(
        id=hashlib.sha256(written.encode()).hexdigest()[:32],
        model=dated(str(request["model"])),
        created=int(time.time()),
        step=step,
        usage={
            "prompt_tokens": prompt,
            "completion_tokens": _tokens(said),
            "total_tokens": prompt + _tokens(said),
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
    )


def dated(model: str) -> str:
    """`gpt-5-mini` → `gpt-5-mini-2025-08-07`; a name that ends in a date stays."""
    return model if re.search(r"-\d{4}-\d{2}-\d{2}$", model) else f"{model}-{RELEASE}"


def _message_text(message: MessageJson) -> str:
    calls = message.get("tool_calls")
    return content_text(message) + (json.dumps(calls) if calls else "")


def _tokens(text: str) -> int:
    return -(-len(text) // CHARS_PER_TOKEN)


def _in_pieces(text: str) -> Iterator[str]:
    words = iter(re.findall(r"\S+\s*|\s+", text))
    while piece := "".join(islice(words, _WORDS_PER_CHUNK)):
        yield piece
