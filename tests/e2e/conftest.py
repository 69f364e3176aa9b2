"""Fixtures of the tests that run the command line as a user does."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from e2e_command import CHECKOUT, Aegis, Ran, run_aegis


@pytest.fixture
def aegis(tmp_path: Path) -> Aegis:
    """`aegis("eval", "run", …)` in the test's empty folder (or `cwd=`)."""

    def run(*args: str | Path, cwd: Path = tmp_path, **options: Any) -> Ran:
        return run_aegis(*args, cwd=cwd, **options)

    return run


@pytest.fixture
def write_suite(tmp_path: Path) -> Callable[..., Path]:
    """Make the test's folder a project with one suite of the given text, and return the folder."""

    def write(name: str, text: str) -> Path:
        (tmp_path / "aegis.toml").touch()
        (tmp_path / "evals").mkdir(exist_ok=True)
        (tmp_path / "evals" / f"{name}.yaml").write_text(text, encoding="utf-8")
        return tmp_path

    return write


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """A copy of the example project."""
    copied = tmp_path / "support-agent"
    shutil.copytree(
        CHECKOUT / "examples" / "support-agent",
        copied,
        ignore=shutil.ignore_patterns(".aegis", "__pycache__"),
    )
    return copied
