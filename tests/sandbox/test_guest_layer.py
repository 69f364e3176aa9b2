"""An overlay's layer, as the kernel writes it, compared with a mark. Needs root, to mount one."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aegis.sandbox.guest import changes, layer

LIBC = ctypes.CDLL(None, use_errno=True)


class Overlay:
    """An image below, a layer above, and what both come to."""

    def __init__(self, folder: Path) -> None:
        self.image, self.merged = folder / "image", folder / "merged"
        self.space = folder / "space"
        for each in (self.image, self.merged, self.space):
            each.mkdir()
        self.tree = changes.Tree("", None)

    def mount(self) -> None:
        """The image is as it should be."""
        _mount("tmpfs", self.space, "tmpfs", "")
        (self.space / "data").mkdir()
        (self.space / "work").mkdir()
        layers = f"lowerdir={self.image},upperdir={self.space}/data,workdir={self.space}/work"
        _mount("overlay", self.merged, "overlay", layers)
        self.tree = changes.Tree(f"{self.space}/data", str(self.image))

    def sh(self, script: str) -> None:
        subprocess.run(["sh", "-ec", script], cwd=self.merged, check=True)

    def told(self) -> list[tuple[str, str, str, str | None, str | None]]:
        """Path, how, kind, and the contents."""
        return [
            (each["path"], each["how"], each["kind"], *map(_text, each["content"]))
            for each in self.answer()[:-1]
        ]

    def answer(self, max_items: int = 2000) -> list[dict[str, Any]]:
        lines = self.tree.changes(max_items=max_items, max_file_bytes=65536, max_bytes=1 << 20)
        return [json.loads(line) for line in lines]


def _text(content: str | None) -> str | None:
    import base64

    return None if content is None else base64.b64decode(content).decode()


def _mount(source: str, target: Path, kind: str, data: str) -> None:
    if (
        LIBC.mount(source.encode(), str(target).encode(), kind.encode(), ctypes.c_ulong(0), data.encode())
        != 0
    ):
        pytest.skip(f"no {kind} can be mounted here: {os.strerror(ctypes.get_errno())}")


@pytest.fixture
def overlay(tmp_path: Path) -> Iterator[Overlay]:
    made = Overlay(tmp_path)
    try:
        yield made
    finally:
        for each in (made.merged, made.space):
            LIBC.umount2(str(each).encode(), 2)
        shutil.rmtree(tmp_path, ignore_errors=True)


def write(folder: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def test_files_of_the_image_changed_and_deleted(overlay: Overlay) -> None:
    write(overlay.image, {"etc/a": "1\n", "etc/b": "2\n", "etc/c": "3\n", "etc/same": "s\n"})
    overlay.mount()
    overlay.tree.mark()
    overlay.sh("echo more >> etc/a; rm etc/b; touch etc/c; echo s > etc/same; echo new > etc/d")
    assert overlay.told() == [
        ("/etc/a", "changed", "file", "1\n", "1\nmore\n"),
        ("/etc/b", "deleted", "file", "2\n", None),
        ("/etc/d", "added", "file", None, "new\n"),
    ]


def test_a_deleted_folder_of_the_image_takes_all_with_it(overlay: Overlay) -> None:
    write(overlay.image, {"data/x": "1", "data/deep/y": "2", "other": "3"})
    overlay.mount()
    overlay.tree.mark()
    overlay.sh("rm -r data")
    assert overlay.told() == [
        ("/data", "deleted", "folder", None, None),
        ("/data/deep", "deleted", "folder", None, None),
        ("/data/deep/y", "deleted", "file", "2", None),
        ("/data/x", "deleted", "file", "1", None),
    ]


def test_a_folder_made_anew_hides_what_the_image_had(overlay: Overlay) -> None:
    write(overlay.image, {"data/x": "1", "data/y": "2", "data/z/deep": "3"})
    overlay.mount()
    overlay.tree.mark()
    overlay.sh("rm -r data; mkdir data; printf 1 > data/x")
    assert overlay.told() == [
        ("/data/y", "deleted", "file", "2", None),
        ("/data/z", "deleted", "folder", None, None),
        ("/data/z/deep", "deleted", "file", "3", None),
    ]


def test_what_was_gone_at_the_mark_is_not_gone_again(overlay: Overlay) -> None:
    write(overlay.image, {"data/x": "1", "data/y": "2", "b/z": "3", "c": "4"})
    overlay.mount()
    overlay.sh("rm -r data b c; mkdir b")
    overlay.tree.mark()
    assert overlay.told() == []
    overlay.sh("mkdir data; echo back > data/x; rmdir b; echo c > c")
    assert overlay.told() == [
        ("/b", "deleted", "folder", None, None),
        ("/c", "added", "file", None, "c\n"),
        ("/data", "added", "folder", None, None),
        ("/data/x", "added", "file", None, "back\n"),
    ]


def test_a_renamed_folder_of_the_image(overlay: Overlay) -> None:
    write(overlay.image, {"old/a": "1", "old/b/c": "2"})
    overlay.mount()
    overlay.tree.mark()
    overlay.sh("mv old new")
    told = overlay.told()
    assert [each[:2] for each in told] == [
        ("/new", "added"),
        ("/new/a", "added"),
        ("/new/b", "added"),
        ("/new/b/c", "added"),
        ("/old", "deleted"),
        ("/old/a", "deleted"),
        ("/old/b", "deleted"),
        ("/old/b/c", "deleted"),
    ]
    assert ("/new/b/c", "added", "file", None, "2") in told


def test_kinds_that_change_places(overlay: Overlay) -> None:
    write(overlay.image, {"folder/a": "1", "file": "2"})
    (overlay.image / "link").symlink_to("file")
    overlay.mount()
    overlay.tree.mark()
    overlay.sh("rm -r folder; echo f > folder; rm file; mkdir file; ln -sfn elsewhere link")
    assert overlay.told() == [
        ("/file", "deleted", "file", "2", None),
        ("/file", "added", "folder", None, None),
        ("/folder", "deleted", "folder", None, None),
        ("/folder", "added", "file", None, "f\n"),
        ("/folder/a", "deleted", "file", "1", None),
        ("/link", "changed", "link", "file", "elsewhere"),
    ]


def test_links_of_the_image_do_not_lead_anywhere(overlay: Overlay, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/x").write_text("secret")
    overlay.image.joinpath("way").symlink_to(tmp_path / "secret")
    overlay.mount()
    overlay.tree.mark()
    overlay.sh("rm way; mkdir way; echo mine > way/x")
    assert overlay.told() == [
        ("/way", "deleted", "link", str(tmp_path / "secret"), None),
        ("/way", "added", "folder", None, None),
        ("/way/x", "added", "file", None, "mine\n"),
    ]


def test_a_mark_made_ahead_is_brought_up_to_date(overlay: Overlay) -> None:
    write(overlay.image, {"etc/conf": "image\n"})
    overlay.mount()
    overlay.sh(
        "mkdir -p workspace srv/db; echo set-up > workspace/a; echo rows > srv/db/t; echo x > workspace/gone"
    )
    overlay.tree.mark(ahead=True)
    assert not overlay.tree.is_marked
    overlay.sh("echo world >> workspace/a; echo row >> srv/db/t; rm workspace/gone; echo w > workspace/w")
    overlay.tree.mark()
    assert overlay.tree.is_marked
    assert overlay.told() == []
    overlay.sh(
        "echo agent >> workspace/a; echo agent >> etc/conf; rm workspace/w; echo again > workspace/gone"
    )
    assert overlay.told() == [
        ("/etc/conf", "changed", "file", "image\n", "image\nagent\n"),
        ("/workspace/a", "changed", "file", "set-up\nworld\n", "set-up\nworld\nagent\n"),
        ("/workspace/gone", "added", "file", None, "again\n"),
        ("/workspace/w", "deleted", "file", "w\n", None),
    ]


def test_what_was_kept_ahead_is_told_without_being_read_again(overlay: Overlay) -> None:
    overlay.mount()
    overlay.sh("mkdir workspace; echo kept > workspace/a")
    overlay.tree.mark(ahead=True)
    os.utime(overlay.space / "data/workspace/a", ns=(0, 0))  # older than any tick of the clock
    overlay.tree.mark(ahead=True)
    overlay.tree.mark()
    overlay.sh("echo changed > workspace/a; rm -f workspace/b")
    assert overlay.told() == [("/workspace/a", "changed", "file", "kept\n", "changed\n")]


def test_a_listing_that_does_not_fit_invents_no_changes(
    overlay: Overlay, monkeypatch: pytest.MonkeyPatch
) -> None:
    overlay.mount()
    overlay.sh("mkdir many; for i in $(seq 50); do echo $i > many/$i; done; sleep 0.1")
    monkeypatch.setattr(layer, "MAX_ENTRIES", 20)
    overlay.tree.mark()
    answer = overlay.answer()
    assert answer == [{"more": 1}], "it cannot say that nothing changed, and says nothing else"
    monkeypatch.setattr(layer, "MAX_ENTRIES", 40_000)
    assert overlay.told() == []
    overlay.sh("rm many/7 many/8; echo new > many/new")
    told = overlay.told()
    assert ("/many/new", "added", "file", None, "new\n") in told
    assert all(each[0] in ("/many/7", "/many/8", "/many/new") for each in told)


def test_a_link_put_in_a_folders_place_is_not_followed(tmp_path: Path) -> None:
    """As a program of the workload could do between two looks."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text("secret")
    top = tmp_path / "top"
    top.mkdir()
    (top / "d").symlink_to(tmp_path / "outside")
    fd = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert layer.content(fd, "d/secret", 0o100644, 100) is None
        assert layer.looked_up(fd, "d/secret") is None
        assert layer.take(fd, None, layered=False, thorough=True).folders.keys() == {""}
        os.mkfifo(top / "pipe")
        assert layer.content(fd, "pipe", 0o100644, 100) is None
    finally:
        os.close(fd)
