"""What services need on top of an image: packages and prepared data, built once for all templates of all projects."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import partial
from typing import Any

from aegis.sandbox.base import ImageLayer

from .imagefile import ImageFile
from .model import Image
from .plan import Plan
from .recipe import FORMAT, build
from .squashfs import FORMAT as SQUASHFS_FORMAT


def plan(base: Image, layers: Sequence[ImageLayer]) -> Plan:
    """How to put layers on an image, in one build: all their packages at once, then their commands in order."""
    packages = tuple(dict.fromkeys(package for layer in layers for package in layer.packages))
    commands = tuple(command for layer in layers for command in layer.run)
    recipe = ImageFile(base=base.ref, packages=packages, pip=(), files={}, run=commands, env={})
    meaning: dict[str, Any] = {"base": base.digest, "packages": list(packages), "run": list(commands)}
    text = json.dumps(["layers", FORMAT, SQUASHFS_FORMAT, meaning], sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()
    inputs = {**meaning, "base": {"ref": base.ref, "digest": base.digest}}
    names = "+".join(dict.fromkeys(layer.name for layer in layers))
    # The base is unpacked, and packed again with what is added to it; a package takes some 10 MiB, a database 100.
    needed = 6 * base.size_bytes + (1 << 30)
    return Plan(
        f"{base.ref}+{names}", f"layers-{names}", key, needed, partial(build, recipe, base, [], inputs)
    )
