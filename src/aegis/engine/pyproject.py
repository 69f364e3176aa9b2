"""Taking our own settings out of a `pyproject.toml` that goes into a sandbox: the agent must not read there
that it is being evaluated."""

from __future__ import annotations

import re
import tomllib

_OUR_HEADER = re.compile(r"^\s*\[{1,2}\s*tool\s*\.\s*aegis\s*[.\]]")
_ANY_HEADER = re.compile(r"^\s*\[")


def without_our_table(data: bytes) -> bytes:
    """The file without its `[tool.aegis]` tables. Unchanged when it has none, or when leaving them out would
    change anything else (a header-like line inside a multi-line string)."""
    try:
        text = data.decode()
        wanted = tomllib.loads(text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError):
        return data
    if "aegis" not in wanted.get("tool", {}):
        return data
    kept, ours = [], False
    for line in text.splitlines(keepends=True):
        if _ANY_HEADER.match(line):
            ours = bool(_OUR_HEADER.match(line))
        if not ours:
            kept.append(line)
    stripped = "".join(kept)
    del wanted["tool"]["aegis"]
    return stripped.encode() if _same(stripped, wanted) else data


def _same(text: str, wanted: dict[str, object]) -> bool:
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    if not wanted.get("tool"):
        wanted = {name: value for name, value in wanted.items() if name != "tool"}
    return found == wanted
