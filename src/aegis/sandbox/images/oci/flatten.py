"""From an image's layers to one archive of its root file system."""

from __future__ import annotations

import copy
import tarfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from aegis.errors import ImageError

from .tree import Node, Tree

XATTR = "SCHILY.xattr."


class Flattened:
    """The merged layers, whose uncompressed archives must stay while this is used. A context manager."""

    def __init__(self, layers: Sequence[Path]) -> None:
        """Read the layers' headers. Raises `ImageError` for an archive that is damaged or leads out of its root."""
        self.tree = Tree()
        self._archives: list[tarfile.TarFile] = []
        self._stack = ExitStack()
        try:
            for number, path in enumerate(layers):
                self._read(number, path)
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Flattened:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def write(self, stream: BinaryIO) -> None:
        """Write one sorted archive: numeric owners, hard links kept, device nodes left out."""
        first: dict[Node, str] = {}
        with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            for path, node in self.tree.walk():
                info = _described(node, path)
                if info.isdev() and not info.isfifo():
                    # The machine's own /dev has the nodes.
                    continue
                if node.children is None and node in first:
                    info.type, info.linkname, info.size = tarfile.LNKTYPE, first[node], 0
                    archive.addfile(info)
                    continue
                first[node] = path
                self._add(archive, info, node)

    def _add(self, archive: tarfile.TarFile, info: tarfile.TarInfo, node: Node) -> None:
        if not node.info.isreg():
            archive.addfile(info)
            return
        content = self._archives[node.layer].extractfile(node.info)
        assert content is not None
        info.type = tarfile.REGTYPE
        with content:
            archive.addfile(info, content)

    def _read(self, number: int, path: Path) -> None:
        try:
            archive = tarfile.open(path, "r:", errorlevel=2)  # noqa: SIM115 (the stack closes it)
            self._stack.push(archive)
            self._archives.append(archive)
            self.tree.apply(archive.getmembers(), number)
        except (tarfile.TarError, EOFError) as error:
            raise ImageError(f"layer {number + 1} of the image is damaged: {error}") from error


def _described(node: Node, path: str) -> tarfile.TarInfo:
    """The node's header for the new archive."""
    info = copy.copy(node.info)
    info.name = path
    if node.children is not None:
        info.type, info.size, info.linkname = tarfile.DIRTYPE, 0, ""
    # Names of owners would be looked up on the host.
    info.uname = info.gname = ""
    info.mtime = int(info.mtime)
    info.pax_headers = {key: value for key, value in info.pax_headers.items() if key.startswith(XATTR)}
    return info
