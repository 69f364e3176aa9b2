"""Who is running a run: a lock file that the kernel releases when its holder dies, however it dies.

`FOLDER/RUN.lock` exists while a process runs the run. A file without a holder is what a killed process left
behind.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from pathlib import Path

from aegis.errors import LedgerError, UsageError

CLAIM_RETRY_S = 1.0


class RunLocks:
    """The locks that this object holds, and questions about those of others."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._held: dict[str, int] = {}

    def claim(self, run_id: str) -> None:
        """Take the run for this process. Raises `UsageError` when a living process has it, `LedgerError` when
        the lock file cannot be made. Claiming one's own run again changes nothing."""
        if run_id in self._held:
            return
        path = self._path(run_id)
        # A question by `alive` holds the lock for a moment: it must not look like an owner.
        deadline = time.monotonic() + CLAIM_RETRY_S
        while (handle := self._try(path)) is None:
            if time.monotonic() > deadline:
                raise UsageError(
                    f"run {run_id} is being run by another process{_owner(path)}",
                    fix="wait for it to end, or stop it, and resume the run then",
                )
            time.sleep(0.02)
        self._held[run_id] = handle

    def alive(self, run_id: str) -> bool:
        """Whether a living process (this one included) runs the run."""
        if run_id in self._held:
            return True
        try:
            handle = os.open(self._path(run_id), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            os.close(handle)
        return False

    def release(self, run_id: str) -> None:
        """Give the run up and remove its file; one that isn't held is left alone."""
        handle = self._held.pop(run_id, None)
        if handle is not None:
            with contextlib.suppress(OSError):
                self._path(run_id).unlink(missing_ok=True)  # before the lock ends: a later owner's file stays
            os.close(handle)

    def release_all(self) -> None:
        for run_id in tuple(self._held):
            self.release(run_id)

    def _try(self, path: Path) -> int | None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise _unwritable(path, error) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The previous owner removes the file when it is done: a lock on a removed file keeps nobody out.
            if os.fstat(handle).st_ino == path.stat().st_ino:
                os.ftruncate(handle, 0)
                os.write(handle, json.dumps({"pid": os.getpid()}).encode())
                return handle
        except (BlockingIOError, FileNotFoundError):
            pass
        except OSError as error:
            os.close(handle)
            raise _unwritable(path, error) from error
        os.close(handle)
        return None

    def _path(self, run_id: str) -> Path:
        return self.folder / f"{run_id}.lock"


def _owner(path: Path) -> str:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return f" (process {int(json.loads(path.read_bytes())['pid'])})"
    return ""


def _unwritable(path: Path, error: OSError) -> LedgerError:
    return LedgerError(
        f"cannot lock {path}: {error.strerror or error}",
        fix=f"make {path.parent.parent} a folder on a local disk that this user may write to",
    )
