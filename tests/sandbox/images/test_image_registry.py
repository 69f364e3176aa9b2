"""Registry images: fetched from a registry on this host, pinned in `aegis.lock`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from image_tools import leftovers, needs_skopeo, needs_squashfs, squashfs_file

from aegis.errors import ImageError, UsageError
from aegis.sandbox.images import ImageStore
from aegis.sandbox.images.oci.layout import host_architecture
from support.oci import INDEX, LayoutBuilder, Registry, entry, layer, serving

pytestmark = [needs_skopeo, needs_squashfs]


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    builder = LayoutBuilder(tmp_path / "blobs-of-registry")
    with serving(Registry(builder.folder)) as served:
        yield served


def publish(registry: Registry, text: str, tag: str = "1", *, indexed: bool = False) -> None:
    """Give the tag an image with one file."""
    builder = LayoutBuilder.__new__(LayoutBuilder)
    builder.folder = registry.folder
    architecture = host_architecture()
    found = builder.image([layer(entry("word", text.encode()))], architecture=architecture)
    if indexed:
        entries = [{**found, "platform": {"os": "linux", "architecture": architecture}}]
        found = builder.json_blob({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}, INDEX)
    registry.manifests[("tools/box", tag)] = found


def word(store: ImageStore, ref: str, base_dir: Path, *, upgrade: bool = False) -> bytes:
    return squashfs_file(store.resolve(ref, base_dir=base_dir, upgrade=upgrade).rootfs, "word")


@pytest.mark.parametrize("indexed", [False, True])
def test_an_image_is_fetched_and_pinned(tmp_path: Path, registry: Registry, indexed: bool) -> None:
    publish(registry, "first", indexed=indexed)
    ref = f"oci:{registry.address}/tools/box:1"
    store = ImageStore(tmp_path / "cache")
    assert word(store, ref, tmp_path) == b"first"
    pinned = registry.manifests[("tools/box", "1")]["digest"]
    assert json.loads((tmp_path / "aegis.lock").read_text()) == {
        "schema": "aegis.lock/1",
        "images": {ref: pinned},
    }
    assert leftovers(tmp_path / "cache") == []

    # What is in the cache needs no registry; what is pinned stays, wherever the tag has gone.
    registry.requests.clear()
    publish(registry, "second", indexed=indexed)
    assert word(store, ref, tmp_path) == b"first"
    assert registry.requests == []
    assert word(ImageStore(tmp_path / "empty-cache"), ref, tmp_path) == b"first"

    assert word(store, ref, tmp_path, upgrade=True) == b"second"
    assert word(store, ref, tmp_path) == b"second"


def test_a_name_with_a_digest_needs_no_lock(tmp_path: Path, registry: Registry) -> None:
    publish(registry, "exact")
    digest = registry.manifests[("tools/box", "1")]["digest"]
    for name in (f"tools/box@{digest}", f"tools/box:1@{digest}"):
        assert word(ImageStore(tmp_path / "cache"), f"oci:{registry.address}/{name}", tmp_path) == b"exact"
    assert not (tmp_path / "aegis.lock").exists()


def test_nothing_is_fetched_when_building_is_off(tmp_path: Path, registry: Registry) -> None:
    publish(registry, "first")
    ref = f"oci:{registry.address}/tools/box:1"
    with pytest.raises(ImageError, match="not built") as caught:
        ImageStore(tmp_path / "cache").resolve(ref, base_dir=tmp_path, build=False)
    assert caught.value.fix == f"aegis image build {ref}"
    assert registry.requests == []
    assert not (tmp_path / "aegis.lock").exists()


def test_a_tag_that_the_registry_lacks(tmp_path: Path, registry: Registry) -> None:
    with pytest.raises(ImageError, match=r"look up .*tools/box:none failed"):
        ImageStore(tmp_path / "cache").resolve(f"oci:{registry.address}/tools/box:none", base_dir=tmp_path)
    assert not (tmp_path / "aegis.lock").exists()


def test_a_blob_that_the_registry_falsified(tmp_path: Path, registry: Registry) -> None:
    publish(registry, "first")
    manifest = registry.folder / "blobs/sha256" / registry.manifests[("tools/box", "1")]["digest"][7:]
    layer_digest = json.loads(manifest.read_bytes())["layers"][0]["digest"][7:]
    (registry.folder / "blobs/sha256" / layer_digest).write_bytes(b"something else")
    store = ImageStore(tmp_path / "cache")
    with pytest.raises(ImageError, match=r"fetch .* failed"):
        store.resolve(f"oci:{registry.address}/tools/box:1", base_dir=tmp_path)
    assert leftovers(tmp_path / "cache") == []
    assert store.list() == ()


@pytest.mark.parametrize("name", ["", "--help", "a b", "a@sha256:12", "a;b"])
def test_a_name_that_is_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="not the name of an image"):
        ImageStore(tmp_path / "cache").resolve(f"oci:{name}", base_dir=tmp_path)


def test_a_lock_file_that_is_none(tmp_path: Path, registry: Registry) -> None:
    (tmp_path / "aegis.lock").write_text("<<<<<<< HEAD\n")
    with pytest.raises(UsageError, match=r"aegis\.lock is not a lock file"):
        ImageStore(tmp_path / "cache").resolve(f"oci:{registry.address}/tools/box:1", base_dir=tmp_path)
