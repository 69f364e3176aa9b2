"""A run document as annotations of lines: GitHub's workflow commands, GitLab's code quality report."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any


def _failed(document: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    prefix = (document["git"] or {}).get("prefix", "")
    bad = {trial["case"] for trial in document["trials"] if trial["outcome"] in ("failed", "timeout")}
    return [
        (entry["case"], f"{prefix}{entry['file'] or ''}", entry["line"] or 1)
        for entry in document["cases"]
        if entry["case"] in bad
    ]


def github(document: Mapping[str, Any], limit: int = 10) -> list[str]:
    def escaped(text: str) -> str:
        return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")

    return [
        f"::error file={escaped(file).replace(':', '%3A').replace(',', '%2C')},line={line}::{escaped(case)} failed"
        for case, file, line in _failed(document)[:limit]
    ]


def gitlab_codequality(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "description": f"{case} failed",
            "check_name": "aegis",
            "fingerprint": hashlib.sha256(case.encode()).hexdigest(),
            "severity": "major",
            "location": {"path": file, "lines": {"begin": line}},
        }
        for case, file, line in _failed(document)
    ]
