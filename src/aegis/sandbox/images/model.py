"""An image, and how one is kept in the cache.

`CACHE/images/DIGEST/` holds `rootfs.squashfs` and `image.json`; it appears whole or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SCHEMA = "image/1"
ROOTFS = "rootfs.squashfs"
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Image:
    ref: str
    """The reference it was made or asked for as: `debian`, `images/py.toml`, `oci:NAME`, `oci-layout:PATH`."""
    digest: str
    """SHA-256 (hex) over everything it was made from."""
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
            "rootfs": str(self.rootfs),
            "env": dict(self.env),
            "workdir": self.workdir,
            "size_bytes": self.size_bytes,
            "created": self.created,
            "user": self.user,
            "inputs": dict(self.inputs),
        }


def read_image(folder: Path) -> Image | None:
    """The image in a folder of the cache, or None when there is none that this version can read."""
    try:
        document = json.loads((folder / "image.json").read_bytes())
        if document["schema"] != SCHEMA:
            return None
        rootfs = folder / ROOTFS
        return Image(
            ref=document["ref"],
            digest=folder.name,
            rootfs=rootfs,
            env=document["env"],
            workdir=document["workdir"],
            size_bytes=rootfs.stat().st_size,
            created=document["created"],
            user=document["user"],
            inputs=document["inputs"],
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
