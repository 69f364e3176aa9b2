"""Answers kept by the content of the question, so that the same question is paid for once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol


class AnswerCache(Protocol):
    """Values (JSON mappings) by key. May forget at any time; must not make anything up."""

    def get(self, key: str) -> dict[str, Any] | None:
        """The value, or None when it is not there or cannot be read."""

    def put(self, key: str, value: Mapping[str, Any]) -> None:
        """Keep the value. A cache that cannot keep it says nothing: the answer is at hand anyway."""


class FolderCache:
    """One file for each value, in a folder that is made with the first one. Any number of processes may use it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: str) -> dict[str, Any] | None:
        try:
            value = json.loads(self._path(key).read_bytes())
        except (OSError, ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None

    def put(self, key: str, value: Mapping[str, Any]) -> None:
        path = self._path(key)
        temporary = path.with_name(f"{path.name}.{secrets.token_hex(6)}")
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                temporary.write_bytes(json.dumps(dict(value)).encode("ascii"))
                os.replace(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        digest = hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()
        return self._folder / digest[:2] / f"{digest[2:]}.json"


def key_of(*parts: Any) -> str:
    """A key for what all these parts (JSON values) together determine."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode("ascii")).hexdigest()
