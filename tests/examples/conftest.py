"""The example's agent in a folder of its own, between the example's servers."""

from __future__ import annotations

import importlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from example_servers import EXAMPLE, Mails, Server, Talk


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """A module of the example's folder `upstream`."""
    monkeypatch.syspath_prepend(str(EXAMPLE))
    return lambda name: importlib.import_module(f"upstream.{name}")


@pytest.fixture
def model(upstream: Callable[[str], Any]) -> Iterator[Server]:
    server = Server(upstream("model").respond)
    yield server
    server.close()


@pytest.fixture
def shop(upstream: Callable[[str], Any]) -> Iterator[Server]:
    server = Server(upstream("orders").Shop().respond)
    yield server
    server.close()


@pytest.fixture
def mails() -> Iterator[Mails]:
    """A mail server, and what it was sent."""
    kept = Mails()
    with socket.create_server(("127.0.0.1", 0)) as free:
        kept.port = free.getsockname()[1]
    server = Controller(kept, hostname="127.0.0.1", port=kept.port)
    server.start()
    yield kept
    server.stop()


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A copy of what the suite puts into the sandbox."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    shutil.copy(EXAMPLE / "agent.py", folder)
    shutil.copytree(EXAMPLE / "support", folder / "support", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(EXAMPLE / "evals" / "fixtures" / "session.json", folder)
    return folder


@pytest.fixture
def talk(workspace: Path, model: Server, shop: Server, mails: Mails) -> Talk:
    def run(*lines: str, **env: str | None) -> subprocess.CompletedProcess[str]:
        usual = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        usual |= {"OPENAI_API_KEY": "sk-none", "SHOP_TOKEN": "token"}
        usual["SHOP_REFRESH_TOKEN"] = "refresh-token-of-the-support-agent"
        usual |= {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(mails.port)}
        usual |= {"OPENAI_BASE_URL": f"{model.url}/v1", "SHOP_URL": shop.url}
        return subprocess.run(
            [sys.executable, "agent.py"],
            cwd=workspace,
            env={name: value for name, value in {**usual, **env}.items() if value is not None},
            input="".join(f"{line}\n" for line in lines),
            capture_output=True,
            encoding="utf-8",
            timeout=120,
        )

    return run
