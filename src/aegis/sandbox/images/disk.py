"""Room on the disk: checked before a build, and told plainly when it runs out in the middle of one."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aegis.errors import ImageError

NO_SPACE = "No space left on device"
"""How the C library words ENOSPC: what the host's programs leave in a build's log."""


@contextmanager
def disk_errors(cache: Path, what: str, needed_bytes: int) -> Iterator[None]:
    """Turn what the file system says inside the block into `ImageError`; a full disk with how much is needed."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise no_space(cache, what, needed_bytes) from error
        place = f" ({error.filename})" if error.filename else ""
        raise ImageError(
            f"{what} failed: {error.strerror or error}{place}", fix=f"check that {cache} is writable"
        ) from error


def require_space(cache: Path, what: str, needed_bytes: int) -> None:
    """Raise `ImageError` before a build that can't fit."""
    if shutil.disk_usage(cache).free < needed_bytes:
        raise no_space(cache, what, needed_bytes)


def no_space(cache: Path, step: str, needed_bytes: int) -> ImageError:
    """The error of a full disk. `needed_bytes` is what the work takes at its peak."""
    free = shutil.disk_usage(cache).free
    return ImageError(
        f"{step}: the disk of {cache} is full ({free >> 20} MiB free, about {needed_bytes >> 20} MiB needed)",
        fix="free some space (aegis image prune), or set AEGIS_CACHE_DIR to a folder on a larger disk",
    )
