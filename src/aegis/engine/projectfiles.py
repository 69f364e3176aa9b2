"""Which files of a project belong to it: what git would track, or everything that is not plainly
generated."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

GENERATED = frozenset({".git", ".aegis", ".venv", "__pycache__", "node_modules"})
_GIT_TIMEOUT_S = 60.0


def run_git(folder: Path, *args: str) -> bytes | None:
    """Standard output of a git command in `folder`; None without git, outside a work tree, or when it
    fails."""
    # Inside a git hook these variables point at the repository of the hook, whatever the working directory.
    hook_variables = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")
    env = {name: value for name, value in os.environ.items() if name not in hook_variables}
    # A checkout owned by another user is common in CI containers; fsmonitor would run a program of the
    # repository's.
    options = ("-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-c", "core.quotepath=off")
    try:
        done = subprocess.run(
            ["git", *options, *args],
            cwd=folder,
            env={**env, "GIT_OPTIONAL_LOCKS": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_GIT_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def files_below(root: Path, source: PurePosixPath) -> Iterator[PurePosixPath]:
    """Files and symbolic links below `source` (relative to `root`), as paths relative to `root`, unordered.

    In a git work tree git-ignored files are left out, unless all of `source` is ignored: naming a folder of
    build products asks for them.
    """
    listed = run_git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", str(source))
    names = [] if listed is None else [os.fsdecode(name) for name in listed.split(b"\0") if name]
    if not names:
        yield from _walk(root, source)
        return
    for name in names:
        path = PurePosixPath(name)
        on_disk = root / path
        if on_disk.is_dir() and not on_disk.is_symlink():
            yield from _nested(root, path)
        elif on_disk.is_symlink() or on_disk.is_file():  # a file deleted from disk is still listed
            yield path


def _nested(root: Path, folder: PurePosixPath) -> Iterator[PurePosixPath]:
    """A submodule or a checkout inside the checkout: git lists the folder only."""
    for path in files_below(root / folder, PurePosixPath(".")):
        yield folder / path


def _walk(root: Path, source: PurePosixPath) -> Iterator[PurePosixPath]:
    for folder, folders, files in os.walk(root / source):
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        folders[:] = [name for name in folders if name not in GENERATED and name not in links]
        here = PurePosixPath(os.path.relpath(folder, root))
        for name in (*files, *links):
            path = root / here / name
            if path.is_symlink() or path.is_file():
                yield here / name
