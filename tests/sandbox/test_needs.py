"""The host's needs: everything that is missing comes with its fix, and nothing is raised."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from aegis.sandbox import needs as needs_module
from aegis.sandbox.images import namespaces, tools
from aegis.sandbox.needs import Need, needs


def by_name(cache: Path) -> dict[str, Need]:
    return {need.name: need for need in needs(cache)}


def test_a_missing_need_has_a_fix_and_a_met_one_has_none(tmp_path: Path) -> None:
    found = needs(tmp_path)
    assert len({need.name for need in found}) == len(found)
    for need in found:
        assert (need.fix is None) == need.ok
        assert need.why
        assert need.detail


def test_missing_programs_are_installed_by_their_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        needs_module, "find_tool", lambda name: "/usr/bin/apt-get" if name == "apt-get" else None
    )
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    found = by_name(tmp_path)
    assert found["apt-get"].ok
    assert found["qemu-system-x86_64"].fix == "apt-get install -y qemu-system-x86"
    assert found["mksquashfs"].fix == "apt-get install -y squashfs-tools"
    assert (found["skopeo"].ok, found["skopeo"].required) == (False, False)


def test_a_host_without_apt_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs_module, "find_tool", lambda _: None)
    assert "Debian" in str(by_name(tmp_path)["mmdebstrap"].fix)


def test_another_architecture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    need = by_name(tmp_path)["x86_64 Linux"]
    assert (need.ok, need.detail) == (False, "Linux riscv64")


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_a_full_disk_and_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, 1 << 30))
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: "MemTotal: 900 kB\nMemAvailable: 500 kB\n")
    found = by_name(tmp_path / "not/yet/made")
    assert found["disk space (3 GiB)"].detail == f"1.0 GiB free for {tmp_path / 'not/yet/made'}"
    assert not found["disk space (3 GiB)"].ok
    assert not found["memory (1 GiB)"].ok


def test_subordinate_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "subuid"
    table.write_text("other:100000:65536\n1234:200000:65536\n")
    monkeypatch.setattr(os, "getuid", lambda: 1234)
    assert namespaces.has_subordinate_ids(table, "me")
    monkeypatch.setattr(os, "getuid", lambda: 4321)
    assert not namespaces.has_subordinate_ids(table, "me")
    assert namespaces.has_subordinate_ids(table, "other")
    assert not namespaces.has_subordinate_ids(tmp_path / "nowhere", "me")


def test_the_install_line_names_each_package_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1)
    assert (
        tools.install_line(["unsquashfs", "mksquashfs", "skopeo"])
        == "sudo apt-get install -y skopeo squashfs-tools"
    )
