"""How an image comes to be: what it is made of, known cheaply, and the slow work of making it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aegis.errors import ImageError

from .cache import Progress
from .tools import Log

if TYPE_CHECKING:
    from .model import Image


@dataclass(frozen=True, slots=True)
class Request:
    """In which circumstances an image is wanted."""

    base_dir: Path
    """The project's folder."""
    cache: Path
    build: bool
    """False: neither build nor use the network."""
    upgrade: bool
    """Ask the registries anew instead of going by `aegis.lock`."""
    say: Progress
    resolve: Callable[[str, Request], Image]
    """How the plan of an image gets its base."""
    above: tuple[str, ...] = ()
    """The image files that are waiting for this one as their base."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """Where one build works."""

    cache: Path
    work: Path
    """Staging folder, removed afterwards."""
    rootfs: Path
    """The squashfs to make."""
    log: Log
    say: Progress


@dataclass(frozen=True, slots=True)
class Built:
    """What a build knows about the root file system that it made."""

    env: Mapping[str, str]
    workdir: str
    user: str = ""
    inputs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """Made without building anything; `key` says whether the cache has the result already."""

    ref: str
    name: str
    """Short file-name-safe name for logs and staging folders."""
    key: str
    """SHA-256 (hex) over every input."""
    needed_bytes: int
    """Free space that the build takes at its peak, roughly."""
    build: Callable[[Workshop], Built]


def not_built(ref: str) -> ImageError:
    """The error of an image that would have to be built where that isn't wanted."""
    return ImageError(f"image {ref} is not built", fix=f"aegis image build {ref}")
