"""The program `aegis-mcp-tap` by itself; what it does between a client and a server is in tests/gateway."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from aegis.sandbox import mcp_tap

SOURCE = Path(mcp_tap.__file__).read_text()


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("python3 server.py", "server"),
        ("/usr/bin/python3.12 -u /opt/tools/CRM_server.py --port 3", "crm-server"),
        ("python3 -m orders.mcp", "orders-mcp"),
        ("npx -y @acme/server-crm@2.1.0 /data", "server-crm"),
        ("npx -y mcp-remote", "mcp-remote"),
        ("uv run --quiet orders", "orders"),
        ("uvx orders@latest", "orders"),
        ("node dist/index.mjs", "index"),
        ("/usr/local/bin/github-mcp-server stdio", "github-mcp-server"),
        ("sh -c", "server"),
        ("-- ---", "server"),
        (f"{'x' * 60}.py", "x" * 40),
    ],
)
def test_a_server_is_named_after_its_command(command: str, name: str) -> None:
    assert mcp_tap.name_of(command.split(" ")) == name


def test_source_texts_name_nothing() -> None:
    assert mcp_tap.name_of(["python3", "-c", "import orders; orders.run()"]) == "server"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--name CRM_2 -- node a.js", ("crm-2", ["node", "a.js"])),
        ("--name=crm node --name x", ("crm", ["node", "--name", "x"])),
        ("node a.js -- b", ("a", ["node", "a.js", "--", "b"])),
        ("-- --odd", ("server", ["--odd"])),
        ("--name ! -- node a.js", ("a", ["node", "a.js"])),
    ],
)
def test_arguments(words: str, expected: tuple[str, list[str]]) -> None:
    assert mcp_tap.read_arguments(words.split(" ")) == expected


def test_it_runs_under_the_pythons_of_old_images_with_nothing_installed() -> None:
    tree = ast.parse(SOURCE, feature_version=(3, 8))
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module or ""] if isinstance(node, ast.ImportFrom) else [item.name for item in node.names]
        )
    }
    assert imported <= sys.stdlib_module_names


def test_its_words_tell_nothing_of_an_evaluation() -> None:
    words = SOURCE.lower()
    for telling in ("eval", "fault", "inject", "trial", "weather", "test"):
        assert telling not in words, telling
