"""`aegis image` and `aegis setup` as a user sees them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from image_tools import needs_squashfs

from aegis.cli import main
from aegis.sandbox.images import tools
from aegis.sandbox.images.oci.layout import host_architecture
from support.oci import LayoutBuilder, entry, layer


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AEGIS_CACHE_DIR", str(tmp_path / "cache"))
    builder = LayoutBuilder(tmp_path / "box")
    builder.index(latest=builder.image([layer(entry("hi", b"hi"))], architecture=host_architecture()))
    return tmp_path


@needs_squashfs
def test_build_list_show_remove(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["image", "build", "oci-layout:box"]) == 0
    out, err = capsys.readouterr()
    digest = out.split()[1]
    assert out.startswith("oci-layout:box  ")
    assert "building image oci-layout:box" in err

    assert main(["image", "list"]) == 0
    assert digest in capsys.readouterr().out
    assert main(["image", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["images"]
    assert [image["ref"] for image in listed] == ["oci-layout:box"]

    assert main(["image", "show", digest, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown == listed[0]
    assert shown["digest"].startswith(digest)
    assert Path(shown["rootfs"]).stat().st_size == shown["size_bytes"]

    assert main(["image", "remove", digest]) == 0
    assert "removed oci-layout:box" in capsys.readouterr().out
    assert main(["image", "list"]) == 0
    assert "no images yet" in capsys.readouterr().out


@needs_squashfs
def test_prune(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["image", "build", "oci-layout:box"]) == 0
    assert main(["image", "prune"]) == 0
    assert "removed" not in capsys.readouterr().out
    assert main(["image", "prune", "--keep-days", "0"]) == 0
    assert "removed oci-layout:box" in capsys.readouterr().out


def test_errors_are_one_message_with_a_fix(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "image.toml").write_text("pakages = []\n")
    assert main(["image", "build", "image.toml"]) == 2
    assert "image.toml:1: unknown key 'pakages' (did you mean 'packages'?)" in capsys.readouterr().err
    assert main(["image", "show", "nothing"]) == 3
    err = capsys.readouterr().err
    assert "no image nothing in the cache" in err
    assert "Traceback" not in err


def test_setup_names_what_is_missing(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools, "find_tool", lambda name: "/usr/bin/apt-get" if name == "apt-get" else None)
    assert main(["setup"]) == 3
    err = capsys.readouterr().err
    assert "running machines needs qemu-system-x86_64, dpkg-deb, mksquashfs, mmdebstrap" in err
    assert "apt-get install -y dpkg mmdebstrap qemu-system-x86 squashfs-tools util-linux" in err


@pytest.mark.parametrize("command", [["image", "build"], ["image", "list"], ["image", "prune"], ["setup"]])
def test_help_has_examples(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--help"]) == 0
    out = capsys.readouterr().out
    assert "Examples:" in out
    assert f"aegis {' '.join(command)}" in out
