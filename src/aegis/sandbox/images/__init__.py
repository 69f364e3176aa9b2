"""What machines start from: boot files, the built-in image, image files, and OCI images.

Public names: `boot_files`, `BootFiles`; `ImageStore`, `Image`, `Removed`. `prepare` (what `aegis setup` does) stands in
`prepare.py`. Everything is kept below one cache folder (`cache.py`); docs/images.md describes it.
"""

from __future__ import annotations

from .boot import BootFiles, boot_files
from .model import Image
from .store import ImageStore, Removed

__all__ = ["BootFiles", "Image", "ImageStore", "Removed", "boot_files"]
