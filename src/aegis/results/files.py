"""Files that users asked for by name (`--json`, `--junit-xml`)."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from pathlib import Path

from aegis.errors import InfrastructureError, UsageError


def write_atomic(path: Path | str, data: bytes) -> None:
    """Write a file so that it holds the old bytes or all of the new ones at any moment.

    A symbolic link is followed, not replaced; a device or pipe (`/dev/stdout`) is written to in place. The
    mode of an existing file is kept, a new one follows the umask. Raises `UsageError` when the path cannot be
    written (its folder is missing, it is a folder, permission), and `InfrastructureError` when the disk is
    full or broken.
    """
    target = Path(os.path.realpath(path))
    try:
        mode = _mode(target)
        if mode is not None and stat.S_ISDIR(mode):
            raise UsageError(f"cannot write {path}: it is a folder", fix="name a file in it")
        if mode is not None and not stat.S_ISREG(mode):
            target.write_bytes(data)
        else:
            _replace(target, data, mode)
    except OSError as error:
        raise _explain(path, target, error) from error


def _mode(target: Path) -> int | None:
    try:
        return target.stat().st_mode
    except FileNotFoundError:
        return None


def _replace(target: Path, data: bytes, mode: int | None) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{target.name[:100]}.", suffix=".part", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            # mkstemp makes private files; a report that other users of a build host cannot read surprises
            # them.
            os.fchmod(file.fileno(), stat.S_IMODE(mode) if mode is not None else 0o666 & ~_umask())
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def _umask() -> int:
    # The umask can only be read by setting it, which other threads would notice; the kernel shows it here
    # instead.
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("Umask:")).split()[1], 8)
    return 0o022


def _explain(path: Path | str, target: Path, error: OSError) -> UsageError | InfrastructureError:
    what = f"cannot write {path}: {error.strerror or error}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG):
        return InfrastructureError(what, fix="free some space, or name a path on another disk")
    if not target.parent.exists():
        return UsageError(
            f"cannot write {path}: the folder {target.parent} does not exist",
            fix=f"mkdir -p {target.parent}",
        )
    return UsageError(what, fix="name a path in a folder that you may write to")
