"""OCI image layouts: choosing the image for this host's architecture, and building from it."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from aegis.errors import ImageError, UsageError
from aegis.sandbox.images.model import DEFAULT_PATH
from aegis.sandbox.images.plan import Built, Plan, Request, Workshop
from aegis.sandbox.images.squashfs import FORMAT as SQUASHFS_FORMAT
from aegis.sandbox.images.squashfs import write_squashfs

from .blobs import MAX_DOCUMENT_BYTES, Blobs, Descriptor, parse_object
from .flatten import Flattened

FORMAT = 1
"""Raised when this package changes what it makes."""

REF_NAME = "org.opencontainers.image.ref.name"
INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
ARCHITECTURES = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
MAX_NESTING = 4


@dataclass(frozen=True, slots=True)
class OciImage:
    """One image of a layout: its checked manifest and configuration."""

    blobs: Blobs
    digest: str
    """Of the manifest, `sha256:HEX`."""
    layers: tuple[Descriptor, ...]
    config: Mapping[str, Any]

    def build(self, shop: Workshop) -> Built:
        """Make the root file system. Raises `ImageError`."""
        with_ids = self.config.get("rootfs", {}).get("diff_ids", [])
        paths: list[Path] = []
        for number, layer in enumerate(self.layers):
            shop.say(f"unpacking layer {number + 1} of {len(self.layers)}")
            path = shop.work / f"layer-{number}.tar"
            diff_id = self.blobs.expand(layer, path)
            if number < len(with_ids) and with_ids[number] != diff_id:
                raise ImageError(f"layer {layer.digest} is not the one that the image's configuration names")
            paths.append(path)
        shop.say("writing the file system")
        with Flattened(paths) as flattened:
            write_squashfs(shop.rootfs, flattened.write, log=shop.log, step="write the file system")
        return self._built()

    def _built(self) -> Built:
        config = self.config.get("config") or {}
        pairs = [str(item).partition("=") for item in config.get("Env") or []]
        env = {"PATH": DEFAULT_PATH} | {name: value for name, equals, value in pairs if equals}
        inputs = {
            "manifest": self.digest,
            "layers": [layer.digest for layer in self.layers],
            "architecture": self.config.get("architecture"),
        }
        return Built(env, config.get("WorkingDir") or "/", config.get("User") or "", inputs)


def plan(text: str, request: Request) -> Plan:
    """How to make the image of `PATH[:TAG]`. Raises `UsageError`, `ImageError`."""
    folder, tag = _locate(text, request.base_dir)
    image = open_layout(folder, tag)
    needed = 6 * sum(layer.size_bytes for layer in image.layers) + (64 << 20)
    return Plan(f"oci-layout:{text}", "oci-layout", image_key(image.digest), needed, partial(_build, image))


def image_key(digest: str) -> str:
    """The key of an image by the digest of its manifest or index on this architecture."""
    inputs = ["oci", FORMAT, SQUASHFS_FORMAT, digest, host_architecture()]
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()


def host_architecture() -> str:
    """The host's architecture by its name in OCI documents."""
    return ARCHITECTURES.get(platform.machine(), platform.machine())


def open_layout(folder: Path, tag: str | None) -> OciImage:
    """Find the image of a tag (None: the only one) for this host. Raises `ImageError`."""
    try:
        with (folder / "index.json").open("rb") as stream:
            content = stream.read(MAX_DOCUMENT_BYTES)
    except OSError as error:
        raise ImageError(
            f"{folder} is not an OCI layout: index.json: {error.strerror}", fix="skopeo copy … oci:PATH:TAG"
        ) from error
    blobs = Blobs(folder)
    manifests = _entries(parse_object(content, f"{folder / 'index.json'}"))
    descriptor = _tagged(manifests, tag, folder)
    for _ in range(MAX_NESTING):
        document = blobs.document(descriptor)
        if "manifests" not in document:
            return _image(blobs, descriptor, document, folder)
        descriptor = _for_host(_entries(document), folder)
    raise ImageError(f"the index of {folder} is nested too deep")


def _build(image: OciImage, shop: Workshop) -> Built:
    return image.build(shop)


def _image(blobs: Blobs, descriptor: Descriptor, manifest: Mapping[str, Any], folder: Path) -> OciImage:
    layers = tuple(Descriptor.parse(layer) for layer in manifest.get("layers", []))
    config = blobs.document(Descriptor.parse(manifest.get("config")))
    _check_platform([(config.get("os"), config.get("architecture"))], folder)
    return OciImage(blobs, descriptor.digest, layers, config)


def _entries(index: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    entries = index.get("manifests")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ImageError("the image's index lists no manifests", fix="copy the image again")
    return entries


def _tagged(entries: Sequence[Mapping[str, Any]], tag: str | None, folder: Path) -> Descriptor:
    names = [str((entry.get("annotations") or {}).get(REF_NAME, "")) for entry in entries]
    if tag is not None:
        entries = [entry for entry, name in zip(entries, names, strict=True) if name == tag]
    if not entries:
        known = ", ".join(name for name in names if name) or "none"
        raise ImageError(
            f"{folder} holds no image {tag or ''} (there: {known})", fix="name one that is there"
        )
    if len(entries) > 1:
        platforms = [entry for entry in entries if entry.get("platform")]
        if len(platforms) == len(entries):
            return _for_host(entries, folder)
        raise ImageError(
            f"{folder} holds several images: {', '.join(name or 'without name' for name in names)}",
            fix="name one: oci-layout:PATH:TAG",
        )
    return Descriptor.parse(entries[0])


def _for_host(entries: Sequence[Mapping[str, Any]], folder: Path) -> Descriptor:
    platforms = [entry.get("platform") or {} for entry in entries]
    wanted = ("linux", host_architecture())
    for entry, found in zip(entries, platforms, strict=True):
        if (found.get("os"), found.get("architecture")) == wanted:
            return Descriptor.parse(entry)
    _check_platform([(found.get("os"), found.get("architecture")) for found in platforms], folder)
    raise ImageError(f"{folder} lists no image at all")


def _check_platform(found: Sequence[tuple[Any, Any]], folder: Path) -> None:
    wanted = ("linux", host_architecture())
    if found and wanted not in found:
        there = ", ".join(sorted({f"{os}/{architecture}" for os, architecture in found}))
        raise ImageError(
            f"{folder.name} is an image for {there}, and this host runs {'/'.join(wanted)}",
            fix=f"take an image for {'/'.join(wanted)}",
        )


def _locate(text: str, base_dir: Path) -> tuple[Path, str | None]:
    """Folder and tag of `PATH[:TAG]`; a folder whose own name holds a colon comes first."""
    whole = base_dir / text
    path, colon, tag = text.rpartition(":")
    if whole.is_dir() or not colon:
        folder, chosen = whole, None
    else:
        folder, chosen = base_dir / path, tag
    if not folder.is_dir():
        raise UsageError(
            f"there is no folder {folder}", fix="oci-layout:PATH is relative to the project's folder"
        )
    return folder, chosen
