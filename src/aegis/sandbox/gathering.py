"""Reading the answer to `gather`: hostile until proven dull."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

from aegis.errors import GuestProtocolError, HostileArchiveError
from aegis.sandbox.archive import safe_parts
from aegis.sandbox.base import MIB, Gathered, GatheredFile
from aegis.sandbox.guest import globs
from aegis.sandbox.tarstream import TarError, members

MAX_TOLD = 100
MAX_WORDS = 300
_HEADERS_BYTES = 8 * 1024
"""Of one file in an archive: its header, a long name with its own, and what fills the blocks up."""
_UNSHOWN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Categories of characters that a terminal obeys, or that no file name of this host could hold."""


def archive_bytes(max_bytes: int, max_files: int) -> int:
    """The longest archive of so many bytes in so many files."""
    return max_bytes + _HEADERS_BYTES * max_files + MIB


def read(
    archive: bytes, report: bytes, patterns: tuple[str, ...], *, max_bytes: int, max_files: int
) -> Gathered:
    """The files of an archive, and what its report says was left out.

    Raises HostileArchiveError for a file that no pattern stands for, a name that comes twice or leads somewhere else,
    or more than was asked for; GuestProtocolError for a report that is none.
    """
    files: dict[str, GatheredFile] = {}
    unnamed = 0
    left, more = _left_out(report)
    try:
        for member in members(archive):
            path = "/" + "/".join(safe_parts(member.name))
            if member.is_folder or path in files or not any(globs.covers(each, path) for each in patterns):
                raise HostileArchiveError(f"{path[:80]!a} was not asked for")
            max_bytes -= len(member.data)
            if max_bytes < 0 or len(files) + unnamed >= max_files:
                raise HostileArchiveError("more files than were asked for")
            if not is_plain(path):
                unnamed += 1
                left.append((_plain(path), "its name cannot be shown"))
                continue
            files[path] = GatheredFile(path, bytes(member.data))
    except TarError as error:
        raise HostileArchiveError(f"broken archive: {error}") from None
    kept = tuple(files[path] for path in sorted(files))
    return Gathered(kept, tuple(left[:MAX_TOLD]), more + max(0, len(left) - MAX_TOLD))


def is_plain(path: str) -> bool:
    """Whether a path can be shown, and written below a folder of this host, as it is."""
    return not any(unicodedata.category(character) in _UNSHOWN for character in path)


def _plain(text: object) -> str:
    shown = "".join("?" if unicodedata.category(c) in _UNSHOWN else c for c in str(text)[:MAX_WORDS])
    return shown or "?"


def _left_out(report: bytes) -> tuple[list[tuple[str, str]], int]:
    try:
        told: Any = json.loads(report)
        left = [(_plain(path), _plain(why)) for path, why in told["left"]]
        more = told["more"]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise GuestProtocolError("the machine did not say what it left out") from None
    if type(more) is not int or not 0 <= more < 1 << 53:
        raise GuestProtocolError("the machine left out an impossible number of files")
    return left, more
