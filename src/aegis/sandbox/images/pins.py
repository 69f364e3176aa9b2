"""The package versions that machines are made of, pinned in the cache until `aegis setup --upgrade`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from . import guest_root
from .apt import Apt, Package, Repository
from .cache import Progress, exclusive, write_atomically
from .tools import Log

SCHEMA = "packages/1"
KERNEL_PACKAGE = "linux-image-cloud-amd64"


@dataclass(frozen=True, slots=True)
class Pins:
    python: str
    """Versioned name of the guest's interpreter: `python3.11`."""
    releases: str
    """Digest of the mirrors' signed release files when the pins were taken."""
    epoch: int
    """When the newest of them was published, in seconds since 1970: the latest time that a file of an image bears."""
    repositories: tuple[Repository, ...]
    packages: tuple[Package, ...]


def load_pins(cache: Path) -> Pins | None:
    """The pins of an earlier `refresh_pins`, or None when there are none that this version can read."""
    try:
        document = json.loads((cache / "packages.lock.json").read_bytes())
        if document["schema"] != SCHEMA:
            return None
        return Pins(
            document["python"],
            document["releases"],
            int(document["epoch"]),
            tuple(Repository(**item) for item in document["repositories"]),
            tuple(Package(**item) for item in document["packages"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def refresh_pins(cache: Path, log: Log, progress: Progress) -> Pins:
    """Ask the mirrors for the newest versions, and pin them. Raises `HostNeedsError`, `ImageError`."""
    with exclusive(cache / "locks/apt", what="packages", progress=progress):
        apt = Apt(cache, log)
        apt.update(progress)
        python = apt.dependency("python3-minimal", "python3.").removesuffix("-minimal")
        kernel = apt.dependency(KERNEL_PACKAGE, "linux-image-")
        packages = apt.pin([kernel, *guest_root.package_names(python)])
        pins = Pins(python, *apt.releases(), tuple(apt.repositories()), tuple(packages))
    write_atomically(
        cache / "packages.lock.json", json.dumps({"schema": SCHEMA, **asdict(pins)}, indent=1).encode()
    )
    return pins


def current_pins(cache: Path, progress: Progress) -> Pins:
    """The pins in force, taken first when there are none. Raises `HostNeedsError`, `ImageError`."""
    if pins := load_pins(cache):
        return pins
    with exclusive(cache / "locks/pins", what="package versions", progress=progress):
        return load_pins(cache) or refresh_pins(cache, Log.start(cache, "packages"), progress)
