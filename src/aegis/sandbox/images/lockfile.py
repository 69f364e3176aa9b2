"""`aegis.lock`: the digests of registry images, pinned in the project so that everyone runs the same bytes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from aegis.errors import ImageError, UsageError

from .cache import exclusive, write_atomically

NAME = "aegis.lock"
SCHEMA = "aegis.lock/1"


def read_pin(base_dir: Path, ref: str) -> str | None:
    """The pinned digest (`sha256:HEX`) of a reference, or None. Raises `UsageError` for a file that is not a lock."""
    return _read(base_dir / NAME).get(ref)


def write_pin(base_dir: Path, ref: str, digest: str, cache: Path) -> None:
    """Pin a digest, keeping all other pins; safe between processes that share the cache.

    Raises `ImageError` when the project's folder can't be written.
    """
    path = base_dir / NAME
    # The project's folder shall hold no lock of its own, so the one for it lies in the cache.
    name = hashlib.sha256(str(base_dir).encode()).hexdigest()[:32]
    with exclusive(cache / "locks" / f"project-{name}", what=NAME):
        images = _read(path)
        if images.get(ref) == digest:
            return
        images[ref] = digest
        document = {"schema": SCHEMA, "images": dict(sorted(images.items()))}
        try:
            write_atomically(path, (json.dumps(document, indent=2) + "\n").encode())
        except OSError as error:
            raise ImageError(
                f"cannot pin {ref} in {path}: {error.strerror}",
                fix="make the project's folder writable once, and commit aegis.lock",
            ) from error


def _read(path: Path) -> dict[str, str]:
    try:
        document = json.loads(path.read_bytes())
        images = document["images"]
        if document["schema"] != SCHEMA or not isinstance(images, dict):
            raise ValueError(f"not {SCHEMA}")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} is not a lock file: {error}", fix=f"restore it, or remove {NAME} to pin anew"
        ) from error
    return {str(ref): str(digest) for ref, digest in images.items()}
