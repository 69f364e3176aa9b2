"""Debian packages without installing them, and without root.

Everything happens in private folders below the cache (`CACHE/apt`), with the mirrors, keys and proxies of the host's
own apt configuration. The host's package state is neither read nor changed.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

from aegis.errors import HostNeedsError, ImageError

from .cache import Progress, make_folder, quiet, write_atomically
from .tools import Log, output, require_tools, run

DISTRIBUTIONS = frozenset({"Debian"})
"""Values of a repository's `Origin` from which packages are taken; other repositories of the host are left alone."""

SOURCES_VARIABLE = "AEGIS_APT_SOURCES"
"""Environment variable with the path of a sources file to use instead of the host's own, for hosts such as Ubuntu."""

_URI_LINE = re.compile(r"^'(?P<uri>[^']+)' (?P<file>\S+) (?P<size>\d+) SHA256:(?P<sha256>[0-9a-f]{64})$")


@dataclass(frozen=True, slots=True)
class Package:
    """One exact package file: what a lock pins."""

    name: str
    version: str
    file: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Repository:
    """One component of one release of the host's sources."""

    uri: str
    release: str
    codename: str
    component: str
    signed_by: str

    def source_line(self) -> str:
        """The one-line form of sources.list(5)."""
        option = f" [signed-by={self.signed_by}]" if self.signed_by else ""
        return f"deb{option} {self.uri} {self.release} {self.component}"


