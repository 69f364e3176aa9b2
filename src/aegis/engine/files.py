"""Packing files of the project into archives for a sandbox.

Equal contents give equal archives, byte for byte: entries are sorted, and owner and time are constants, so
that a template is rebuilt only when something in it changed.
"""

from __future__ import annotations

import io
import os
import posixpath
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from aegis.engine.projectfiles import files_below
from aegis.engine.pyproject import without_our_table
from aegis.errors import UsageError
from aegis.sandbox.base import MIB, WORKSPACE

MAX_ARCHIVE_BYTES = 512 * MIB
"""Bound of one archive: it travels through memory to every sandbox that is started cold."""
MTIME = 1_767_225_600
"""2026-01-01: a constant, and not the zero that marks a synthetic file system."""
ALWAYS_LEFT_OUT = ("aegis.toml", "aegis.lock")
"""Files at the project's root that only concern Aegis."""
NEVER_PACKED = frozenset({".git", ".aegis", "__pycache__"})
"""Names left out at any depth: history, the ledger, and byte code that would make equal projects differ."""


@dataclass(slots=True)
class _Archive:
    """Guest path (without the leading `/`) → what lies there."""

    what: str
    entries: dict[str, bytes | str] = field(default_factory=dict)
    executable: set[str] = field(default_factory=set)
    size_bytes: int = 0

    def add_file(self, guest: str, source: Path) -> None:
        try:
            data = source.read_bytes()
            mode = source.stat().st_mode
        except OSError as error:
            raise UsageError(
                f"{self.what}: cannot read {source}: {error.strerror}",
                fix="make the file readable, or leave it out",
            ) from error
        self.add_bytes(guest, without_our_table(data) if source.name == "pyproject.toml" else data)
        if mode & 0o100:
            self.executable.add(guest)

    def add_bytes(self, guest: str, data: bytes) -> None:
        self.size_bytes += len(data)
        if self.size_bytes > MAX_ARCHIVE_BYTES:
            raise UsageError(
                f"{self.what}: more than {MAX_ARCHIVE_BYTES // MIB} MiB of files (at {guest})",
                fix="git-ignore what the agent does not need, or name narrower paths in sandbox.files",
            )
        self.entries[guest] = data

    def add_link(self, guest: str, target: str) -> None:
        self.entries[guest] = target

    def pack(self) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for guest in sorted(self.entries):
                content = self.entries[guest]
                info = tarfile.TarInfo(guest)
                info.mtime = MTIME
                info.mode = 0o755 if guest in self.executable else 0o644
                if isinstance(content, str):
                    info.type, info.linkname, info.mode = tarfile.SYMTYPE, content, 0o777
                    archive.addfile(info)
                else:
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))
        return buffer.getvalue()


def pack_project(root: Path, mapping: Mapping[str, str], *, secret: Iterable[Path]) -> bytes | None:
    """The archive of `sandbox.files` (project path → guest path), or None when nothing is mapped.

    Left out are git-ignored files, `ALWAYS_LEFT_OUT`, `NEVER_PACKED` and what is at or below a `secret` path
    (the evals folder: it holds the expected answers); a path below one of these is packed when the mapping
    names it itself. Raises `UsageError` for a path that is missing, unreadable or outside the project, for a
    symbolic link that leaves it, and for too much data.
    """
    if not mapping:
        return None
    root = root.resolve()
    archive = _Archive("sandbox.files")
    hidden = {PurePosixPath(name) for name in ALWAYS_LEFT_OUT}
    for path in secret:
        if path.resolve().is_relative_to(root) and path.resolve() != root:
            hidden.add(PurePosixPath(path.resolve().relative_to(root)))
    for source_text, guest_text in mapping.items():
        source = _inside(root, root / source_text, f"sandbox.files: {source_text!r}")
        relative = PurePosixPath(source.relative_to(root))
        guest = guest_path(guest_text, "sandbox.files")
        if source.is_dir():
            _add_folder(archive, root, relative, guest, hidden)
        else:
            as_folder = guest_text.endswith("/") or "/" + guest == WORKSPACE
            archive.add_file(posixpath.join(guest, source.name) if as_folder else guest, source)
    return archive.pack()


def pack_world(base: Path, root: Path, mapping: Mapping[str, str], *, case_id: str) -> bytes | None:
    """The archive of `world.files` (guest path → source relative to `base`), or None when there are none.

    Folders are packed whole. Raises `UsageError` like `pack_project`.
    """
    if not mapping:
        return None
    what = f"case {case_id!r}: world.files"
    archive = _Archive(what)
    for guest_text, source_text in mapping.items():
        source = find_below(base, root, source_text, what)
        guest = guest_path(guest_text, what)
        if not source.is_dir():
            archive.add_file(guest, source)
            continue
        for path in sorted(path for path in source.rglob("*") if path.is_file()):
            inner = path.relative_to(source)
            archive.add_file(posixpath.join(guest, str(inner)), find_below(source, root, str(inner), what))
    return archive.pack()


def find_below(base: Path, root: Path, name: str, what: str) -> Path:
    """The existing path that `name` (relative to `base`) leads to, inside `base` or the project `root`."""
    resolved = (base / name).resolve()
    if resolved.is_relative_to(base.resolve()):
        return _inside(base.resolve(), base / name, f"{what}: {name!r}")
    return _inside(root.resolve(), base / name, f"{what}: {name!r}")


def guest_path(text: str, what: str) -> str:
    """A guest path as written → without the leading `/`; relative ones lie in the workspace."""
    path = posixpath.normpath(posixpath.join(WORKSPACE, text))
    if ".." in PurePosixPath(text).parts or "\0" in text or path == "/":
        raise UsageError(
            f"{what}: {text!r} is not a usable guest path", fix="write it like /workspace/data.json"
        )
    return path.lstrip("/")


def _inside(root: Path, path: Path, what: str) -> Path:
    try:
        resolved = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise UsageError(
            f"{what}: no such file or folder: {path}", fix=f"paths here start at {root}"
        ) from error
    if not resolved.is_relative_to(root):
        raise UsageError(
            f"{what}: leads outside of {root}", fix="copy what the sandbox needs into the project"
        )
    if not (resolved.is_file() or resolved.is_dir()):
        raise UsageError(f"{what}: is neither a file nor a folder")
    return resolved


def _add_folder(
    archive: _Archive, root: Path, source: PurePosixPath, guest: str, hidden: Iterable[PurePosixPath]
) -> None:
    # What the mapping names itself, or lies in, is no longer hidden.
    hidden = [path for path in hidden if not source.is_relative_to(path)]
    for path in files_below(root, source):
        inner = path.relative_to(source)
        if not NEVER_PACKED.isdisjoint(inner.parts) or any(path.is_relative_to(place) for place in hidden):
            continue
        place = posixpath.join(guest, str(inner))
        on_disk = root / path
        if on_disk.is_symlink():
            archive.add_link(place, _link_target(root, on_disk))
        else:
            archive.add_file(place, on_disk)


def _link_target(root: Path, link: Path) -> str:
    """Where the link points, relative to its own folder, so that it means the same inside the sandbox."""
    folder = link.parent.resolve()
    target = os.path.normpath(folder / os.readlink(link))
    if not all(Path(place).is_relative_to(root) for place in (target, os.path.realpath(link))):
        raise UsageError(
            f"sandbox.files: the symbolic link {link.relative_to(root)} leads outside of the project",
            fix="replace it by a copy, or git-ignore it",
        )
    return os.path.relpath(target, folder)
