"""Reading a text file of the user's, with a message for each way in which it isn't one."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from aegis.suite.problems import Problem
from aegis.suite.units import format_size

_BOMS = ((b"\xef\xbb\xbf", "UTF-8"), (b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"))


class Unreadable(Exception):
    """Internal to this room: the loader turns it into a `SuiteError`."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def read_text(path: Path, *, shown: str, max_bytes: int, advice: str) -> str:
    """The file's text. `shown` is its name in messages, `advice` what to do about a file over `max_bytes`.

    Raises `Unreadable` for a missing, unreadable or special file, a folder, a byte order mark, bytes that are
    no UTF-8, and a file that is empty or too large.
    """
    data = _read_bytes(path, shown, max_bytes, advice)
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            raise Unreadable(
                Problem(shown, 1, f"starts with a byte order mark ({encoding}): save it as UTF-8 without BOM")
            )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Unreadable(
            Problem(shown, line, f"byte 0x{data[error.start]:02x} is not UTF-8: save it as UTF-8")
        ) from None
    if not text.strip():
        raise Unreadable(Problem(shown, 1, "the file is empty"))
    return text


def _read_bytes(path: Path, shown: str, max_bytes: int, advice: str) -> bytes:
    try:
        # Not opened before it is known to be a regular file: opening a FIFO would wait for a writer.
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise Unreadable(Problem(shown, 1, "is a folder, not a file"))
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable(Problem(shown, 1, "is not a regular file"))
        with open(path, "rb") as file:
            data = file.read(max_bytes + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise Unreadable(Problem(shown, 1, f"cannot be read: {reason}")) from None
    if len(data) > max_bytes:
        raise Unreadable(Problem(shown, 1, f"is larger than {format_size(max_bytes)}: {advice}"))
    return data
