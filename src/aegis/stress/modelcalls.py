"""Whether a pattern of the scorer `request` may match what an agent sends to its model."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

_PATHS = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/messages",
    "/v1beta/models/model:generateContent",
    "/v1beta/models/model:streamGenerateContent",
)
_HOSTS = ("api.openai.com", "api.anthropic.com", "generativelanguage.googleapis.com", "api.mistral.ai")


def may_be_model_call(pattern: Mapping[str, Any]) -> bool:
    """By its method and its path, or without a path by its host: a host of one's own that serves a model is told by the
    path alone."""
    if not _may_match(pattern, "method", ("POST",)):
        return False
    return _may_match(pattern, "path", _PATHS) if "path" in pattern else _may_match(pattern, "host", _HOSTS)


def _may_match(pattern: Mapping[str, Any], key: str, values: tuple[str, ...]) -> bool:
    if key not in pattern:
        return True
    written = pattern[key]
    globs = list(written) if isinstance(written, list | tuple) else [written]
    return any(fnmatchcase(value.lower(), _glob(item)) for item in globs for value in values)


def _glob(text: Any) -> str:
    """Only `*` stands for others; a port says nothing here."""
    return str(text).lower().replace("[", "[[]").replace("?", "[?]").removesuffix(":443")
