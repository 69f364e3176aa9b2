"""Writer of the `newc` cpio format, which the kernel unpacks as its initial file system.

Format: the kernel's Documentation/driver-api/early-userspace/buffer-format.rst. Written here, a device node needs no
root, and equal content gives equal bytes.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass, field


@dataclass(slots=True)
class CpioWriter:
    """Collects entries in the order given and makes the archive. Folders must be added before what they hold."""

    _parts: list[bytes] = field(default_factory=list)
    _inode: int = 0

    def folder(self, name: str, mode: int = 0o755) -> None:
        self._entry(name, stat.S_IFDIR | mode, b"")

    def file(self, name: str, data: bytes, mode: int = 0o644) -> None:
        self._entry(name, stat.S_IFREG | mode, data)

    def symlink(self, name: str, target: str) -> None:
        self._entry(name, stat.S_IFLNK | 0o777, target.encode())

    def character_device(self, name: str, major: int, minor: int, mode: int = 0o600) -> None:
        self._entry(name, stat.S_IFCHR | mode, b"", device=(major, minor))

    def finish(self) -> bytes:
        """The whole archive, with its trailer, padded to 512 bytes."""
        self._inode = -1
        self._entry("TRAILER!!!", 0, b"")
        archive = b"".join(self._parts)
        return archive + b"\0" * (-len(archive) % 512)

    def _entry(self, name: str, mode: int, data: bytes, device: tuple[int, int] = (0, 0)) -> None:
        self._inode += 1
        encoded = name.strip("/").encode() + b"\0"
        fields = (
            self._inode,
            mode,
            0,  # uid
            0,  # gid
            2 if stat.S_ISDIR(mode) else 1,
            0,  # mtime
            len(data),
            0,
            0,  # device of the file
            *device,
            len(encoded),
            0,  # checksum, unused in newc
        )
        header = b"070701" + b"".join(b"%08x" % value for value in fields) + encoded
        self._parts += [header, b"\0" * (-len(header) % 4), data, b"\0" * (-len(data) % 4)]
