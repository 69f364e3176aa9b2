"""Templates on disk: a saved machine per key, made once and loaded by every later run.

Layout of `CACHE/templates/KEY/`: `ram` and `state` (the saved machine), `meta.json`. The folder appears whole, by
rename.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from aegis.errors import SandboxStartError
from aegis.sandbox import saved as saved_machines
from aegis.sandbox.qemu import memory
from aegis.sandbox.qemu.machine import Saved

FORMAT = 4
"""Raised when templates on disk, or what is done in them, change: older ones are made anew."""


class TemplateStore:
    """All methods block: callers run them in a thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextlib.contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Held by the one process that makes the template; the others wait and then find it made."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with open(self._folder / f"{key}.lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def hold(self, key: str) -> int:
        """Mark the template as in use until the returned descriptor is closed: nobody removes it meanwhile."""
        self._folder.mkdir(parents=True, exist_ok=True)
        return saved_machines.hold(self._folder, key)

    def load(self, key: str) -> Saved | None:
        """The saved machine, or None when there is none (or only a broken one, which is then removed)."""
        folder = self._folder / key
        try:
            meta = json.loads((folder / "meta.json").read_text())
            sizes = (folder / "ram").stat().st_size, (folder / "state").stat().st_size
            if meta["format"] != FORMAT or list(sizes) != meta["sizes"] or "checksums" not in meta:
                raise ValueError("not this format")
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, OSError):
            shutil.rmtree(folder, ignore_errors=True)
            return None
        try:
            os.utime(folder / "meta.json")  # last use, for pruning
            ram = memory.load(folder / "ram", "memory")
            try:
                state = memory.load(folder / "state", "state")
            except BaseException:
                os.close(ram)
                raise
        except FileNotFoundError:  # another process has removed it since
            return None
        saved = Saved(ram, state, meta["next_stream"], meta["prepared"])
        if _checksums(saved) != meta["checksums"]:
            saved.close()
            shutil.rmtree(folder, ignore_errors=True)
            return None
        return saved

    def store(self, key: str, saved: Saved, description: dict[str, object]) -> None:
        """Keep a saved machine. Raises SandboxStartError when the disk is full; then nothing is left."""
        self._clean()
        staging = Path(tempfile.mkdtemp(prefix=f".{key[:12]}.", dir=self._folder))
        try:
            memory.store(saved.ram, staging / "ram")
            memory.store(saved.state, staging / "state")
            meta = {
                "format": FORMAT,
                "sizes": [os.fstat(saved.ram).st_size, os.fstat(saved.state).st_size],
                "checksums": _checksums(saved),
                "next_stream": saved.next_stream,
                "prepared": dict(saved.prepared),
                "created": time.time(),
                **description,
            }
            (staging / "meta.json").write_text(json.dumps(meta, indent=1))
            shutil.rmtree(self._folder / key, ignore_errors=True)
            os.rename(staging, self._folder / key)
        except OSError as error:
            shutil.rmtree(staging, ignore_errors=True)
            raise SandboxStartError(
                f"cannot keep the template in {self._folder}: {error.strerror}",
                fix=f"free some space there, or set AEGIS_CACHE_DIR to a folder with more (now: {self._folder})",
            ) from None

    def _clean(self) -> None:
        """Remove what a killed run left half-made more than an hour ago."""
        for path in self._folder.glob(".*"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > 3600:
                    shutil.rmtree(path, ignore_errors=True)

    def discard(self, key: str) -> None:
        shutil.rmtree(self._folder / key, ignore_errors=True)


def _checksums(saved: Saved) -> list[int]:
    return [memory.checksum(saved.ram), memory.checksum(saved.state)]
