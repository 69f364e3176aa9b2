"""The transforms by name, and the named sets of them."""

from __future__ import annotations

import importlib
from functools import lru_cache

from aegis.errors import UsageError
from aegis.stress.base import Transform
from aegis.suite.problems import did_you_mean

NAMES: tuple[str, ...] = (
    "deep-conversation",
    "shard-turns",
    "bloated-tools",
    "truncated-tools",
    "distractors",
    "conflicting-instructions",
    "tool-injection",
    "malformed-input",
    "empty-and-huge",
)
"""In the documentation's order. The transform `shard-turns` is `transform` in this package's module `shard_turns`."""

SETS: dict[str, tuple[str, ...]] = {"production": NAMES}
"""Name → transforms, each with its usual levels."""


@lru_cache(maxsize=64)
def get(name: str) -> type[Transform]:
    """The transform of this name. Raises `UsageError` when there is none."""
    if name not in NAMES:
        known = (*NAMES, *SETS)
        raise UsageError(
            f"unknown transform {name!r}{did_you_mean(name, known)}", fix=f"there are: {', '.join(known)}"
        )
    module = importlib.import_module(f"aegis.stress.{name.replace('-', '_')}")
    transform: type[Transform] = module.transform
    return transform
