"""Aegis: evaluate LLM agents under production conditions.

Public names: `eval` (`aegis.eval.run`, `aegis.eval.arun`), `__version__`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aegis._version import __version__

if TYPE_CHECKING:
    from aegis import eval as eval

__all__ = ["__version__", "eval"]


def __getattr__(name: str) -> Any:
    # `aegis.eval` pulls in pydantic and SQLAlchemy: loaded on first use, so that `aegis --version` stays cheap.
    if name == "eval":
        import importlib

        return importlib.import_module("aegis.eval")
    raise AttributeError(f"module 'aegis' has no attribute {name!r}")
