"""Running the host's programs: what must be there, where their output goes, and how their failure reads."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from aegis.errors import HostNeedsError, ImageError

from .cache import make_folder
from .disk import NO_SPACE, no_space

TAIL_LINES = 20

PACKAGES = {
    "apt-get": "apt",
    "dpkg-deb": "dpkg",
    "mksquashfs": "squashfs-tools",
    "unsquashfs": "squashfs-tools",
    "mmdebstrap": "mmdebstrap",
    "newuidmap": "uidmap",
    "qemu-system-x86_64": "qemu-system-x86",
    "setpriv": "util-linux",
    "skopeo": "skopeo",
    "unshare": "util-linux",
}
"""Program → the Debian package that holds it."""


def require_tools(*names: str, purpose: str) -> None:
    """Raise `HostNeedsError` with one install line when a program is not on the PATH."""
    missing = [name for name in names if find_tool(name) is None]
    if not missing:
        return
    if find_tool("apt-get") is None:
        raise HostNeedsError(
            f"{purpose} needs a Debian host: {', '.join(missing)} not found",
            fix="run it on Debian 12 or newer, or in a Debian container",
        )
    raise HostNeedsError(f"{purpose} needs {', '.join(missing)}", fix=install_line(missing))


def install_line(tools: Sequence[str]) -> str:
    """`apt-get install …` for programs of `PACKAGES`, as the present user would have to write it."""
    packages = " ".join(sorted({PACKAGES.get(tool, tool) for tool in tools}))
    return f"{'' if os.geteuid() == 0 else 'sudo '}apt-get install -y {packages}"


def find_tool(name: str) -> str | None:
    """Path of a program. The system folders are looked through even where the user's PATH leaves them out."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


@dataclass(slots=True)
class Log:
    """The log file of one build. It stays after a failure, and its end is quoted in the error."""

    path: Path
    needed_bytes: int = 512 << 20
    """Free space that the build takes at its peak: told when the disk is full."""
    _step_begins: int = 0

    @classmethod
    def start(cls, cache: Path, name: str, needed_bytes: int = 512 << 20) -> Log:
        """Begin the log anew. Raises `ImageError` when the cache can't be written."""
        log = cls(make_folder(cache / "logs") / f"{name}.log", needed_bytes)
        log.path.write_bytes(b"")
        return log

    def open(self) -> IO[bytes]:
        return self.path.open("ab", buffering=0)

    def note(self, text: str) -> None:
        with self.open() as stream:
            stream.write(f"== {text}\n".encode())
            self._step_begins = stream.tell()

    def tail(self, lines: int = TAIL_LINES) -> str:
        """The last lines that the last step wrote."""
        with self.path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(self._step_begins, size - 64 * 1024))
            text = stream.read().decode("utf-8", "replace")
        kept = [line.rstrip() for line in text.splitlines() if line.strip()][-lines:]
        return "\n".join(f"  {line}" for line in kept)

    def failure(self, step: str, detail: str) -> ImageError:
        """The error of a failed step: what, the end of the log, where the whole log is."""
        tail = self.tail()
        if NO_SPACE in tail:
            return no_space(self.path.parent.parent, step, self.needed_bytes)
        text = f"{step} failed ({detail})" + (f":\n{tail}" if tail else "")
        return ImageError(text, fix=f"the whole log is in {self.path}")


def run(
    argv: Sequence[str],
    *,
    step: str,
    log: Log,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: IO[bytes] | None = None,
) -> None:
    """Run a program with its output in the log. Raises `ImageError` with the log's end unless it exits 0.

    The program is ended when this process is, so that a killed build goes on writing nowhere.
    """
    log.note(step)
    with log.open() as stream:
        done = subprocess.run(
            _tied(argv),
            stdin=stdin or subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            env=env,
            cwd=cwd,
            check=False,
        )
    if done.returncode != 0:
        raise log.failure(step, _describe(done.returncode))


def output(argv: Sequence[str], *, step: str, log: Log, env: Mapping[str, str] | None = None) -> str:
    """As `run`, but the program's standard output is returned as text."""
    return output_bytes(argv, step=step, log=log, env=env).decode("utf-8", "replace")


def output_bytes(argv: Sequence[str], *, step: str, log: Log, env: Mapping[str, str] | None = None) -> bytes:
    """As `run`, but the program's standard output is returned."""
    log.note(step)
    with log.open() as stream:
        done = subprocess.run(
            _tied(argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stream, env=env, check=False
        )
    if done.returncode != 0:
        raise log.failure(step, _describe(done.returncode))
    return done.stdout


def _tied(argv: Sequence[str]) -> list[str]:
    program = find_tool(argv[0]) or argv[0]
    return ["setpriv", "--pdeathsig=KILL", "--", program, *argv[1:]]


def _describe(returncode: int) -> str:
    return f"exit code {returncode}" if returncode >= 0 else f"killed by signal {-returncode}"
