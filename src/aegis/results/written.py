"""Writing files whose names a machine chose below a folder of this host."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from aegis.errors import UsageError

MAX_DEPTH = 64
_SHOWN = 3


def write_below(
    folder: Path, files: Mapping[str, str], chunks: Callable[[str], Iterable[bytes]], *, force: bool = False
) -> None:
    """Write each file (absolute path → digest) at its path below `folder`, which is made when it is not there.

    No path leads out of the folder: not by `..`, and not by a link that lies in it. Without `force` nothing is written
    when one of them is there already; with it, what is there is replaced by a new file. Raises `UsageError`, and what
    `chunks` raises; a file is there whole or not at all.
    """
    places = {path: _parts(path) for path in files}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"cannot write to {folder}: {error.strerror}", fix="name another folder") from None
    try:
        if not force:
            _refuse_present(folder, root, places)
        for path, parts in places.items():
            try:
                _write(root, parts, chunks(files[path]), replace=force)
            except OSError as error:
                raise UsageError(
                    f"cannot write {folder.joinpath(*parts)}: {error.strerror}", fix="name a new folder"
                ) from None
    finally:
        os.close(root)


def _parts(path: str) -> tuple[str, ...]:
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if not parts or ".." in parts or "\0" in path or len(parts) > MAX_DEPTH:
        raise UsageError(f"{path[:80]!a} is no path that can be written", fix="the ledger was changed")
    return parts


def _refuse_present(folder: Path, root: int, places: Mapping[str, tuple[str, ...]]) -> None:
    there = [parts for parts in places.values() if _is_there(root, parts)]
    if there:
        named = ", ".join(str(folder.joinpath(*parts)) for parts in there[:_SHOWN])
        more = f" and {len(there) - _SHOWN} more" if len(there) > _SHOWN else ""
        raise UsageError(
            f"there already: {named}{more}; nothing was written", fix="name a new folder, or add --force"
        )


def _is_there(root: int, parts: tuple[str, ...]) -> bool:
    try:
        with _parent(root, parts, make=False) as parent:
            os.stat(parts[-1], dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    except OSError:  # a link or a file stands where a folder must be
        return True
    return True


@contextlib.contextmanager
def _parent(root: int, parts: tuple[str, ...], *, make: bool) -> Iterator[int]:
    """The folder of a path, reached without following a link."""
    current = os.dup(root)
    try:
        for part in parts[:-1]:
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, dir_fd=current)
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            following = os.open(part, flags, dir_fd=current)
            os.close(current)
            current = following
        yield current
    finally:
        os.close(current)


def _write(root: int, parts: tuple[str, ...], chunks: Iterable[bytes], *, replace: bool) -> None:
    with _parent(root, parts, make=True) as parent:
        temporary = f".{secrets.token_hex(8)}.part"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(temporary, flags, 0o644, dir_fd=parent), "wb") as file:
                for chunk in chunks:
                    file.write(chunk)
            if replace:  # a link there is replaced, not followed
                os.rename(temporary, parts[-1], src_dir_fd=parent, dst_dir_fd=parent)
            else:
                os.link(temporary, parts[-1], src_dir_fd=parent, dst_dir_fd=parent)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=parent)
