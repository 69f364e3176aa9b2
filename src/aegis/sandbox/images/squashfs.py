"""Writing read-only root file systems.

squashfs from a stream of tar: needs no root, and equal input gives equal bytes. LZ4, because reading it costs a
software-emulated guest no more than reading uncompressed data does, at half the size (figures in docs/images.md).
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from .tools import Log, find_tool, require_tools, run

FORMAT = 2
"""Raised when the options change."""

OPTIONS = (
    *("-comp", "lz4"),
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


def squash_folder_argv(folder: str, target: Path) -> list[str]:
    """The command that makes `target` of a folder, keeping owners and times as they are there."""
    return ["mksquashfs", folder, str(target), *OPTIONS]
