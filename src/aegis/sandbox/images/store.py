"""The image store: from a reference to an image in the cache."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aegis.errors import ImageError

from . import debian
from .boot import current_pins
from .cache import Progress, cache_folder, exclusive, make_folder, publish, quiet, staging
from .model import ROOTFS, Image, read_image
from .squashfs import squash_tar_file
from .tools import Log, no_space


class ImageStore:
    def __init__(self, cache_dir: Path | None = None) -> None:
        self.cache = cache_folder(cache_dir)

    def resolve(
        self, ref: str, *, base_dir: Path, build: bool = True, progress: Progress | None = None
    ) -> Image:
        say = progress or quiet
        pins = current_pins(self.cache, say)
        digest = debian.digest(pins)
        folder = self.cache / "images" / digest
        if image := read_image(folder):
            return image
        with exclusive(self.cache / "images" / f"{digest}.lock", what=f"image {ref}", progress=say):
            if image := read_image(folder):
                return image
            say(f"building image {ref}")
            log = Log.start(self.cache, "image-debian")
            with staging(self.cache, "image") as work:
                result = make_folder(work / "result")
                debian.build_tar(work / "root.tar", work, pins, log)
                squash_tar_file(work / "root.tar", result / ROOTFS, log=log)
                image = Image(
                    ref, digest, result / ROOTFS, debian.ENV, debian.WORKDIR, 0,
                    datetime.now(UTC).isoformat(timespec="seconds"), "", debian.inputs(pins),
                )
                (result / "image.json").write_text(json.dumps(image.as_json()))
                publish(result, folder)
        found = read_image(folder)
        assert found
        return found
