"""Requests that ask a language model, told by method and path alone: before there is an answer."""

from __future__ import annotations

import re

_PATH = re.compile(
    r"""( /chat/completions | /completions | /responses | /embeddings    # OpenAI and what speaks its formats
        | /v1/messages                                                   # Anthropic
        | :(?:stream)?(?:[gG]enerateContent|rawPredict|RawPredict|GenerateContent)  # Gemini, Vertex AI
        | /model/[^/]+/(?:invoke|converse)(?:-with-response-stream|-stream)?          # Bedrock
        )$""",
    re.X,
)


def asks_a_model(method: str, path: str) -> bool:
    """Whether a request to this path (without its query) is one of the providers' model calls."""
    return method == "POST" and _PATH.search(path) is not None
