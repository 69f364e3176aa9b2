"""Endpoints of OpenAI's chat completions, OpenAI's own and every compatible server's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aegis.errors import InfrastructureError
from aegis.llm.base import Endpoint, Message
from aegis.llm.client import RefusedError


async def ask(
    endpoint: Endpoint,
    key: str | None,
    system: str,
    messages: Sequence[Message],
    schema: dict[str, Any] | None,
    options: dict[str, Any],
) -> dict[str, Any]:
    """See `client.Backend`."""
    import openai

    request: dict[str, Any] = {
        "model": endpoint.model,
        "messages": [
            {"role": "system", "content": system},
            *({"role": message.role, "content": message.text} for message in messages),
        ],
    }
    if "max_tokens" in options:
        # OpenAI's reasoning models know only the newer name; other servers often only the older one.
        name = "max_completion_tokens" if endpoint.base_url is None else "max_tokens"
        request[name] = options["max_tokens"]
    for name in ("temperature", "seed"):
        if name in options:
            request[name] = options[name]
    if schema is not None:
        named = {"name": "answer", "schema": schema, "strict": True}
        request["response_format"] = {"type": "json_schema", "json_schema": named}
    client = openai.AsyncOpenAI(
        # An endpoint without a key still gets a header: the library insists on one.
        api_key=key or "none",
        base_url=endpoint.base_url or "https://api.openai.com/v1",
        timeout=options["timeout_s"],
        max_retries=options["retries"],
    )
    try:
        async with client:
            answer = await client.chat.completions.create(**request)
    except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
        raise RefusedError(error.message) from None
    except (openai.OpenAIError, ValueError) as error:
        where = endpoint.base_url or "OpenAI"
        raise InfrastructureError(
            f"no answer from the model {endpoint.model!r} at {where}: {type(error).__name__}: {error}"
        ) from None
    return _read(endpoint, answer)


def _read(endpoint: Endpoint, answer: Any) -> dict[str, Any]:
    choices = getattr(answer, "choices", None)
    if not choices or choices[0].message is None:
        # The library checks little: an answer of another form comes through as text, or with fields missing.
        raise InfrastructureError(f"the model {endpoint.model!r} answered without any content")
    usage = answer.usage
    details = getattr(usage, "prompt_tokens_details", None)
    return {
        "text": choices[0].message.content or choices[0].message.refusal or "",
        "model": answer.model,
        "input_tokens": getattr(usage, "prompt_tokens", None),
        "output_tokens": getattr(usage, "completion_tokens", None),
        "cached_tokens": getattr(details, "cached_tokens", None),
    }
