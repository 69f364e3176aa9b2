"""An image, and how one is kept in the cache.

`CACHE/images/KEY/` holds `rootfs.squashfs` and `image.json`; it appears whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .plan import Built, Plan

SCHEMA = "image/2"
ROOTFS = "rootfs.squashfs"
DOCUMENT = "image.json"
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Image:
    ref: str
    """The reference it was made or asked for as: `debian`, `images/py.toml`, `oci:NAME`, `oci-layout:PATH`."""
    digest: str
    """SHA-256 (hex) over the root file system's bytes and the configuration: equal digests are equal images."""
    key: str
    """SHA-256 (hex) over what it is built from: equal keys are built only once."""
    rootfs: Path
    """Read-only squashfs."""
    env: Mapping[str, str]
    """Environment that programs in it start with."""
    workdir: str
    """Folder in which the image's own program would start; `/` when it says nothing."""
    size_bytes: int
    """Size of `rootfs`."""
    created: str
    """When it was built: ISO 8601, UTC."""
    user: str = ""
    """User (and group) of the image's own configuration as it stands there; empty means root."""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """What it was built from, for people: base, packages, pinned digests."""

    def as_json(self) -> dict[str, Any]:
        """The document that `--json` prints and `image.json` holds."""
        return {
            "schema": SCHEMA,
            "ref": self.ref,
            "digest": self.digest,
            "key": self.key,
            "rootfs": str(self.rootfs),
            "env": dict(self.env),
            "workdir": self.workdir,
            "user": self.user,
            "size_bytes": self.size_bytes,
            "created": self.created,
            "inputs": dict(self.inputs),
        }


def write_image(folder: Path, plan: Plan, built: Built) -> None:
    """Write `image.json` beside the finished root file system."""
    rootfs = folder / ROOTFS
    config = json.dumps([dict(built.env), built.workdir, built.user], sort_keys=True)
    with rootfs.open("rb") as stream:
        content = hashlib.file_digest(stream, "sha256").hexdigest()
    image = Image(
        ref=plan.ref,
        digest=hashlib.sha256(f"{content}{config}".encode()).hexdigest(),
        key=plan.key,
        rootfs=rootfs,
        env=built.env,
        workdir=built.workdir,
        size_bytes=rootfs.stat().st_size,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        user=built.user,
        inputs=built.inputs,
    )
    document = image.as_json()
    del document["rootfs"]  # the folder is moved afterwards, and may be again
    (folder / DOCUMENT).write_text(json.dumps(document, indent=1))


def read_image(folder: Path) -> Image | None:
    """The image in a folder of the cache, or None when there is none that this version can read."""
    try:
        document = json.loads((folder / DOCUMENT).read_bytes())
        rootfs = folder / ROOTFS
        if document.pop("schema") != SCHEMA or rootfs.stat().st_size != document["size_bytes"]:
            return None
        return Image(rootfs=rootfs, **document)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
