"""Templates on disk while several runs share the cache."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from aegis.sandbox.qemu import memory
from aegis.sandbox.qemu.machine import Saved
from aegis.sandbox.qemu.template import TemplateStore


def saved() -> Saved:
    ram, state = memory.create("memory", 4096), memory.create("state", 100)
    os.pwrite(ram, b"ram", 0)
    return Saved(ram, state, next_stream=7, prepared={"agent": 3})


def test_what_was_stored_is_loaded(tmp_path: Path) -> None:
    store = TemplateStore(tmp_path)
    store.store("key", saved(), {"image": "debian"})
    loaded = store.load("key")
    assert loaded is not None
    assert (loaded.next_stream, loaded.prepared) == (7, {"agent": 3})
    assert os.pread(loaded.ram, 3, 0) == b"ram"
    loaded.close()


@pytest.mark.parametrize("name", ["ram", "state"])
def test_one_that_another_run_removes_meanwhile_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    store = TemplateStore(tmp_path)
    store.store("key", saved(), {})
    load = memory.load

    def load_late(path: Path, purpose: str) -> int:
        if path.name == name:
            shutil.rmtree(path.parent)
        return load(path, purpose)

    monkeypatch.setattr(memory, "load", load_late)
    assert store.load("key") is None
