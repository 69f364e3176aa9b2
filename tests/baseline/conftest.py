from __future__ import annotations

from pathlib import Path

import pytest

from support.repositories import Repository, bare


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings of this host: no identity, no hooks."""
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, "/dev/null")
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    """One commit on main, no remote."""
    made = Repository(tmp_path / "repo")
    made.commit("Begin")
    return made


@pytest.fixture
def remote(tmp_path: Path, repo: Repository) -> Path:
    """A bare remote, `origin` of `repo`."""
    path = bare(tmp_path / "remote.git")
    repo.git("remote", "add", "origin", str(path))
    repo.git("push", "--quiet", "--set-upstream", "origin", "main")
    return path


@pytest.fixture
def other(tmp_path: Path, remote: Path) -> Repository:
    """Another clone of the same remote."""
    return Repository(tmp_path / "other", clone_of=str(remote))
