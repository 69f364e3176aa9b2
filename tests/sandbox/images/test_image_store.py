"""The store's housekeeping: listing, removing, pruning, and a disk that is full."""

from __future__ import annotations

import errno
import os
import shutil
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from image_tools import leftovers, needs_squashfs

from aegis.errors import HostNeedsError, ImageError
from aegis.sandbox.images import Image, ImageStore
from aegis.sandbox.images import tools as image_tools_module
from aegis.sandbox.images.cache import cache_folder, exclusive, staging
from aegis.sandbox.images.disk import disk_errors
from aegis.sandbox.images.oci import layout
from support.oci import LayoutBuilder, entry, layer


def made(tmp_path: Path, *names: str) -> tuple[ImageStore, list[Image]]:
    store = ImageStore(tmp_path / "cache")
    images = []
    for name in names:
        builder = LayoutBuilder(tmp_path / name)
        content = layer(entry(name, name.encode()))
        builder.index(latest=builder.image([content], architecture=layout.host_architecture()))
        images.append(store.resolve(f"oci-layout:{name}", base_dir=tmp_path))
    return store, images


def aged(image: Image, days: float) -> None:
    then = time.time() - days * 86400
    os.utime(image.rootfs.parent, (then, then))


@needs_squashfs
def test_list_show_and_remove(tmp_path: Path) -> None:
    store, (one, two) = made(tmp_path, "one", "two")
    aged(one, 1)
    assert store.list() == (two, one)
    assert store.show("oci-layout:one") == one
    assert store.show(two.digest[:10]) == two
    removed = store.remove(one.digest)
    assert removed.names == ("oci-layout:one",)
    assert removed.freed_bytes > 0
    assert store.list() == (two,)
    with pytest.raises(ImageError, match="no image oci-layout:one"):
        store.remove("oci-layout:one")


@needs_squashfs
def test_a_removed_image_is_built_again_with_the_same_digest(tmp_path: Path) -> None:
    store, (one,) = made(tmp_path, "one")
    store.remove("oci-layout:one")
    assert store.resolve("oci-layout:one", base_dir=tmp_path).digest == one.digest


@needs_squashfs
def test_prune_goes_by_the_last_use(tmp_path: Path) -> None:
    store, (old, used, fresh) = made(tmp_path, "old", "used", "fresh")
    for image in (old, used):
        aged(image, 40)
    store.resolve("oci-layout:used", base_dir=tmp_path)
    assert "oci-layout:old" in store.prune(30).names
    assert {image.ref for image in store.list()} == {used.ref, fresh.ref}
    store.prune(0)
    assert store.list() == ()


@needs_squashfs
def test_prune_leaves_what_is_being_built(tmp_path: Path) -> None:
    store, (one,) = made(tmp_path, "one")
    with exclusive(store.cache / "locks" / f"image-{one.key}", what="test"):
        store.prune(0)
    assert store.list() == (one,)


@needs_squashfs
def test_a_damaged_image_is_built_again(tmp_path: Path) -> None:
    store, (one,) = made(tmp_path, "one")
    one.rootfs.write_bytes(b"cut short")
    assert store.list() == ()
    again = store.resolve("oci-layout:one", base_dir=tmp_path)
    assert again.digest == one.digest
    assert again.rootfs.stat().st_size == one.size_bytes


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@needs_squashfs
def test_a_build_that_cannot_fit_does_not_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10, 10, 5 << 20))
    with pytest.raises(ImageError, match=r"is full \(5 MiB free, about 64 MiB needed\)"):
        made(tmp_path, "one")
    assert leftovers(tmp_path / "cache") == []


def fill_up(cache: Path, number: int) -> None:
    with disk_errors(cache, "building", 100 << 20), staging(cache, "build") as work:
        (work / "half").write_text("half")
        raise OSError(number, os.strerror(number))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_up_in_the_middle(tmp_path: Path, number: int) -> None:
    with pytest.raises(ImageError, match=r"building: the disk of .* is full .* about 100 MiB needed"):
        fill_up(tmp_path, number)
    assert leftovers(tmp_path) == []


def test_a_cache_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ImageError, match="cannot make") as caught, staging(tmp_path / "file/cache", "build"):
        pass
    assert "AEGIS_CACHE_DIR" in str(caught.value.fix)


def test_missing_tools_are_named_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    here = {"apt-get"}
    monkeypatch.setattr(image_tools_module, "find_tool", lambda name: name if name in here else None)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(HostNeedsError, match="testing needs mksquashfs, unsquashfs, skopeo") as caught:
        image_tools_module.require_tools("apt-get", "mksquashfs", "unsquashfs", "skopeo", purpose="testing")
    assert caught.value.fix == "sudo apt-get install -y skopeo squashfs-tools"
    here.clear()
    with pytest.raises(HostNeedsError, match="needs a Debian host"):
        image_tools_module.require_tools("apt-get", purpose="testing")


def test_where_the_cache_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("AEGIS_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == tmp_path / ".cache/aegis"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg/aegis"
    monkeypatch.setenv("AEGIS_CACHE_DIR", str(tmp_path / "named"))
    assert cache_folder() == tmp_path / "named"
    assert cache_folder(tmp_path) == tmp_path


def test_waiting_for_a_lock_is_said(tmp_path: Path) -> None:
    import threading

    said = threading.Event()
    order: list[str] = []

    def second() -> None:
        with exclusive(tmp_path / "lock", what="it", progress=lambda _: said.set()):
            order.append("second")

    thread = threading.Thread(target=second)
    with exclusive(tmp_path / "lock", what="it"):
        thread.start()
        assert said.wait(60)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def saved_template(store: ImageStore, key: str, days: float) -> Path:
    folder = store.cache / "templates" / key
    folder.mkdir(parents=True)
    (folder / "ram").write_bytes(b"x" * 10_000)
    (folder / "meta.json").write_text("{}")
    then = time.time() - days * 86400
    os.utime(folder / "meta.json", (then, then))
    return folder


def test_prune_takes_templates_that_nothing_used(tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "cache")
    old, used = saved_template(store, "a" * 64, 40), saved_template(store, "b" * 64, 1)
    made_now = saved_template(store, "c" * 64, 40)
    with exclusive(store.cache / "templates" / f"{made_now.name}.lock", what="test"):
        removed = store.prune(30)
    assert removed.names == (f"templates/{old.name}",)
    assert removed.freed_bytes >= 10_000
    assert (old.exists(), used.exists(), made_now.exists()) == (False, True, True)
