"""The cache folder: where it is, its locks, and folders for work in progress.

A build works in a staging folder below `CACHE/tmp` and is published by one rename, so that a reader sees a finished
result or none. Each staging folder holds a lock for as long as its owner lives; what a killed build left behind is
recognised by its free lock and removed by the next build.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from aegis.errors import ImageError

Progress = Callable[[str], None]


def cache_folder(explicit: Path | None = None) -> Path:
    """`explicit`, else `$AEGIS_CACHE_DIR`, else `$XDG_CACHE_HOME/aegis`, else `~/.cache/aegis`; absolute, not made."""
    if explicit is not None:
        return explicit.absolute()
    if named := os.environ.get("AEGIS_CACHE_DIR"):
        return Path(named).absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache").absolute() / "aegis"


def quiet(_: str) -> None:
    """The `Progress` that says nothing."""


@contextmanager
def exclusive(path: Path, *, what: str, progress: Progress = quiet) -> Iterator[None]:
    """Hold the file lock `path` (made when absent). Waits for another process, saying so through `progress` once."""
    make_folder(path.parent)
    with path.open("ab") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(f"waiting for another process that works on {what}")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def is_locked(path: Path) -> bool:
    """Whether somebody holds the file lock `path` at this moment."""
    try:
        with path.open("ab") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def size_of(path: Path) -> int:
    """Bytes that a file, or a folder with all below it, takes on the disk."""
    paths = [path, *path.rglob("*")] if path.is_dir() and not path.is_symlink() else [path]
    return sum(found.lstat().st_blocks * 512 for found in paths)


def make_folder(path: Path) -> Path:
    """Make a folder of the cache. Raises `ImageError` when the cache can't be written."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(
            f"cannot make {path}: {error.strerror}",
            fix="make it writable, or set AEGIS_CACHE_DIR to a folder with space that you own",
        ) from error
    return path


@contextmanager
def staging(cache: Path, name: str) -> Iterator[Path]:
    """A new folder to build in, on the file system of the cache; removed with everything in it at the end.

    Move what is finished out of it with `publish` first.
    """
    parent = make_folder(cache / "tmp")
    with exclusive(cache / "locks/tmp", what="the cache"):
        _remove_abandoned(parent)
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=parent))
        handle = (folder / ".lock").open("ab")
        fcntl.flock(handle, fcntl.LOCK_EX)
    with handle:
        try:
            yield folder
        finally:
            remove_tree(folder)


def publish(source: Path, target: Path) -> None:
    """Make the finished folder `source` appear as `target` in one step; an existing `target` is replaced."""
    make_folder(target.parent)
    if target.exists():
        # Only a damaged or forced-over result is replaced, always under the lock of its name.
        remove_tree(target)
    source.rename(target)


def touch(folder: Path) -> None:
    """Note that a result was used now: `prune` goes by it. A cache that can't be written is left as it is."""
    try:
        os.utime(folder)
    except OSError:
        return


def write_atomically(path: Path, data: bytes) -> None:
    """Write a small file so that a reader sees the old or the new content whole."""
    make_folder(path.parent)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            os.fchmod(stream.fileno(), 0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def remove_tree(folder: Path) -> None:
    """Remove a folder; what belongs to the ids of an unprivileged user namespace is removed from inside one."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists() and os.geteuid() != 0 and shutil.which("unshare"):
        subprocess.run(
            ["unshare", "--user", "--map-root-user", "--map-auto", "rm", "-rf", "--", str(folder)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )


def _remove_abandoned(parent: Path) -> None:
    for folder in parent.iterdir():
        try:
            with (folder / ".lock").open("ab") as handle:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove_tree(folder)
        except BlockingIOError:
            continue
        except OSError:
            remove_tree(folder)
