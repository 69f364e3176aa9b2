"""What the assistant remembers of its user: `~/.config/desk/settings.json`."""

from __future__ import annotations

import json
from pathlib import Path


def _file() -> Path:
    return Path.home() / ".config" / "desk" / "settings.json"


def read() -> dict[str, str]:
    """Empty for a user whom it does not know yet."""
    try:
        known: dict[str, str] = json.loads(_file().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return known


def remember_name(name: str) -> str:
    known = {**read(), "name": name}
    _file().parent.mkdir(parents=True, exist_ok=True)
    _file().write_text(json.dumps(known), encoding="utf-8")
    return f"Nice to meet you, {name}. I'll remember that."
