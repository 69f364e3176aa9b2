"""Texts and files that a step of GitHub Actions leaves: its outputs, its summary, workflow commands."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path

SUMMARY_MAX_BYTES = 1_024_000
"""GitHub refuses a longer summary of a step altogether."""
SUMMARY_MIN_BYTES = 16_000
"""What a report needs at least."""
COMMENT_MAX_BYTES = 64_000
"""GitHub's limit is 65,536 characters."""


def append(path: Path, text: str) -> None:
    """Add the text to a file, which is made when there is none. Raises `OSError`."""
    with path.open("ab") as file:
        file.write(text.encode("utf-8", "backslashreplace"))


def size(path: Path) -> int:
    """Bytes; 0 when there is no file."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def assignments(values: Mapping[str, str]) -> str:
    """Lines for `$GITHUB_OUTPUT` (or `$GITHUB_ENV`). A value can't end its own: the delimiter is new and random."""
    lines = []
    for name, value in values.items():
        delimiter = f"end-{secrets.token_hex(16)}"
        while delimiter in value:
            delimiter = f"end-{secrets.token_hex(16)}"
        lines.append(f"{name}<<{delimiter}\n{value}\n{delimiter}\n")
    return "".join(lines)


def command(kind: str, message: str, *, title: str = "Aegis") -> str:
    """A workflow command (`error`, `warning`, `notice`) with nothing in it that could be taken for another one."""
    escaped = _data(title).replace(":", "%3A").replace(",", "%2C")
    return f"::{kind} title={escaped}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
