"""The saved templates in the cache, as files: what they cost, who uses them, and their removal.

Layout of `CACHE/templates/`: a folder `KEY` for each (what is in it is the driver's, but for `meta.json`, whose time of
change is the template's last use), `KEY.lock`, held while it is made, and `KEY.use`, held by every run that uses it.
A machine that runs from a template needs its files no longer; one that is kept does.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aegis.errors import UsageError

DEFAULT_KEEP_DAYS = 30.0
STALE_STAGING_S = 3600.0
"""What a killed run left half-made is this old."""
_LEAST_KEY = 4
"""Characters by which a template may be named."""


@dataclass(frozen=True, slots=True)
class SavedMachine:
    key: str
    disk_bytes: int
    """What its files take on the disk: saved memory has holes."""
    last_used: float
    """Seconds since 1970."""
    in_use: bool
    """Whether a run uses it or makes it at this moment."""
    meta: dict[str, Any]
    """What its maker says of it; empty when that cannot be read."""

    @property
    def memory_bytes(self) -> int | None:
        return self._number("memory_bytes")

    @property
    def created(self) -> float | None:
        found = self.meta.get("created")
        return float(found) if isinstance(found, int | float) else None

    @property
    def stale(self) -> bool:
        """Whether this host was started anew since: a run makes another then."""
        made_in = self.meta.get("host_boot")
        return made_in is None or made_in != _host_boot()

    def text(self, name: str) -> str:
        found = self.meta.get(name)
        return found if isinstance(found, str) else ""

    def words(self, name: str) -> list[str]:
        found = self.meta.get(name)
        return [str(item) for item in found] if isinstance(found, list) else []

    def _number(self, name: str) -> int | None:
        found = self.meta.get(name)
        return found if type(found) is int else None

    def as_json(self) -> dict[str, Any]:
        """For scripts: sizes in bytes, times in seconds since 1970."""
        return {
            "key": self.key,
            "suite": self.text("suite"),
            "project": self.text("project"),
            "image": self.text("image"),
            "memory_bytes": self.memory_bytes,
            "disk_bytes": self.disk_bytes,
            "created": self.created,
            "last_used": self.last_used,
            "in_use": self.in_use,
            "stale": self.stale,
            "cpus": self._number("cpus"),
            "accel": self.text("accel"),
            "files_bytes": self._number("files_bytes"),
            "setup": self.words("setup"),
            "services": self.words("services"),
            "env": self.words("env"),
        }


@dataclass(frozen=True, slots=True)
class Pruned:
    """What `prune` took away, or would."""

    removed: tuple[SavedMachine, ...]
    freed_bytes: int


class SavedMachines:
    """All methods may be called while runs make and use templates."""

    def __init__(self, cache: Path) -> None:
        self.folder = cache / "templates"

    def list(self) -> tuple[SavedMachine, ...]:
        """All of them, the last used first."""
        found = [each for path in self._folders() if (each := self._read(path)) is not None]
        return tuple(sorted(found, key=lambda each: (-each.last_used, each.key)))

    def find(self, written: str) -> SavedMachine:
        """The one whose key begins so, or of the only template of a suite of this name. Raises `UsageError`."""
        everything = self.list()
        matches = [each for each in everything if each.key.startswith(written)]
        if len(written) < _LEAST_KEY or not matches:
            matches = [each for each in everything if each.text("suite") == written]
        if len(matches) == 1:
            return matches[0]
        if matches:
            keys = ", ".join(each.key[:12] for each in matches)
            raise UsageError(f"{written!r} stands for several templates: {keys}", fix="name one by its key")
        raise UsageError(f"there is no template {written!r} in {self.folder}", fix="aegis template list")

    def prune(
        self,
        *,
        keep_days: float | None = None,
        keep: int | None = None,
        keys: Collection[str] = (),
        dry_run: bool = False,
    ) -> Pruned:
        """Remove templates. With `keys` these (full ones); else those that nothing has used for `keep_days` days and
        that are not among the last used `keep`; None does not count. What is in use stays.
        """
        horizon = time.time() - (keep_days or 0.0) * 86400
        everything = self.list()
        recent = {each.key for each in everything[: keep or 0]}
        chosen = [
            each
            for each in everything
            if not each.in_use
            and (
                each.key in keys
                if keys
                else each.key not in recent and (keep_days is None or each.last_used <= horizon)
            )
        ]
        removed = tuple(each for each in chosen if dry_run or self._remove(each.key))
        freed = sum(each.disk_bytes for each in removed)
        return Pruned(removed, freed if dry_run else freed + self._clean())

    def _remove(self, key: str) -> bool:
        """Whether it is gone: not when a run has begun to use it meanwhile."""
        with _exclusive(self.folder, key) as free:
            if free:
                shutil.rmtree(self.folder / key, ignore_errors=True)
            return free and not (self.folder / key).exists()

    def _clean(self) -> int:
        """Bytes of what killed runs left half-made."""
        freed = 0
        for path in self.folder.glob(".*"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > STALE_STAGING_S:
                    size = _disk_bytes(path)
                    shutil.rmtree(path)
                    freed += size
        return freed

    def _folders(self) -> Iterator[Path]:
        with contextlib.suppress(FileNotFoundError):
            for path in self.folder.iterdir():
                if path.is_dir() and not path.name.startswith("."):
                    yield path

    def _read(self, path: Path) -> SavedMachine | None:
        """None for one that is removed at this moment."""
        try:
            disk_bytes = _disk_bytes(path)
            try:
                meta = json.loads((path / "meta.json").read_text())
                last_used = (path / "meta.json").stat().st_mtime
            except (OSError, ValueError):
                meta, last_used = {}, path.stat().st_mtime
        except OSError:
            return None
        in_use = _is_held(path.with_name(f"{path.name}.use")) or _is_held(path.with_name(f"{path.name}.lock"))
        return SavedMachine(path.name, disk_bytes, last_used, in_use, meta if isinstance(meta, dict) else {})


def hold(folder: Path, key: str) -> int:
    """Mark a template as in use until the returned descriptor is closed."""
    fd = os.open(folder / f"{key}.use", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
    except BaseException:
        os.close(fd)
        raise
    return fd


@contextlib.contextmanager
def _exclusive(folder: Path, key: str) -> Iterator[bool]:
    """Whether nobody uses or makes it, for as long as this lasts."""
    with contextlib.ExitStack() as stack:
        for kind in ("use", "lock"):
            file = stack.enter_context(open(folder / f"{key}.{kind}", "ab"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
        yield True


def _is_held(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _disk_bytes(path: Path) -> int:
    return sum(found.lstat().st_blocks * 512 for found in (path, *path.rglob("*")))


def _host_boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
