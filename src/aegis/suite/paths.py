"""Paths of the guest and of the project, as a suite may write them."""

from __future__ import annotations

import os
import posixpath
from pathlib import Path

WORKSPACE = "/workspace"
"""What relative guest paths are relative to (the same as `aegis.sandbox.base.WORKSPACE`, which is out of
reach here)."""

EXPECTED_GUEST_PATH = "a path in the sandbox such as orders.json or /etc/app.conf"
GUEST_PATH_PATTERN = r"^(?!(.*/)?\.\.(/|$))(?!/*$)[^\u0000]+$"
"""What editors check: not empty, no `..`, not the root. `guest_path` checks more."""

_KERNEL_FOLDERS = ("/proc", "/sys", "/dev")


def guest_path(text: str) -> str:
    """The absolute, normalised guest path: `out/../x` is refused, `./a//b` is `/workspace/a/b`, `a/` keeps
    its slash.

    Raises `ValueError` (`expected …, got …`) for an empty path, `..`, NUL, `~`, the root folder, and the
    kernel's own folders.
    """
    if not text or "\0" in text:
        raise ValueError(f"expected {EXPECTED_GUEST_PATH}, got {text[:60]!r}")
    if ".." in text.split("/"):
        raise ValueError(f"expected {EXPECTED_GUEST_PATH}, got {text[:60]!r} ('..' is not allowed)")
    if text.split("/")[0].startswith("~"):
        raise ValueError(
            f"expected {EXPECTED_GUEST_PATH}, got {text[:60]!r} ('~' is not expanded: write the folder)"
        )
    # Joined by hand: normpath keeps a leading double slash, which POSIX leaves undefined.
    path = "/" + posixpath.normpath(posixpath.join(WORKSPACE, text)).lstrip("/")
    if path == "/":
        raise ValueError(f"expected {EXPECTED_GUEST_PATH}, got {text[:60]!r}, the root folder")
    if path.startswith(tuple(f"{folder}/" for folder in _KERNEL_FOLDERS)) or path in _KERNEL_FOLDERS:
        raise ValueError(f"expected {EXPECTED_GUEST_PATH}, got {text[:60]!r}, which belongs to the kernel")
    # Kept: it says that the source goes into this folder (`exact_target`).
    return f"{path}/" if text.endswith("/") else path


def exact_target(target: str, source: Path) -> str:
    """Where exactly a source lies in the sandbox: a file that goes to a folder keeps its name there."""
    if source.is_dir() or not (target.endswith("/") or target == WORKSPACE):
        return target.rstrip("/")
    return posixpath.join(target, source.resolve().name if source.name in ("", "..") else source.name)


def source_problem(text: str, *, base: Path, root: Path, folder_ok: bool) -> str | None:
    """What is wrong with a file of the project that a suite names, relative to `base`; None when it can be
    used.

    It must exist, be readable, be a regular file (or a folder where `folder_ok`), and stand below `root` once
    symbolic links are followed: a suite takes nothing from the host that isn't in the project.
    """
    if not text or "\0" in text:
        return f"expected a path in the project, got {text[:60]!r}"
    if os.path.isabs(text) or text.startswith("~"):
        return f"expected a path relative to {_folder(base, root)}, got {text!r}"
    path = base / text
    try:
        real, real_root = os.path.realpath(path), os.path.realpath(root)
        if real != real_root and not real.startswith(real_root.rstrip("/") + "/"):
            return f"{text!r} leads out of the project: copy the file into it"
        if not os.path.exists(real):
            return f"{text!r} does not exist (looked for {_shown(path, root)})"
        if os.path.isdir(real):
            return None if folder_ok else f"{text!r} is a folder, not a file"
        if not os.path.isfile(real):
            return f"{text!r} is not a regular file"
        if not os.access(real, os.R_OK):
            return f"{text!r} cannot be read: permission denied"
    except (OSError, ValueError) as error:
        return f"{text!r} cannot be read: {error}"
    return None


def shown_path(path: Path, root: Path) -> str:
    """How a file is named to people: relative to the project root when inside it, else absolute."""
    absolute, base = os.path.abspath(path), os.path.abspath(root)
    inside = absolute.startswith(base.rstrip("/") + "/")
    text = os.path.relpath(absolute, base) if inside else absolute
    # A name with bytes that are no UTF-8 arrives as lone surrogates, which could not be printed or stored.
    return text.encode("utf-8", "replace").decode("utf-8")


def _shown(path: Path, root: Path) -> str:
    return shown_path(Path(os.path.normpath(path)), root)


def _folder(base: Path, root: Path) -> str:
    return (
        "the project's folder"
        if os.path.abspath(base) == os.path.abspath(root)
        else f"the folder {shown_path(base, root)}"
    )
