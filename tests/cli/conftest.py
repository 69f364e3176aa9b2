from __future__ import annotations

from pathlib import Path

import pytest
from cli_project import ECHO, Folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Folder:
    """An empty folder, which is the current one."""
    home = tmp_path / "project"
    home.mkdir()
    monkeypatch.chdir(home)
    monkeypatch.setenv("AEGIS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("AEGIS_DEBUG", raising=False)
    return Folder(home, capsys)


@pytest.fixture
def project(folder: Folder) -> Folder:
    """A project with one suite, of which one case passes and one fails."""
    folder.suite("echo", ECHO)
    return folder
