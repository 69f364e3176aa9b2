"""What is known of a run's image without building anything."""

from __future__ import annotations

from pathlib import Path

from aegis._eval.request import Isolation
from aegis.errors import AegisError


def image_digest(reference: str, root: Path) -> str | None:
    """The digest of the image as it would be used now; None when it would have to be built first."""
    from aegis.sandbox.images import ImageStore

    try:
        return ImageStore().resolve(reference, base_dir=root, build=False).digest
    except AegisError:
        return None


def image_identity(isolation: Isolation, reference: str, root: Path) -> str:
    """What stands for the image in the fingerprint: its digest, or the reference where there is none to
    know."""
    if isolation == "none":
        return "host"
    return image_digest(reference, root) or reference
