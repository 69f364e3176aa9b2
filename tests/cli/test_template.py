"""`aegis template`."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from cli_project import Folder

from aegis.sandbox.saved import hold

BOOT = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
SUPPORT, ORDERS = "abcd" + "0" * 60, "ef01" + "0" * 60


def saved(cache: Path, key: str, days: float, **meta: Any) -> None:
    folder = cache / "templates" / key
    folder.mkdir(parents=True)
    (folder / "ram").write_bytes(b"x" * (2 << 20))
    document = {
        "image": "debian",
        "memory_bytes": 512 << 20,
        "created": time.time(),
        "host_boot": BOOT,
        **meta,
    }
    (folder / "meta.json").write_text(json.dumps(document))
    then = time.time() - days * 86400
    os.utime(folder / "meta.json", (then, then))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AEGIS_CACHE_DIR", str(tmp_path / "cache"))
    saved(
        tmp_path / "cache",
        SUPPORT,
        1,
        suite="support",
        setup=["pip install x\x1b[2J"],
        services=["db", "mail"],
    )
    saved(tmp_path / "cache", ORDERS, 40, suite="orders", project="/srv/shop", host_boot="another")
    return tmp_path / "cache"


def test_list(project: Folder, cache: Path) -> None:
    ran = project("template", "list")
    head, support, orders, total = ran.stdout.splitlines()
    assert head.split() == ["KEY", "SUITE", "IMAGE", "MEMORY", "ON", "DISK", "MADE", "USED", "STATE"]
    assert support.startswith("abcd00000000  support  debian  512.0 MiB  2.0 MiB ")
    assert (support.split()[-1], orders.split()[-1]) == ("ready", "stale")
    assert total == "2 templates, 4.0 MiB on disk"
    (first, second) = json.loads(project("template", "list", "--json").stdout)["templates"]
    assert (first["key"], first["services"], first["in_use"]) == (SUPPORT, ["db", "mail"], False)
    assert 2 << 20 <= second["disk_bytes"] < 3 << 20


def test_there_are_none(project: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEGIS_CACHE_DIR", str(tmp_path / "empty"))
    ran = project("template", "list")
    assert (ran.code, ran.stdout) == (0, "no templates yet: the first run of a suite saves one\n")
    assert project("template", "prune").stdout == "freed 0.0 MiB\n"
    assert not (tmp_path / "empty").exists()


def test_show(project: Folder, cache: Path) -> None:
    shown = project("template", "show", "abcd").stdout
    assert "set-up 1:    pip install x" in shown
    assert "services:    db, mail\n" in shown
    assert "\x1b" not in shown
    document = json.loads(project("template", "show", "orders", "--json").stdout)
    assert (document["project"], document["stale"]) == ("/srv/shop", True)
    ran = project("template", "show", "nothing")
    assert (ran.code, ran.stdout) == (2, "")
    assert "there is no template 'nothing'" in ran.stderr


def test_prune(project: Folder, cache: Path) -> None:
    would = project("template", "prune", "--dry-run").stdout
    assert would == "would remove ef0100000000  orders  2.0 MiB\nwould free 2.0 MiB\n"
    assert (cache / "templates" / ORDERS).exists()
    assert project("template", "prune").stdout == "removed ef0100000000  orders  2.0 MiB\nfreed 2.0 MiB\n"
    assert not (cache / "templates" / ORDERS).exists()
    assert project("template", "prune", "--keep", "1").stdout == "freed 0.0 MiB\n"
    assert "removed abcd00000000" in project("template", "prune", "support").stdout
    assert project("template", "list").stdout.startswith("no templates yet")


def test_one_that_is_in_use_is_refused_by_name_and_skipped_by_age(project: Folder, cache: Path) -> None:
    held = hold(cache / "templates", ORDERS)
    try:
        ran = project("template", "prune", "orders")
        assert ran.code == 2
        assert "template ef0100000000 is in use by a run" in ran.stderr
        assert project("template", "prune", "--keep-days", "0").stdout.startswith("removed abcd")
        assert project("template", "list").stdout.splitlines()[1].endswith("in use")
        assert project("image", "prune", "--keep-days", "0").stdout == "freed 0.0 MiB\n"
    finally:
        os.close(held)
    assert f"removed templates/{ORDERS}" in project("image", "prune", "--keep-days", "30").stdout


def test_names_and_ages_together_are_refused(project: Folder, cache: Path) -> None:
    ran = project("template", "prune", "orders", "--keep", "1")
    assert (ran.code, ran.stdout) == (2, "")
    assert len(list((cache / "templates").iterdir())) == 2
