"""The image store: from a reference to a root file system in the cache."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from aegis.errors import ImageError
from aegis.sandbox.base import ImageLayer
from aegis.sandbox.saved import SavedMachines

from .cache import (
    Progress,
    cache_folder,
    exclusive,
    is_locked,
    make_folder,
    publish,
    quiet,
    remove_tree,
    size_of,
    staging,
    touch,
)
from .disk import disk_errors, require_space
from .model import ROOTFS, Image, read_image, write_image
from .plan import Plan, Request, Workshop, not_built
from .reference import make_plan
from .tools import Log

DEFAULT_KEEP_DAYS = 30.0


@dataclass(frozen=True, slots=True)
class Removed:
    """What `remove` or `prune` took away."""

    names: tuple[str, ...]
    freed_bytes: int


class ImageStore:
    """The images below a cache folder (docs/images.md). Safe to use from several processes at once."""

    def __init__(self, cache_dir: Path | None = None) -> None:
        self.cache = cache_folder(cache_dir)
        self.folder = self.cache / "images"

    def resolve(
        self,
        ref: str,
        *,
        base_dir: Path,
        build: bool = True,
        upgrade: bool = False,
        progress: Progress | None = None,
        layers: Sequence[ImageLayer] = (),
    ) -> Image:
        """The image of a reference with these layers on it, built first when it isn't in the cache or an input changed.

        `base_dir`: the project's folder; image files and layouts are relative to it and `aegis.lock` lies in it.
        `build=False` never builds and never uses the network. `upgrade` pins a registry image anew.
        Raises `UsageError` for a reference or image file that is wrong, `HostNeedsError` when the host lacks
        something, `ImageError` when the image can't be had.
        """
        say = progress or quiet
        base = self._resolve(
            ref, Request(base_dir.absolute(), self.cache, build, upgrade, say, self._resolve)
        )
        if not layers:
            return base
        from .layers import plan as plan_layers

        return self._built(plan_layers(base, layers), build=build, say=say)

    def list(self) -> tuple[Image, ...]:
        """Every image in the cache, the last used first."""
        folders = sorted(self._folders(), key=_last_used, reverse=True)
        return tuple(image for folder in folders if (image := read_image(folder)))

    def show(self, ref_or_digest: str) -> Image:
        """One image in the cache by reference or by the beginning of its digest. Raises `ImageError`."""
        matches = self._matching(ref_or_digest)
        if len({image.digest for image in matches}) > 1 and not any(i.ref == ref_or_digest for i in matches):
            names = ", ".join(f"{image.digest[:12]} ({image.ref})" for image in matches)
            raise ImageError(
                f"{ref_or_digest} is the beginning of several images: {names}", fix="give more of it"
            )
        return matches[0]

    def remove(self, ref_or_digest: str) -> Removed:
        """Remove the images of a reference, or the one with this digest. Raises `ImageError` when there is none.

        A machine that runs from one keeps running; the next start builds it again.
        """
        one = self.show(ref_or_digest)
        by_ref = [image for image in self.list() if image.ref == ref_or_digest]
        return self._remove([image.rootfs.parent for image in by_ref or [one]])

    def prune(self, keep_days: float = DEFAULT_KEEP_DAYS) -> Removed:
        """Remove images, boot files and saved templates that nothing used for `keep_days` days, and what failed builds
        left.

        What a build holds at the moment is left alone, and a machine that runs from something keeps running.
        """
        horizon = time.time() - keep_days * 86400
        old = [
            folder for folder in self._folders() if _last_used(folder) <= horizon or not read_image(folder)
        ]
        boot = self.cache / "boot"
        old += [folder for folder in _children(boot) if folder.is_dir() and _last_used(folder) <= horizon]
        old += [folder for folder in (self.cache / "apt/archives",) if folder.is_dir()]
        old += [log for log in _children(self.cache / "logs") if _last_used(log) <= horizon]
        with staging(self.cache, "prune"):  # entering one removes what killed builds left
            removed = self._remove(old)
        templates = SavedMachines(self.cache).prune(keep_days=keep_days)
        names = tuple(f"templates/{each.key}" for each in templates.removed)
        return Removed((*removed.names, *names), removed.freed_bytes + templates.freed_bytes)

    def _resolve(self, ref: str, request: Request) -> Image:
        return replace(self._built(make_plan(ref, request), build=request.build, say=request.say), ref=ref)

    def _built(self, plan: Plan, *, build: bool, say: Progress) -> Image:
        image = self._ready(plan)
        if image is None:
            if not build:
                raise not_built(plan.ref)
            image = self._make(plan, say)
        return replace(image, ref=plan.ref)

    def _ready(self, plan: Plan) -> Image | None:
        folder = self.folder / plan.key
        image = read_image(folder)
        if image is not None:
            touch(folder)
        return image

    def _make(self, plan: Plan, say: Progress) -> Image:
        with exclusive(self._lock(plan.key), what=f"image {plan.ref}", progress=say):
            if image := self._ready(plan):
                return image
            what = f"building image {plan.ref}"
            require_space(self.cache, what, plan.needed_bytes)
            say(what)
            with disk_errors(self.cache, what, plan.needed_bytes), staging(self.cache, plan.name) as work:
                result = make_folder(work / "result")
                log = Log.start(self.cache, f"image-{plan.name}", plan.needed_bytes)
                built = plan.build(Workshop(self.cache, work, result / ROOTFS, log, say))
                write_image(result, plan, built)
                publish(result, self.folder / plan.key)
        image = self._ready(plan)
        if image is None:
            raise ImageError(f"image {plan.ref} was removed while it was being built", fix="build it again")
        return image

    def _matching(self, ref_or_digest: str) -> Sequence[Image]:
        images = self.list()
        found = tuple(image for image in images if image.ref == ref_or_digest)
        if not found and len(ref_or_digest) >= 4:
            found = tuple(image for image in images if image.digest.startswith(ref_or_digest))
        if not found:
            known = ", ".join(dict.fromkeys(image.ref for image in images)) or "none"
            raise ImageError(
                f"no image {ref_or_digest} in the cache (there: {known})",
                fix=f"aegis image build {ref_or_digest}",
            )
        return found

    def _remove(self, paths: Sequence[Path]) -> Removed:
        names: list[str] = []
        freed = 0
        for path in paths:
            if path.parent == self.folder and is_locked(self._lock(path.name)):
                continue
            image = read_image(path)
            freed += size_of(path)
            names.append(image.ref if image else f"{path.parent.name}/{path.name}")
            if path.is_dir():
                remove_tree(path)
            else:
                path.unlink(missing_ok=True)
        return Removed(tuple(names), freed)

    def _lock(self, key: str) -> Path:
        return self.cache / "locks" / f"image-{key}"

    def _folders(self) -> Iterator[Path]:
        return (path for path in _children(self.folder) if path.is_dir())


def _children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _last_used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
