"""What machines start from: boot files, the built-in image, image files, and OCI images.

Public names: `boot_files`, `BootFiles`, `ImageStore`, `Image`.
"""

from __future__ import annotations

from .boot import BootFiles, boot_files
from .model import Image
from .store import ImageStore

__all__ = ["BootFiles", "Image", "ImageStore", "boot_files"]
