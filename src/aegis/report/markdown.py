"""A run document as Markdown: the summary of a step, the comment on a pull request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def marker(suite: str) -> str:
    """The hidden first line by which a suite's comment is found again."""
    safe = "".join(c if c.isalnum() or c in "._" else f"%{ord(c):x}" for c in suite)
    return f"<!-- aegis:{safe} -->"


def summary(document: Mapping[str, Any], *, max_bytes: int) -> str:
    failed = {trial["case"]: trial["outcome"] for trial in document["trials"] if trial["outcome"] != "passed"}
    text = f"## Aegis: {document['suite']}\n\n**{document['result']}**\n\n"
    text += "".join(f"- {case}: {outcome}\n" for case, outcome in failed.items())
    return text.encode()[:max_bytes].decode("utf-8", "ignore")


def comment(document: Mapping[str, Any], *, max_bytes: int) -> str:
    head = marker(document["suite"]) + "\n"
    return head + summary(document, max_bytes=max_bytes - len(head.encode()))
