"""OCI layouts: choosing the image, checking every byte, and the file system that comes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from image_tools import leftovers, needs_squashfs, squashfs_file, squashfs_paths

from aegis.errors import ImageError, UsageError
from aegis.sandbox.images import ImageStore
from aegis.sandbox.images.oci import layout
from aegis.sandbox.images.oci.layout import open_layout
from support.oci import INDEX, LayoutBuilder, entry, hard_link, layer


@pytest.fixture(autouse=True)
def _on_amd64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "host_architecture", lambda: "amd64")


CONTENT = layer(entry("etc"), entry("etc/name", b"one\n"))


def altered(descriptor: dict[str, Any], folder: Path) -> None:
    """Change a blob without changing its size."""
    path = folder / "blobs/sha256" / descriptor["digest"].removeprefix("sha256:")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def layers_of(builder: LayoutBuilder, manifest: dict[str, Any]) -> list[dict[str, Any]]:
    path = builder.folder / "blobs/sha256" / manifest["digest"].removeprefix("sha256:")
    document = json.loads(path.read_bytes())
    return [document["config"], *document["layers"]]


@needs_squashfs
@pytest.mark.parametrize("compress", ["gzip", "zstd", "none"])
def test_a_layout_becomes_an_image(tmp_path: Path, compress: str) -> None:
    builder = LayoutBuilder(tmp_path / "box")
    upper = layer(
        entry("etc/.wh.name", b""), entry("run.sh", b"hi", mode=0o4755, uid=9), hard_link("again", "run.sh")
    )
    config = {"Env": ["PATH=/x", "EMPTY=", "broken"], "WorkingDir": "/srv", "User": "9:9"}
    builder.index(latest=builder.image([CONTENT, upper], compress=compress, config=config))

    image = ImageStore(tmp_path / "cache").resolve("oci-layout:box", base_dir=tmp_path)

    assert squashfs_paths(image.rootfs) == {
        "": "drwxr-xr-x",
        "again": "-rwsr-xr-x",
        "etc": "drwxr-xr-x",
        "run.sh": "-rwsr-xr-x",
    }
    assert squashfs_file(image.rootfs, "again") == b"hi"
    assert (image.env, image.workdir, image.user) == ({"PATH": "/x", "EMPTY": ""}, "/srv", "9:9")
    assert image.size_bytes == image.rootfs.stat().st_size
    assert leftovers(tmp_path / "cache") == []


@needs_squashfs
def test_equal_layers_give_equal_digests_and_one_build(tmp_path: Path) -> None:
    for name in ("a", "b"):
        builder = LayoutBuilder(tmp_path / name)
        builder.index(latest=builder.image([CONTENT]))
    said: list[str] = []
    store = ImageStore(tmp_path / "cache")
    first = store.resolve("oci-layout:a", base_dir=tmp_path, progress=said.append)
    built = len(said)
    second = store.resolve("oci-layout:b", base_dir=tmp_path, progress=said.append)
    assert (first.digest, first.rootfs) == (second.digest, second.rootfs)
    assert (first.ref, second.ref) == ("oci-layout:a", "oci-layout:b")
    assert built > 0
    assert len(said) == built
    elsewhere = ImageStore(tmp_path / "other").resolve("oci-layout:a", base_dir=tmp_path)
    assert elsewhere.digest == first.digest


def test_tags_choose_the_image(tmp_path: Path) -> None:
    builder = LayoutBuilder(tmp_path / "box")
    one, two = builder.image([CONTENT]), builder.image([layer(entry("two", b"2"))])
    builder.index(one=one, two=two)
    assert open_layout(builder.folder, "two").digest == two["digest"]
    with pytest.raises(ImageError, match="several images: one, two"):
        open_layout(builder.folder, None)
    with pytest.raises(ImageError, match=r"no image three \(there: one, two\)"):
        open_layout(builder.folder, "three")


def test_an_index_gives_the_hosts_architecture(tmp_path: Path) -> None:
    builder = LayoutBuilder(tmp_path / "box")
    arm, amd = builder.image([CONTENT], architecture="arm64"), builder.image([CONTENT])
    entries = [
        {**arm, "platform": {"os": "linux", "architecture": "arm64"}},
        {**amd, "platform": {"os": "linux", "architecture": "amd64"}},
    ]
    builder.index(latest=builder.json_blob({"mediaType": INDEX, "manifests": entries}, INDEX))
    assert open_layout(builder.folder, "latest").digest == amd["digest"]


@pytest.mark.parametrize("indexed", [True, False])
def test_another_architecture_is_refused(tmp_path: Path, indexed: bool) -> None:
    builder = LayoutBuilder(tmp_path / "box")
    arm = builder.image([CONTENT], architecture="arm64")
    if indexed:
        entries = [{**arm, "platform": {"os": "linux", "architecture": "arm64"}}]
        arm = builder.json_blob({"mediaType": INDEX, "manifests": entries}, INDEX)
    builder.index(latest=arm)
    with pytest.raises(ImageError, match=r"box is an image for linux/arm64, and this host runs linux/amd64"):
        open_layout(builder.folder, None)


@needs_squashfs
@pytest.mark.parametrize("which", [0, 1], ids=["config", "layer"])
def test_an_altered_blob_is_refused(tmp_path: Path, which: int) -> None:
    builder = LayoutBuilder(tmp_path / "box")
    manifest = builder.image([CONTENT])
    builder.index(latest=manifest)
    altered(layers_of(builder, manifest)[which], builder.folder)
    with pytest.raises(ImageError, match="was altered"):
        ImageStore(tmp_path / "cache").resolve("oci-layout:box", base_dir=tmp_path)
    assert leftovers(tmp_path / "cache") == []
    assert ImageStore(tmp_path / "cache").list() == ()


@needs_squashfs
def test_a_layer_that_the_configuration_does_not_name_is_refused(tmp_path: Path) -> None:
    builder = LayoutBuilder(tmp_path / "box")
    good = builder.image([CONTENT])
    config, _ = layers_of(builder, good)
    other = builder.blob(layer(entry("other", b"x")), "application/vnd.oci.image.layer.v1.tar")
    builder.index(latest=builder.json_blob({"config": config, "layers": [other]}, good["mediaType"]))
    with pytest.raises(ImageError, match="not the one that the image's configuration names"):
        ImageStore(tmp_path / "cache").resolve("oci-layout:box", base_dir=tmp_path)


@pytest.mark.parametrize(
    "digest", ["sha256:../../../../etc/passwd", "md5:00", "sha256:" + "A" * 64, "", None, 5], ids=str
)
def test_a_digest_that_is_none_is_refused(tmp_path: Path, digest: Any) -> None:
    builder = LayoutBuilder(tmp_path / "box")
    builder.index(latest={"mediaType": "x", "digest": digest, "size": 1})
    with pytest.raises(ImageError, match="wrong descriptor"):
        open_layout(builder.folder, None)


def test_missing_and_cut_blobs_are_refused(tmp_path: Path) -> None:
    builder = LayoutBuilder(tmp_path / "box")
    manifest = builder.image([CONTENT])
    builder.index(latest=manifest)
    path = builder.folder / "blobs/sha256" / manifest["digest"].removeprefix("sha256:")
    path.write_bytes(path.read_bytes()[:10])
    with pytest.raises(ImageError, match="has 10 bytes instead of"):
        open_layout(builder.folder, None)
    path.unlink()
    with pytest.raises(ImageError, match="lacks its blob"):
        open_layout(builder.folder, None)


@pytest.mark.parametrize("index", [b"", b"[]", b'{"manifests": 5}', b'{"manifests": [5]}', b"{" * 100_000])
def test_an_index_that_is_none_is_refused(tmp_path: Path, index: bytes) -> None:
    builder = LayoutBuilder(tmp_path / "box")
    (builder.folder / "index.json").write_bytes(index)
    with pytest.raises(ImageError):
        open_layout(builder.folder, None)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no folder"):
        ImageStore(tmp_path / "cache").resolve("oci-layout:nowhere:tag", base_dir=tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="not an OCI layout"):
        ImageStore(tmp_path / "cache").resolve("oci-layout:empty", base_dir=tmp_path)
