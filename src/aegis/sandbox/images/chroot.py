"""Running the steps of an image build inside its root file system.

Each step is a process with mounts, processes and ids of its own (`namespaces.isolated`), so that nothing that a step
mounts or leaves running outlives it, whichever way it ends. It uses the host's network. This keeps a build apart from
the host's files, as a container build does; it is no boundary against an image file that means harm.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from . import place
from .namespaces import isolated
from .squashfs import squash_folder_argv
from .tools import Log, run

PURPOSE = "building an image file"
PASSED_ON = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")

# `$R`: the root; `$S`: scratch folder that is /tmp inside, so that nothing left there gets into the image.
_ENTER = """
set -eu
mount --make-rprivate /
mkdir -p "$R/proc" "$R/sys" "$R/dev" "$R/tmp" "$R/run" "$R/etc"
mount -t proc proc "$R/proc"
mount -t tmpfs -o mode=755 tmpfs "$R/dev"
for node in null zero full random urandom tty; do
    : > "$R/dev/$node"
    mount --bind "/dev/$node" "$R/dev/$node"
done
ln -s /proc/self/fd "$R/dev/fd"
ln -s /proc/self/fd/0 "$R/dev/stdin"
ln -s /proc/self/fd/1 "$R/dev/stdout"
ln -s /proc/self/fd/2 "$R/dev/stderr"
mkdir -p "$R/dev/shm" "$R/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$R/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$R/dev/pts" || true
ln -s pts/ptmx "$R/dev/ptmx"
mount -t tmpfs -o mode=755 tmpfs "$R/run"
mkdir -p "$S"
chmod 1777 "$S"
mount --bind "$S" "$R/tmp"
if [ -L "$R/etc/resolv.conf" ] || [ ! -f "$R/etc/resolv.conf" ]; then
    rm -f "$R/etc/resolv.conf"
    : > "$R/etc/resolv.conf"
fi
if [ -f /etc/resolv.conf ]; then mount --bind "$(readlink -f /etc/resolv.conf)" "$R/etc/resolv.conf"; fi
"""


@dataclass(frozen=True, slots=True)
class Chroot:
    """A root file system being changed. `root` and `scratch` lie in the staging folder of the build."""

    root: Path
    scratch: Path
    log: Log
    env: Mapping[str, str]

    def unpack(self, rootfs: Path) -> None:
        """Fill the root from a squashfs file."""
        argv = ["unsquashfs", "-no-progress", "-quiet", "-dest", str(self.root), str(rootfs)]
        run([*isolated(PURPOSE), *argv], step="unpack the base", log=self.log)

    def place(self, produce: Callable[[BinaryIO], None], *, step: str) -> None:
        """Unpack the tar archive that `produce` writes over the root, following the root's own links only."""
        archive = self.scratch / "place.tar"
        with archive.open("wb") as stream:
            produce(stream)
        argv = [sys.executable, "-I", "-S", "-B", str(Path(place.__file__)), str(self.root), str(archive)]
        run([*isolated(PURPOSE), *argv], step=step, log=self.log)
        archive.unlink()

    def run(self, command: str, *, step: str, env: Mapping[str, str] | None = None) -> None:
        """Run a shell command in the root as root, in `/`. Raises `ImageError` with the log's end unless it exits 0."""
        script = (
            f'{_ENTER}\nexec env -i "$@" "$(command -v chroot)" "$R" /bin/sh -ec {shlex.quote(command)}\n'
        )
        variables = [f"{name}={value}" for name, value in {**self._env(), **(env or {})}.items()]
        argv = [*isolated(PURPOSE), "/bin/sh", "-c", script, "step", *variables]
        outer = {**os.environ, "R": str(self.root), "S": str(self.scratch)}
        run(argv, step=step, log=self.log, env=outer)

    def has(self, program: str) -> bool:
        """Whether the root holds a program in one of the usual folders."""
        folders = ("usr/bin", "bin", "usr/sbin", "sbin", "usr/local/bin")
        return any(os.path.lexists(self.root / folder / program) for folder in folders)

    def release(self) -> str:
        """Code name of the distribution's release in the root (`bookworm`), or an empty text."""
        try:
            text = (self.root / "usr/lib/os-release").read_text(encoding="utf-8")
        except OSError:
            return ""
        found = re.search(r"^VERSION_CODENAME=\"?([\w.-]+)", text, re.MULTILINE)
        return found[1] if found else ""

    def squash(self, target: Path) -> None:
        """Write the root as a squashfs file."""
        run(
            [*isolated(PURPOSE), *squash_folder_argv(str(self.root), target)],
            step="write the file system",
            log=self.log,
        )

    def _env(self) -> dict[str, str]:
        passed: dict[str, str] = {}
        for name in PASSED_ON:
            for spelling in (name, name.upper()):
                if value := os.environ.get(spelling):
                    passed[spelling] = value
        return {**self.env, "HOME": "/root", "DEBIAN_FRONTEND": "noninteractive", **passed}