@dataclass(frozen=True, slots=True)
class Apt:
    """The private apt below `cache`. Callers hold the lock `CACHE/locks/apt`."""

    cache: Path
    log: Log

    @property
    def folder(self) -> Path:
        return self.cache / "apt"

    def update(self, progress: Progress = quiet) -> None:
        """Fetch the package lists. Raises `HostNeedsError` without apt, `ImageError` when the mirrors don't answer."""
        require_tools("apt-get", "dpkg-deb", "setpriv", purpose="fetching Debian packages")
        for name in ("lists/partial", "cache/archives/partial", "archives"):
            make_folder(self.folder / name)
        progress("fetching package lists")
        try:
            self._run("apt-get", "update", "--error-on=any")
        except ImageError:
            # One broken third-party source must not stop the build when the distribution's own lists are there.
            if not self._usable():
                raise

    def repositories(self) -> list[Repository]:
        """The distribution's repositories among the host's sources, in the host's order."""
        fields = "$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(CODENAME)|$(COMPONENT)|$(SOURCESENTRY)"
        text = self._ask("apt-get", "indextargets", "--format", fields, "Identifier: Packages")
        rows = [line.split("|") for line in text.splitlines()]
        found = [
            Repository(uri, release, codename, component, _signed_by(entry))
            for origin, uri, release, codename, component, entry in (row for row in rows if len(row) == 6)
            if origin in DISTRIBUTIONS
        ]
        if not found:
            raise HostNeedsError(
                "the host's package sources hold no Debian repository",
                fix=f"run it on Debian 12 or newer, or name a sources file of Debian's in {SOURCES_VARIABLE}"
                " (docs/images.md shows one; the package debian-archive-keyring has the keys)",
            )
        return list(dict.fromkeys(found))

    def releases(self) -> tuple[str, int]:
        """SHA-256 (hex) over the signed release files of the lists, and when the newest was published (Unix time).

        Changes when a mirror publishes something new.
        """
        digest = hashlib.sha256()
        published = 0
        for path in sorted((self.folder / "lists").glob("*Release")):
            content = path.read_bytes()
            digest.update(path.name.encode() + b"\0" + content)
            if date := re.search(rb"^Date: (.+)$", content, re.MULTILINE):
                published = max(published, int(parsedate_to_datetime(date[1].decode()).timestamp()))
        return digest.hexdigest(), published

    def dependency(self, package: str, prefix: str) -> str:
        """The first direct dependency of `package` whose name begins with `prefix`."""
        text = self._ask("apt-cache", "depends", package)
        for line in text.splitlines():
            kind, _, name = line.strip().lstrip("|").partition(": ")
            if kind in ("Depends", "PreDepends") and name.startswith(prefix):
                return name
        raise ImageError(
            f"no package {prefix}… among the dependencies of {package}", fix="aegis setup --upgrade"
        )

    def pin(self, names: Sequence[str]) -> list[Package]:
        """The newest version of each package by the lists, without fetching it."""
        text = self._ask("apt-get", "download", "--print-uris", *names)
        pins = [_package(match) for line in text.splitlines() if (match := _URI_LINE.match(line))]
        if missing := set(names) - {pin.name for pin in pins}:
            raise ImageError(
                f"the mirrors offer no checksummed package {', '.join(sorted(missing))}",
                fix="check the host's package sources, then run: aegis setup --upgrade",
            )
        return sorted(pins, key=lambda pin: pin.name)

    def fetch(self, packages: Sequence[Package], progress: Progress = quiet) -> dict[str, Path]:
        """Package name → verified package file. Files of an earlier fetch are used again.

        Raises `ImageError` when a version is gone from the mirrors or its bytes are not the pinned ones.
        """
        archives = make_folder(self.folder / "archives")
        absent = [pin for pin in packages if not _is_file(archives / pin.file, pin.sha256)]
        if absent:
            progress(f"fetching {len(absent)} packages")
            wanted = [f"{pin.name}={pin.version}" for pin in absent]
            self._run("apt-get", "download", *wanted, cwd=archives)
        for pin in absent:
            if not _is_file(archives / pin.file, pin.sha256):
                raise ImageError(f"package {pin.file} is not the pinned one", fix="aegis setup --upgrade")
        return {pin.name: archives / pin.file for pin in packages}

    def _usable(self) -> bool:
        try:
            return bool(self.repositories())
        except (HostNeedsError, ImageError):
            return False

    def _run(self, program: str, *arguments: str, cwd: Path | None = None) -> None:
        step = f"{program} {arguments[0]}"
        run(self._argv(program, *arguments), step=step, log=self.log, cwd=cwd, env=self._env())

    def _ask(self, program: str, *arguments: str) -> str:
        step = f"{program} {arguments[0]} {arguments[-1]}"
        return output(self._argv(program, *arguments), step=step, log=self.log, env=self._env())

    def _argv(self, program: str, *arguments: str) -> list[str]:
        folder = self.folder
        settings: dict[str, Path | str] = {
            "Dir::State": folder,
            "Dir::State::lists": folder / "lists",
            "Dir::State::status": os.devnull,
            "Dir::Cache": folder / "cache",
        }
        if sources := os.environ.get(SOURCES_VARIABLE):
            settings |= {"Dir::Etc::sourcelist": sources, "Dir::Etc::sourceparts": os.devnull}
        options = [part for key, value in settings.items() for part in ("-o", f"{key}={value}")]
        return [program, "-q", *options, *arguments]

    def _env(self) -> dict[str, str]:
        """Environment that makes apt read the private configuration instead of the host's."""
        path = self.folder / "apt.conf"
        if not path.exists():
            make_folder(self.folder)
            write_atomically(path, self._configuration().encode())
        return {**os.environ, "APT_CONFIG": str(path), "LC_ALL": "C.UTF-8"}

    def _configuration(self) -> str:
        """The host's network settings (proxies, certificates, retries) and nothing else of it.

        Left out with the rest are hooks, which expect the host's own folders and would change them.
        """
        own = [
            'Dir::Etc::main "/dev/null";',
            'Dir::Etc::parts "/dev/null";',
            'Acquire::Languages "none";',
            'Acquire::Retries "3";',
            'Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";',
            'Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";',
        ]
        if os.geteuid() == 0:
            # The private folders are root's; apt's own download user could not enter them.
            own.append('APT::Sandbox::User "root";')
        return "\n".join([*network_settings(self.log), *own, ""])


def network_settings(log: Log) -> list[str]:
    """Lines of apt.conf(5) with which the host's apt reaches its mirrors."""
    text = output(["apt-config", "dump"], step="read the host's apt configuration", log=log)
    other = ("Acquire::IndexTargets", "Acquire::Languages", "Acquire::Changelogs")
    lines = [line for line in text.splitlines() if line.startswith("Acquire::")]
    return [line for line in lines if not line.startswith(other) and not line.endswith(' "";')]


def _signed_by(source_entry: str) -> str:
    """The key file named where a source is declared (`FILE:LINE`; for deb822 files LINE counts stanzas), or ``."""
    name, _, number = source_entry.rpartition(":")
    try:
        text = Path(name).read_text(encoding="utf-8")
        parts = text.splitlines() if name.endswith(".list") else re.split(r"\n\s*\n", text.strip())
        found = re.search(r"signed-by\s*[:=]\s*(/[^\s\]]+)", parts[int(number) - 1], re.IGNORECASE)
    except (OSError, ValueError, IndexError):
        return ""
    return found[1] if found else ""


def _package(match: re.Match[str]) -> Package:
    file = match["file"]
    name, version, _ = file.split("_", 2)
    return Package(name, version.replace("%3a", ":"), file, match["sha256"])


def _is_file(path: Path, sha256: str) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == sha256
