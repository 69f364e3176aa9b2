"""The state of the project's git repository, for the run document."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aegis.engine.projectfiles import run_git


def git_info(root: Path) -> dict[str, Any] | None:
    """`commit` (full hash, None before the first one), `branch` (None when detached), `dirty` (tracked
    files differ from the commit) and `prefix` (the folder in the repository, with a slash at its end unless it is its
    top); None outside of a work tree or without git."""
    inside = run_git(root, "rev-parse", "--is-inside-work-tree")
    if inside is None or inside.strip() != b"true":
        return None
    status = run_git(root, "status", "--porcelain", "--untracked-files=no")
    return {
        "commit": _text(run_git(root, "rev-parse", "--verify", "--quiet", "HEAD")),
        "branch": _text(run_git(root, "symbolic-ref", "--quiet", "--short", "HEAD")),
        "dirty": bool(status and status.strip()),
        "prefix": _text(run_git(root, "rev-parse", "--show-prefix")) or "",
    }


def _text(output: bytes | None) -> str | None:
    return None if output is None else output.decode(errors="replace").strip() or None
