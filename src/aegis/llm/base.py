"""What is asked of a model, where, and what it answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Provider = Literal["openai", "anthropic"]
PROVIDERS: tuple[Provider, ...] = ("openai", "anthropic")

KEY_VARIABLES: dict[Provider, str] = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY"}
"""Environment variable of the key, by provider, where the endpoint names no other."""


@dataclass(frozen=True, slots=True)
class Message:
    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model and where it is asked. Holds the name of the key's variable, never the key."""

    model: str
    """As the endpoint knows it."""
    provider: Provider
    """Whose protocol it speaks."""
    base_url: str | None = None
    """None: the provider's own."""
    key_variable: str | None = None
    """Environment variable that holds the key; None for an endpoint that wants none."""


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer and what it took."""

    text: str
    model: str
    """The model that answered, in the provider's words."""
    data: Any = None
    """The parsed answer when a schema was asked for and the text is JSON; else None. Not checked against it."""
    input_tokens: int | None = None
    output_tokens: int | None = None
    usd: float | None = None
    """None when the model's price is unknown."""


def endpoint(
    model: str,
    *,
    provider: Provider | None = None,
    base_url: str | None = None,
    key_variable: str | None = None,
) -> Endpoint:
    """Where a model is asked, from what a suite says.

    Without a `provider`, `anthropic/…` and `claude…` are asked at Anthropic and everything else at OpenAI; an endpoint
    of one's own (`base_url`) speaks OpenAI's protocol, and its model's name is sent as written. The provider's usual
    key goes to the provider's own address only: an endpoint of one's own gets the key that `key_variable` names, or
    none.
    """
    if base_url is not None:
        return Endpoint(model, provider or "openai", base_url, key_variable)
    prefix, _, rest = model.partition("/")
    if rest and prefix in PROVIDERS and provider in (None, prefix):
        chosen: Provider = "anthropic" if prefix == "anthropic" else "openai"
        model = rest
    else:
        chosen = provider or ("anthropic" if model.startswith("claude") else "openai")
    return Endpoint(model, chosen, None, key_variable or KEY_VARIABLES[chosen])
