"""The saved templates as files: what they cost, who uses them, and their removal."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from aegis.errors import UsageError
from aegis.sandbox.images.cache import exclusive
from aegis.sandbox.qemu import memory
from aegis.sandbox.qemu.machine import Saved
from aegis.sandbox.qemu.template import TemplateStore
from aegis.sandbox.saved import SavedMachines

MIB = 1 << 20
BOOT = Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def make(cache: Path, key: str, days: float = 0.0, **meta: Any) -> Path:
    """A template as the driver keeps it: memory with holes."""
    ram, state = memory.create("memory", 64 * MIB), memory.create("state", 100)
    os.pwrite(ram, b"x" * 3 * MIB, 8 * MIB)
    store = TemplateStore(cache / "templates")
    (cache / "templates").mkdir(parents=True, exist_ok=True)
    description = {"image": "debian", "memory_bytes": 64 * MIB, "setup": ["step"], "host_boot": BOOT, **meta}
    store.store(key, Saved(ram, state, 1, {}), description)
    folder = cache / "templates" / key
    then = time.time() - days * 86400
    os.utime(folder / "meta.json", (then, then))
    return folder


def keys(found: Any) -> list[str]:
    return [each.key for each in found]


def test_what_they_cost_and_what_they_are_made_of(tmp_path: Path) -> None:
    make(tmp_path, "a" * 64, days=2, suite="support", services=["db"])
    make(tmp_path, "b" * 64, days=1, host_boot="another")
    newest, older = SavedMachines(tmp_path).list()
    assert (newest.key, older.key) == ("b" * 64, "a" * 64)
    # Only what is not zero is on the disk.
    assert 3 * MIB <= older.disk_bytes < 8 * MIB
    document = older.as_json()
    assert document["memory_bytes"] == 64 * MIB
    assert (document["suite"], document["services"], document["setup"]) == ("support", ["db"], ["step"])
    assert (older.stale, newest.stale, older.in_use) == (False, True, False)
    assert json.loads(json.dumps(document)) == document


def test_one_whose_description_is_broken_is_shown_all_the_same(tmp_path: Path) -> None:
    folder = make(tmp_path, "a" * 64)
    (folder / "meta.json").write_text("[]")
    (found,) = SavedMachines(tmp_path).list()
    assert (found.meta, found.memory_bytes, found.words("setup"), found.stale) == ({}, None, [], True)
    (folder / "meta.json").unlink()
    assert keys(SavedMachines(tmp_path).list()) == ["a" * 64]


def test_there_are_none(tmp_path: Path) -> None:
    store = SavedMachines(tmp_path)
    assert store.list() == ()
    assert store.prune(keep_days=0) == store.prune(keep=0)
    with pytest.raises(UsageError, match="no template 'abcd'"):
        store.find("abcd")


def test_a_template_is_found_by_its_key_or_its_suite(tmp_path: Path) -> None:
    make(tmp_path, "abcd" + "0" * 60, suite="support")
    make(tmp_path, "abce" + "0" * 60, suite="orders")
    store = SavedMachines(tmp_path)
    assert store.find("abcd").text("suite") == "support"
    assert store.find("orders").key.startswith("abce")
    with pytest.raises(UsageError):
        store.find("abc")
    make(tmp_path, "abcd" + "1" * 60, suite="support")
    for written in ("abcd", "support"):
        with pytest.raises(UsageError, match="several templates"):
            store.find(written)


def test_prune_by_age_and_by_number(tmp_path: Path) -> None:
    for number, days in enumerate((0, 10, 40, 50)):
        make(tmp_path, str(number) * 64, days=days)
    store = SavedMachines(tmp_path)
    assert keys(store.prune(keep_days=30, dry_run=True).removed) == ["2" * 64, "3" * 64]
    assert keys(store.prune(keep_days=30, keep=3, dry_run=True).removed) == ["3" * 64]
    assert keys(store.prune(keep=1, dry_run=True).removed) == ["1" * 64, "2" * 64, "3" * 64]
    assert len(store.list()) == 4
    pruned = store.prune(keep_days=30)
    assert pruned.freed_bytes >= 6 * MIB
    assert keys(store.list()) == ["0" * 64, "1" * 64]
    assert keys(store.prune(keys=["0" * 64]).removed) == ["0" * 64]
    assert keys(store.prune(keep_days=0).removed) == ["1" * 64]


def test_what_is_in_use_stays(tmp_path: Path) -> None:
    make(tmp_path, "a" * 64, days=50)
    make(tmp_path, "b" * 64, days=50)
    drivers, store = TemplateStore(tmp_path / "templates"), SavedMachines(tmp_path)
    first, second = drivers.hold("a" * 64), drivers.hold("a" * 64)  # two runs at once
    with exclusive(tmp_path / "templates" / f"{'b' * 64}.lock", what="a test"):
        assert [each.in_use for each in store.list()] == [True, True]
        assert store.prune(keep_days=0).removed == ()
    os.close(first)
    assert keys(store.prune(keys=["a" * 64, "b" * 64]).removed) == ["b" * 64]
    os.close(second)
    assert keys(store.prune(keep_days=0).removed) == ["a" * 64]


def test_one_that_comes_into_use_while_it_is_removed_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "a" * 64, days=50)
    drivers, store = TemplateStore(tmp_path / "templates"), SavedMachines(tmp_path)
    listed = store.list()
    held = drivers.hold("a" * 64)
    monkeypatch.setattr(store, "list", lambda: listed)
    assert store.prune(keep_days=0).removed == ()
    os.close(held)
    assert (tmp_path / "templates" / ("a" * 64)).exists()


def test_what_killed_runs_left_is_removed(tmp_path: Path) -> None:
    make(tmp_path, "a" * 64)
    old, new = tmp_path / "templates/.dead.1", tmp_path / "templates/.live.2"
    for folder in (old, new):
        folder.mkdir()
        (folder / "ram").write_bytes(b"x" * MIB)
    os.utime(old, (0, 0))
    pruned = SavedMachines(tmp_path).prune(keep_days=30)
    assert pruned.removed == ()
    assert pruned.freed_bytes >= MIB
    assert (old.exists(), new.exists()) == (False, True)
