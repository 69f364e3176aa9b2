"""Files of the workload's root, as its own programs would find them, touched from outside of it.

Every path is resolved by the kernel as if the folder were `/` (openat2(2), RESOLVE_IN_ROOT): neither a link of the
image nor one that a program of the workload puts there meanwhile leads out of it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
from contextlib import suppress

SYS_OPENAT2 = 437  # the same on every architecture
RESOLVE_NO_MAGICLINKS, RESOLVE_IN_ROOT = 0x02, 0x10
TRIES = 10


class Root:
    """The folder that stands for `/`. All paths are absolute; every method may raise OSError."""

    def __init__(self, folder: str) -> None:
        self._folder = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._syscall = ctypes.CDLL(None, use_errno=True).syscall
        self._syscall.restype = ctypes.c_long
        self._syscall.argtypes = (
            ctypes.c_long,
            ctypes.c_int,
            ctypes.c_char_p,
            ctypes.c_char_p,
            ctypes.c_size_t,
        )

    def close(self) -> None:
        os.close(self._folder)

    def resolved(self, path: str) -> str | None:
        """Where a regular file really lies, without links; None when there is none."""
        try:
            fd = self._find(path)
        except OSError:
            return None
        try:
            folder = os.readlink(f"/proc/self/fd/{self._folder}")
            return os.readlink(f"/proc/self/fd/{fd}").removeprefix(folder)
        finally:
            os.close(fd)

    def has_folder(self, path: str) -> bool:
        try:
            os.close(self._open(path, os.O_PATH | os.O_DIRECTORY))
        except OSError:
            return False
        return True

    def names(self, folder: str) -> list[str]:
        """What is in a folder; nothing when there is none."""
        try:
            fd = self._open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return []
        try:
            return sorted(os.listdir(fd))
        finally:
            os.close(fd)

    def read(self, path: str, max_bytes: int) -> bytes:
        """The beginning of a regular file; b"" when there is none."""
        try:
            fd = self._reopen(path, os.O_RDONLY)
        except OSError:
            return b""
        with os.fdopen(fd, "rb") as file:
            return file.read(max_bytes)

    def rewrite(self, path: str, data: bytes) -> None:
        """Replace the content of a regular file that is there."""
        _fill(self._reopen(path, os.O_WRONLY | os.O_TRUNC), data)

    def append(self, path: str, data: bytes) -> None:
        """Add to a regular file that is there. With no data its layer in memory is made, so that the next is quick."""
        _fill(self._reopen(path, os.O_WRONLY | os.O_APPEND), data)

    def write(self, path: str, data: bytes) -> None:
        """Make or replace a file, folders included. A link is followed where that leads to a file; one that leads
        nowhere is replaced, and so is a FIFO or the like."""
        try:
            self.rewrite(path, data)
            return
        except FileNotFoundError:
            pass
        folder, name = self._parent(path)
        try:
            try:
                fd = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644, dir_fd=folder)
            except FileExistsError:
                os.unlink(name, dir_fd=folder)
                fd = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644, dir_fd=folder)
            os.fchmod(fd, 0o644)
            _fill(fd, data)
        finally:
            os.close(folder)

    def link(self, path: str, target: str) -> None:
        """Make a symbolic link, folders included. Raises FileExistsError."""
        folder, name = self._parent(path)
        try:
            os.symlink(target, name, dir_fd=folder)
        finally:
            os.close(folder)

    def remove(self, path: str) -> None:
        folder, name = self._parent(path)
        try:
            os.unlink(name, dir_fd=folder)
        finally:
            os.close(folder)

    # -- descriptors ---------------------------------------------------------------------------------------------

    def _open(self, path: str, flags: int) -> int:
        how = struct.pack("QQQ", flags | os.O_CLOEXEC, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
        for _ in range(TRIES):
            fd = self._syscall(SYS_OPENAT2, self._folder, os.fsencode(path), how, len(how))
            if fd >= 0:
                return int(fd)
            number = ctypes.get_errno()
            if number != errno.EAGAIN:  # something was renamed meanwhile: the kernel could not be sure
                break
        raise OSError(number, os.strerror(number), path)

    def _find(self, path: str) -> int:
        """A descriptor that only names a regular file: what else stands there is not opened."""
        fd = self._open(path, os.O_PATH)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise FileNotFoundError(errno.ENOENT, "not a regular file", path)
        return fd

    def _reopen(self, path: str, flags: int) -> int:
        fd = self._find(path)
        try:
            return os.open(f"/proc/self/fd/{fd}", flags | os.O_CLOEXEC)
        finally:
            os.close(fd)

    def _parent(self, path: str) -> tuple[int, str]:
        """The folder of a path, made as needed, and the last name."""
        *folders, name = path.strip("/").split("/")
        way = ""
        current = os.dup(self._folder)
        for each in folders:
            way += f"/{each}"
            try:
                following = self._open(way, os.O_PATH | os.O_DIRECTORY)
            except FileNotFoundError:
                with suppress(FileExistsError):  # made by another one meanwhile
                    os.mkdir(each, 0o755, dir_fd=current)
                following = self._open(way, os.O_PATH | os.O_DIRECTORY)
            finally:
                os.close(current)
            current = following
        return current, name


def _fill(fd: int, data: bytes) -> None:
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)
