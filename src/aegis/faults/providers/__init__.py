"""What providers answer when something is wrong, to the header: one file a provider (`NAME.py`), each with the sources
of its forms and the day on which they were compared. `find` decides whose form an exchange gets."""

from __future__ import annotations

import importlib
import re
from functools import lru_cache

from aegis.faults.base import Seen
from aegis.faults.providers.base import At, Limit, Provider, Reply
from aegis.suite.kinds import Choice, Key

__all__ = ["KEY", "NAMES", "At", "Limit", "Provider", "Reply", "find"]

NAMES = ("generic", "openai", "anthropic", "github", "stripe", "slack")

KEY = Key(
    "provider",
    Choice("provider", ("auto", *NAMES)),
    "Whose form the answer has; auto: told by the request's host and path, generic when nobody's",
    default="auto",
)

_HOSTS = {
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "api.github.com": "github",
    "github.com": "github",
    "api.stripe.com": "stripe",
    "slack.com": "slack",
}
_PATHS = (
    (re.compile(r"/(?:chat/completions|completions|responses|embeddings)$"), "openai"),
    (re.compile(r"/v1/messages(?:/count_tokens)?$"), "anthropic"),
    (re.compile(r"^/api/v3/repos/"), "github"),
)
"""Of the formats that others speak too: model servers, proxies, GitHub Enterprise."""


def find(name: str, seen: Seen) -> Provider:
    """The provider of this name; for `auto` the one whom this request asks."""
    return _get(_asked(seen) if name == "auto" else name)


def _asked(seen: Seen) -> str:
    host = seen.request.host
    for known, name in _HOSTS.items():
        if host == known or host.endswith(f".{known}"):
            return name
    return next((name for pattern, name in _PATHS if pattern.search(seen.path)), "generic")


@lru_cache(maxsize=16)
def _get(name: str) -> Provider:
    provider: Provider = importlib.import_module(f"aegis.faults.providers.{name}").provider
    return provider
