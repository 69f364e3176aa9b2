"""Merging layers: whiteouts, links, and names that try to leave the image."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from aegis.errors import ImageError
from aegis.sandbox.images.oci.flatten import Flattened
from support.oci import entry, hard_link, layer, symlink


def flatten(tmp_path: Path, *layers: bytes) -> dict[str, tarfile.TarInfo]:
    """Path → header of the merged archive; `content` of the files is in `pax_headers`."""
    paths = []
    for number, content in enumerate(layers):
        path = tmp_path / f"{number}.tar"
        path.write_bytes(content)
        paths.append(path)
    stream = io.BytesIO()
    with Flattened(paths) as flattened:
        flattened.write(stream)
    stream.seek(0)
    with tarfile.open(fileobj=stream) as archive:
        found = {}
        for member in archive:
            if member.isreg():
                content = archive.extractfile(member)
                assert content is not None
                member.pax_headers = {"content": content.read().decode()}
            found[member.name] = member
        assert list(found) == sorted(found, key=lambda name: name.split("/"))
        return found


def content(found: dict[str, tarfile.TarInfo], name: str) -> str:
    return found[name].pax_headers["content"]


def test_upper_files_replace_lower_ones(tmp_path: Path) -> None:
    found = flatten(
        tmp_path,
        layer(entry("a"), entry("a/x", b"old"), entry("a/y", b"kept", uid=7, gid=8, mode=0o640)),
        layer(entry("a", mode=0o700), entry("./a/x", b"new")),
    )
    assert list(found) == ["a", "a/x", "a/y"]
    assert content(found, "a/x") == "new"
    assert (found["a/y"].uid, found["a/y"].gid, found["a/y"].mode) == (7, 8, 0o640)
    assert found["a"].mode == 0o700


def test_whiteouts_remove_what_lower_layers_hold(tmp_path: Path) -> None:
    found = flatten(
        tmp_path,
        layer(
            entry("a"),
            entry("a/x", b"1"),
            entry("a/y", b"2"),
            entry("b"),
            entry("b/deep"),
            entry("b/deep/z", b"3"),
        ),
        layer(entry("a/.wh.x", b""), entry(".wh.b", b""), entry("a/.wh.never-was", b"")),
    )
    assert list(found) == ["a", "a/y"]


def test_a_whiteout_spares_its_own_layer(tmp_path: Path) -> None:
    found = flatten(
        tmp_path,
        layer(entry("a"), entry("a/x", b"old")),
        layer(entry("a"), entry("a/x", b"new"), entry("a/.wh.x", b"")),
    )
    assert content(found, "a/x") == "new"


def test_an_opaque_folder_hides_everything_below_it(tmp_path: Path) -> None:
    found = flatten(
        tmp_path,
        layer(entry("a"), entry("a/x", b"1"), entry("a/sub"), entry("a/sub/y", b"2")),
        layer(entry("a"), entry("a/new", b"3"), entry("a/.wh..wh..opq", b"")),
    )
    assert list(found) == ["a", "a/new"]


def test_a_file_replaces_a_folder_and_a_folder_a_file(tmp_path: Path) -> None:
    found = flatten(
        tmp_path,
        layer(entry("a"), entry("a/x", b"1"), entry("b", b"file")),
        layer(entry("a", b"now a file"), entry("b"), entry("b/y", b"2")),
    )
    assert list(found) == ["a", "b", "b/y"]
    assert content(found, "a") == "now a file"


def test_hard_links_within_and_across_layers(tmp_path: Path) -> None:
    found = flatten(
        tmp_path,
        layer(entry("bin"), entry("bin/one", b"tool"), hard_link("bin/two", "bin/one")),
        layer(hard_link("alias", "bin/two"), entry("bin/.wh.one", b"")),
    )
    # The first name in the archive's order carries the content, whichever it was in the layers.
    assert content(found, "alias") == "tool"
    assert found["bin/two"].islnk()
    assert found["bin/two"].linkname == "alias"
    assert "bin/one" not in found


def test_replacing_one_name_leaves_the_other_link(tmp_path: Path) -> None:
    found = flatten(
        tmp_path, layer(entry("one", b"old"), hard_link("two", "one")), layer(entry("one", b"new"))
    )
    assert (content(found, "one"), content(found, "two")) == ("new", "old")


def test_paths_go_through_the_images_own_links(tmp_path: Path) -> None:
    found = flatten(
        tmp_path,
        layer(
            entry("usr"), entry("usr/lib"), symlink("lib", "usr/lib"), symlink("opt", "/usr/../../usr/lib")
        ),
        layer(entry("lib/a.so", b"1"), entry("opt/b.so", b"2")),
        layer(entry("lib/.wh.a.so", b"")),
    )
    assert list(found) == ["lib", "opt", "usr", "usr/lib", "usr/lib/b.so"]
    assert found["lib"].issym()


def test_missing_parents_are_made(tmp_path: Path) -> None:
    found = flatten(tmp_path, layer(entry("a/b/c", b"1")))
    assert (found["a"].mode, found["a/b"].isdir()) == (0o755, True)


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/../evil", "a/.."])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ImageError, match="leads out"):
        flatten(tmp_path, layer(entry(name, b"x")))


def test_a_hard_link_that_leads_out_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="leads out"):
        flatten(tmp_path, layer(hard_link("passwords", "../../etc/shadow")))


def test_a_symbolic_link_cannot_lead_a_file_out(tmp_path: Path) -> None:
    found = flatten(tmp_path, layer(symlink("out", "../../../tmp")), layer(entry("out/file", b"x")))
    assert list(found) == ["out", "tmp", "tmp/file"]


@pytest.mark.parametrize(
    "members",
    [
        [hard_link("a", "nowhere")],
        [entry("d"), hard_link("a", "d")],
        [symlink("a", "b"), symlink("b", "a"), entry("a/x", b"1")],
        [entry("file", b"1"), entry("file/x", b"2")],
    ],
    ids=["dangling", "to-a-folder", "circle", "below-a-file"],
)
def test_nonsense_is_an_error(tmp_path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    with pytest.raises(ImageError):
        flatten(tmp_path, layer(*members))


def test_a_damaged_layer_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="layer 1"):
        flatten(tmp_path, b"this is no archive" * 100)
    with pytest.raises(ImageError, match="layer 2"):
        flatten(tmp_path, layer(entry("a")), layer(entry("b", b"x" * 5000))[:2000])


def test_device_nodes_are_left_out_and_attributes_kept(tmp_path: Path) -> None:
    capability = entry("ping", b"x", pax_headers={"SCHILY.xattr.user.note": "yes", "comment": "no"})
    node = entry("dev/sda", type=tarfile.BLKTYPE, devmajor=8, devminor=0)
    stream = io.BytesIO()
    path = tmp_path / "layer.tar"
    path.write_bytes(layer(entry("dev"), node, capability))
    with Flattened([path]) as flattened:
        flattened.write(stream)
    stream.seek(0)
    with tarfile.open(fileobj=stream) as archive:
        assert archive.getnames() == ["dev", "ping"]
        assert archive.getmember("ping").pax_headers == {"SCHILY.xattr.user.note": "yes"}
