"""The host's own calls of models (the judge, the simulated user): a thin face over the providers' own client
libraries, `openai` and `anthropic` (optional: `pip install aegis-evals[judge]`).

Public names: `complete`, `Endpoint`, `Completion`, `Message` (client.py), `AnswerCache`, `FolderCache` (cache.py).
Agents never come through here: their traffic is their own.
"""

from typing import TYPE_CHECKING, Any

from aegis.llm.base import Completion, Endpoint, Message

if TYPE_CHECKING:
    from aegis.llm.cache import AnswerCache, FolderCache
    from aegis.llm.client import complete

__all__ = ["AnswerCache", "Completion", "Endpoint", "FolderCache", "Message", "complete"]

_HOMES = {"AnswerCache": "cache", "FolderCache": "cache", "complete": "client"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
