"""Asking a model: the choice of the library, the key, retries, and what went wrong in words that help."""

from __future__ import annotations

import importlib.util
import json
import os
import re
from collections.abc import Sequence
from typing import Any, Protocol

from aegis.errors import HostNeedsError, InfrastructureError
from aegis.llm.base import Completion, Endpoint, Message
from aegis.trace import prices

TIMEOUT_S = 120.0
"""Of one attempt."""
RETRIES = 3
"""Of the client library: after connection errors, 408, 409, 429 and 5xx, with growing pauses."""
MAX_TOKENS = 4096

_FENCED = re.compile(r"```(?:json)?\s*\n(.*?)```", re.S)


class Backend(Protocol):
    """A module of this package that speaks one provider's protocol."""

    async def ask(
        self,
        endpoint: Endpoint,
        key: str | None,
        system: str,
        messages: Sequence[Message],
        schema: dict[str, Any] | None,
        options: dict[str, Any],
    ) -> dict[str, Any]:
        """The fields of `Completion` that the provider tells, and `cached_tokens`, `cache_write_tokens`. Raises
        `RefusedError`, or `InfrastructureError`."""


class RefusedError(Exception):
    """The endpoint refused the request as it was put (HTTP status 400 or 422)."""


def problem(endpoint: Endpoint) -> str | None:
    """Why this endpoint cannot be asked from here, or None: the library or the key is missing. Sends nothing."""
    if importlib.util.find_spec(endpoint.provider) is None:
        return f"needs the Python package {endpoint.provider!r}: pip install 'aegis-evals[judge]'"
    if endpoint.key_variable is not None and not os.environ.get(endpoint.key_variable):
        return f"needs the environment variable {endpoint.key_variable} for the model {endpoint.model!r}"
    return None


async def complete(
    endpoint: Endpoint,
    system: str,
    messages: Sequence[Message],
    *,
    schema: dict[str, Any] | None = None,
    temperature: float | None = 0.0,
    seed: int | None = None,
    max_tokens: int = MAX_TOKENS,
    timeout_s: float = TIMEOUT_S,
    retries: int = RETRIES,
) -> Completion:
    """One answer. With a `schema` (JSON Schema of an object) structured output is asked for as strictly as the endpoint
    can, and `data` is the parsed answer, or None when it is not JSON.

    An endpoint that refuses an option (some models take no temperature, some servers no schema) is asked again without
    it; a `seed` is sent by OpenAI's protocol only, the other one has none. Raises `HostNeedsError` when the library or
    the key is missing, `InfrastructureError` when no answer came. Keys are read from the environment here and appear in
    no message.
    """
    if lack := problem(endpoint):
        raise HostNeedsError(f"the model {endpoint.model!r} cannot be asked: it {lack}")
    key = os.environ[endpoint.key_variable] if endpoint.key_variable else None
    options: dict[str, Any] = {"max_tokens": max_tokens, "timeout_s": timeout_s, "retries": retries}
    for name, value in (("temperature", temperature), ("seed", seed)):
        if value is not None:
            options[name] = value
    backend = _backend(endpoint)
    told = await _ask(backend, endpoint, key, system, messages, schema, options)
    return _completion(endpoint, told, schema is not None)


async def _ask(
    backend: Backend,
    endpoint: Endpoint,
    key: str | None,
    system: str,
    messages: Sequence[Message],
    schema: dict[str, Any] | None,
    options: dict[str, Any],
) -> dict[str, Any]:
    if schema is not None:
        system = f"{system}\n\nAnswer with one JSON object of this JSON Schema and nothing else:\n{json.dumps(schema)}"
    for _ in range(5):
        try:
            return await backend.ask(endpoint, key, system, messages, schema, options)
        except RefusedError as refused:
            words = _without(str(refused), key)
            if named := [name for name in ("temperature", "seed") if name in options and name in words]:
                options = {name: value for name, value in options.items() if name not in named}
            elif "max_tokens" in options and "max_tokens" in words and endpoint.provider == "openai":
                options = {name: value for name, value in options.items() if name != "max_tokens"}
            elif schema is not None:
                schema = None
            else:
                raise InfrastructureError(
                    f"the model {endpoint.model!r} refused the request: {words}"
                ) from None
        except InfrastructureError as error:
            raise InfrastructureError(_without(str(error), key), fix=error.fix) from None
    raise InfrastructureError(f"the model {endpoint.model!r} refused the request in every form")


def _completion(endpoint: Endpoint, told: dict[str, Any], structured: bool) -> Completion:
    cached = {name: told.pop(name, None) for name in ("cached_tokens", "cache_write_tokens")}
    tokens = {name: told.get(name) for name in ("input_tokens", "output_tokens")}
    model = told.get("model") or endpoint.model
    url = own_url(endpoint)
    found = (prices.price(name, **tokens, **cached, url=url) for name in (model, endpoint.model))
    usd = next((price for price in found if price is not None), None)
    data = told.pop("data", None)
    if structured and data is None:
        data = parse_object(told["text"])
    return Completion(told["text"], model, data, told.get("input_tokens"), told.get("output_tokens"), usd)


def own_url(endpoint: Endpoint) -> str:
    """The address that a price depends on: the endpoint's own, or its provider's."""
    own = {"openai": "https://api.openai.com/v1", "anthropic": "https://api.anthropic.com"}
    return endpoint.base_url or own[endpoint.provider]


def parse_object(text: str) -> Any:
    """The JSON object in an answer, also inside a fenced block or with words around it; None when there is none."""
    fenced = _FENCED.search(text)
    start, end = text.find("{"), text.rfind("}")
    for part in (text, fenced[1] if fenced else "", text[start : end + 1] if 0 <= start < end else ""):
        try:
            value = json.loads(part)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            return value
    return None


def _backend(endpoint: Endpoint) -> Backend:
    # The modules are named apart from the libraries that they use, which are imported when something is asked.
    if endpoint.provider == "anthropic":
        from aegis.llm import with_anthropic

        return with_anthropic
    from aegis.llm import with_openai

    return with_openai


def _without(text: str, key: str | None) -> str:
    """Some servers quote the key that they refuse."""
    words = " ".join(text.split())[:500]
    return words.replace(key, "(key)") if key else words
