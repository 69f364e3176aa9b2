"""Patterns of hosts and paths: `*` stands for any characters (also none, also `/`), everything else for itself."""

from __future__ import annotations

import re
from functools import lru_cache


def matches(pattern: str, text: str) -> bool:
    """Whether the pattern matches the whole text."""
    return _compiled(pattern).fullmatch(text) is not None


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    # Several stars in a row are one: `.*.*.*` would take its time over a long path.
    parts = [re.escape(part) for part in re.split(r"\*+", pattern)]
    return re.compile(".*".join(parts), re.S)
