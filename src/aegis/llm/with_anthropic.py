"""Endpoints of Anthropic's messages. Structured output is a tool that the model must call: every version of the API and
every gateway in front of it knows that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aegis.errors import InfrastructureError
from aegis.llm.base import Endpoint, Message
from aegis.llm.client import RefusedError

_TOOL = "answer"


async def ask(
    endpoint: Endpoint,
    key: str | None,
    system: str,
    messages: Sequence[Message],
    schema: dict[str, Any] | None,
    options: dict[str, Any],
) -> dict[str, Any]:
    """See `client.Backend`."""
    import anthropic

    request: dict[str, Any] = {
        "model": endpoint.model,
        "system": system,
        "messages": [{"role": message.role, "content": message.text} for message in messages],
        "max_tokens": options["max_tokens"],
    }
    if "temperature" in options:
        # Newer versions of the library have no argument for it; the API still takes it for the models that know it.
        request["extra_body"] = {"temperature": options["temperature"]}
    if schema is not None:
        request["tools"] = [{"name": _TOOL, "description": "Give the answer.", "input_schema": schema}]
        request["tool_choice"] = {"type": "tool", "name": _TOOL}
    client = anthropic.AsyncAnthropic(
        api_key=key or "none",
        base_url=endpoint.base_url or "https://api.anthropic.com",
        timeout=options["timeout_s"],
        max_retries=options["retries"],
    )
    try:
        async with client:
            answer = await client.messages.create(**request)
    except (anthropic.BadRequestError, anthropic.UnprocessableEntityError) as error:
        raise RefusedError(error.message) from None
    except (anthropic.AnthropicError, ValueError) as error:
        where = endpoint.base_url or "Anthropic"
        raise InfrastructureError(
            f"no answer from the model {endpoint.model!r} at {where}: {type(error).__name__}: {error}"
        ) from None
    return _read(endpoint, answer)


def _read(endpoint: Endpoint, answer: Any) -> dict[str, Any]:
    usage = getattr(answer, "usage", None)
    if usage is None or not isinstance(getattr(answer, "content", None), list):
        # The library checks little: an answer of another form comes through as text, or with fields missing.
        raise InfrastructureError(f"the model {endpoint.model!r} answered without any content")
    read = usage.cache_read_input_tokens or 0
    written = usage.cache_creation_input_tokens or 0
    given = [block.input for block in answer.content if block.type == "tool_use" and block.name == _TOOL]
    return {
        "text": "\n".join(block.text for block in answer.content if block.type == "text"),
        "model": answer.model,
        "data": given[0] if given and isinstance(given[0], dict) else None,
        "input_tokens": usage.input_tokens + read + written,
        "output_tokens": usage.output_tokens,
        "cached_tokens": read or None,
        "cache_write_tokens": written or None,
    }
