"""Writing read-only root file systems.

squashfs from a stream of tar: needs no root, and equal input gives equal bytes. LZ4, because reading it costs a
software-emulated guest no more than reading uncompressed data does, at half the size (figures in docs/images.md).
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from aegis.errors import ImageError

from .tools import Log, find_tool, require_tools, run

FORMAT = 5
"""Raised when the options change."""

_UNCOMPRESSED = 0x8000

OPTIONS = (
    # Inodes and ids stay uncompressed, so that `_settle_root` can reach the root's.
    *("-comp", "lz4", "-noI", "-noId"),
    *("-no-progress", "-quiet", "-noappend"),
    *("-root-mode", "755", "-root-uid", "0", "-root-gid", "0"),
    # A time of its own would make each build differ.
    *("-mkfs-time", "0", "-root-time", "0"),
)


def write_squashfs(target: Path, produce: Callable[[BinaryIO], None], *, log: Log, step: str) -> None:
    """Make `target` from the tar archive that `produce` writes. Raises `ImageError` with the log's end."""
    require_tools("mksquashfs", purpose="making an image")
    log.note(step)
    argv = [find_tool("mksquashfs") or "mksquashfs", "-", str(target), "-tar", *OPTIONS]
    with (
        log.open() as output,
        subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=output, stderr=output) as process,
    ):
        assert process.stdin is not None
        broken = False
        try:
            produce(process.stdin)  # type: ignore[arg-type]
            process.stdin.close()
        except BrokenPipeError:
            # mksquashfs gave up; its own complaint, in the log, says why.
            broken = True
        except BaseException:
            process.kill()
            raise
    if broken or process.returncode != 0:
        raise log.failure(step, f"exit code {process.returncode}")
    _settle_root(target)


def squash_tar_file(archive: Path, target: Path, *, log: Log) -> None:
    """Make `target` from a tar file. Raises `ImageError` with the log's end."""
    require_tools("mksquashfs", purpose="making an image")
    with archive.open("rb") as stream:
        run(
            ["mksquashfs", "-", str(target), "-tar", *OPTIONS],
            step="write the file system",
            log=log,
            stdin=stream,
        )
    _settle_root(target)


def squash_folder_argv(folder: str, target: Path) -> list[str]:
    """The command that makes `target` of a folder, keeping owners and times as they are there."""
    return ["mksquashfs", folder, str(target), *OPTIONS]


def _settle_root(image: Path) -> None:
    """Give the root folder to root, with time 0: mksquashfs 4.5 ignores `-root-uid` and its like for what it makes of
    an archive, and takes its own user and the present time.

    Layout (the kernel's fs/squashfs/squashfs_fs.h): the superblock holds the root's inode reference at byte 32 (block
    in the inode table << 16 | offset in the block), the id table's start at 48, the inode table's at 64. A metadata
    block begins with its length, whose top bit says "uncompressed". An inode begins with u16 type, mode, index of the
    user, index of the group, and u32 time.
    """
    with image.open("r+b") as stream:
        magic, ids, root, id_table, inode_table = struct.unpack("<4s22xH4xQ8xQ8xQ", stream.read(72))
        stream.seek(id_table)
        (id_block,) = struct.unpack("<Q", stream.read(8))
        owners = struct.unpack(f"<{min(ids, 2048)}I", _read_block(stream, id_block)[: 4 * min(ids, 2048)])
        _read_block(stream, inode_table + (root >> 16))
        if magic != b"hsqs" or 0 not in owners:
            raise ImageError(
                f"{image.name} holds nothing that belongs to root", fix="take an image with a root user"
            )
        stream.seek(inode_table + (root >> 16) + 2 + (root & 0xFFFF) + 4)
        stream.write(struct.pack("<HHI", owners.index(0), owners.index(0), 0))


def _read_block(stream: BinaryIO, offset: int) -> bytes:
    """An uncompressed metadata block."""
    stream.seek(offset)
    (length,) = struct.unpack("<H", stream.read(2))
    if not length & _UNCOMPRESSED:
        raise ImageError(
            "mksquashfs compressed what it was told not to", fix="install squashfs-tools 4.5 or newer"
        )
    return stream.read(length & ~_UNCOMPRESSED)
