"""The merged tree of an image's layers: what lies where, without unpacking anything.

Rules: the OCI image specification 1.1, `layer.md`. Names are resolved inside the tree only; one that leaves it is
refused. Nothing here reads file contents: an entry points to where they stand in its layer.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field
from tarfile import DIRTYPE, TarInfo

from aegis.errors import ImageError

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
MAX_LINKS = 40


@dataclass(slots=True, eq=False)
class Node:
    """One file, link, folder or special file. Hard links share a node; its identity is the inode."""

    info: TarInfo
    layer: int
    children: dict[str, Node] | None = None
    """Of a folder; None for anything else."""


def new_folder(layer: int) -> Node:
    """A folder that a layer uses without describing it."""
    info = TarInfo()
    info.type, info.mode = DIRTYPE, 0o755
    return Node(info, layer, {})


@dataclass(slots=True)
class Tree:
    root: Node = field(default_factory=lambda: new_folder(-1))

    def apply(self, members: list[TarInfo], layer: int) -> None:
        """Put a layer over the tree. Raises `ImageError` for a name that leaves the tree and for a dangling link."""
        entries = [(split(member.name), member) for member in members]
        # What a layer hides is below it, wherever in the layer the marker stands.
        for parts, _ in entries:
            if parts and parts[-1].startswith(WHITEOUT):
                self._hide(parts[:-1], parts[-1])
        for parts, member in entries:
            if not parts:
                self.root.info, self.root.layer = member, layer
            elif not parts[-1].startswith(WHITEOUT):
                self._add(parts, member, layer)

    def walk(self) -> Iterator[tuple[str, Node]]:
        """Every path but the root's, sorted by name within its folder, folders before what they hold."""
        stack = [("", self.root)]
        while stack:
            path, node = stack.pop()
            if path:
                yield path, node
            if node.children is not None:
                names = sorted(node.children, reverse=True)
                stack += [(posixpath.join(path, name), node.children[name]) for name in names]

    def _hide(self, folder: list[str], marker: str) -> None:
        parent = self._find(folder)
        if parent is None or parent.children is None:
            return
        if marker == OPAQUE:
            parent.children.clear()
        else:
            parent.children.pop(marker.removeprefix(WHITEOUT), None)

    def _add(self, parts: list[str], member: TarInfo, layer: int) -> None:
        parent = self._folder(parts[:-1], layer)
        assert parent.children is not None
        name = parts[-1]
        old = parent.children.get(name)
        if member.isdir():
            if old is not None and old.children is not None:
                old.info, old.layer = member, layer
            else:
                parent.children[name] = Node(member, layer, {})
        elif member.islnk():
            target = self._link_target(member)
            parent.children[name] = target
        else:
            parent.children[name] = Node(member, layer)

    def _link_target(self, member: TarInfo) -> Node:
        parts = split(member.linkname)
        parent = self._find(parts[:-1]) if parts else None
        target = (
            parent.children.get(parts[-1]) if parent is not None and parent.children is not None else None
        )
        if target is None or target.children is not None:
            raise ImageError(f"the image links {member.name} to {member.linkname}, which is no file of it")
        return target

    def _folder(self, parts: list[str], layer: int) -> Node:
        """The folder at a path, following the tree's symbolic links; what is missing is made."""
        node = self._find(parts, make=layer)
        if node is None or node.children is None:
            raise ImageError(f"the image puts something into {'/'.join(parts)}, which is no folder")
        return node

    def _find(self, parts: list[str], make: int | None = None) -> Node | None:
        """The node at a path, following links on the way and at the end, as the kernel would inside this root."""
        trail = [self.root]
        pending = list(reversed(parts))
        links = 0
        while pending:
            name = pending.pop()
            here = trail[-1]
            if name == "..":
                # Only links can hold it here; above the root is the root.
                trail = trail[:-1] or trail
                continue
            if here.children is None:
                return None
            node = here.children.get(name)
            if node is None:
                if make is None:
                    return None
                node = here.children[name] = new_folder(make)
            if node.info.issym():
                links += 1
                if links > MAX_LINKS:
                    raise ImageError(f"the image's links lead in a circle at {'/'.join(parts)}")
                target = node.info.linkname
                if target.startswith("/"):
                    trail = [self.root]
                pending += [part for part in reversed(target.split("/")) if part not in ("", ".")]
                continue
            trail.append(node)
        return trail[-1]


def split(name: str) -> list[str]:
    """Path components of an archive's name. Raises `ImageError` for one that holds `..`."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in name:
        raise ImageError(f"the image holds the path {name!r}, which leads out of it")
    return parts
