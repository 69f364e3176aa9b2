"""The wire formats of model providers, one file each: which exchanges are theirs, and what is in them.

A format is known by its paths and the shape of its bodies, never by the host alone: compatible servers, clouds and
companies' own gateways speak it at hosts of their own. Adding one: a module with `NAME`, `claims` and `read` as in
`base.Format`, and its name in `FORMATS`.
"""

from __future__ import annotations

from aegis.trace.formats import anthropic_messages, gemini, openai_chat, openai_responses
from aegis.trace.formats.base import Format, Reading
from aegis.trace.message import Message

FORMATS: tuple[Format, ...] = (gemini, anthropic_messages, openai_responses, openai_chat)
"""Asked in this order; the first one that claims an exchange reads it."""


def format_of(message: Message) -> Format | None:
    """The format whose request this is; None for everything that is no call of a model."""
    if not message.is_post:
        return None
    return next((candidate for candidate in FORMATS if candidate.claims(message)), None)


__all__ = ["FORMATS", "Format", "Reading", "format_of"]
