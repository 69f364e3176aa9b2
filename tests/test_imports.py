"""Who may import whom (docs/architecture.md), and that starting is cheap."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import aegis

SOURCE = Path(aegis.__file__).parent

EVERYWHERE = {"_version", "errors"}
MAY_IMPORT: dict[str, set[str]] = {
    "suite": set(),
    "trace": set(),
    "gateway": {"trace"},
    "faults": {
        "suite",
        "trace",
        "gateway.base",
        "gateway.codings",
        "gateway.deliver",
        "gateway.entries",
        "gateway.failures",
        "gateway.heads",
    },
    "stress": {"suite", "trace.tokens", "faults.doc"},
    "llm": {"trace.prices"},
    "sandbox": set(),
    "services": {"suite", "sandbox.base"},
    "engine": {
        "suite",
        "trace",
        "sandbox",
        "services",
        "gateway",
        "faults",
        "agents",
        "scoring",
        "llm.cache",
    },
    "agents": {"suite", "trace", "sandbox.base", "sandbox.httpcall", "llm"},
    "scoring": {"suite", "trace", "sandbox.base", "sandbox.httpcall", "llm"},
    "results": set(),
    "regression": {"results", "trace"},
    "baseline": {"results", "regression"},
    "audit": {"regression.stats", "sandbox.base", "engine.shrink"},
    "report": {"results", "regression.stats"},
    "ci": set(),
}
"""Room → what it may import besides itself and EVERYWHERE. A room that is named with a module may only be entered by
that module."""

ANYTHING = {"__init__", "__main__", "eval", "_eval", "cli"}
"""The public API and the command line stand above all rooms."""


def rooms() -> list[str]:
    names = {path.stem if path.is_file() else path.name for path in SOURCE.iterdir()}
    return sorted(name for name in names if name not in ("__pycache__", "py") and not name.startswith("."))


def files(room: str) -> Iterator[Path]:
    single = SOURCE / f"{room}.py"
    yield from [single] if single.exists() else sorted((SOURCE / room).rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, module below `aegis` without that prefix) of every import in the file, also those inside functions and
    under TYPE_CHECKING."""
    package = path.relative_to(SOURCE.parent).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*above, *([node.module] if node.module else [])))
            # `from aegis import agents` and `from aegis.sandbox import base` import what they name.
            names = [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.startswith("aegis."):
                yield node.lineno, name.removeprefix("aegis.")


def allowed(room: str, target: str) -> bool:
    if target.split(".")[0] in {room} | EVERYWHERE:
        return True
    return any(target == entry or target.startswith(f"{entry}.") for entry in MAY_IMPORT[room])


def test_every_room_has_its_rule() -> None:
    assert set(rooms()) == MAY_IMPORT.keys() | EVERYWHERE | ANYTHING


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_a_room_imports_only_what_it_may(room: str) -> None:
    wrong = [
        f"{path.relative_to(SOURCE)}:{line} imports aegis.{target}"
        for path in files(room)
        for line, target in imports(path)
        if not allowed(room, target)
    ]
    assert wrong == []


@pytest.mark.parametrize("room", sorted(EVERYWHERE))
def test_what_everyone_imports_imports_nobody(room: str) -> None:
    assert [target for path in files(room) for _, target in imports(path)] == []


def test_nothing_but_the_command_line_imports_the_command_line() -> None:
    wrong = [
        f"{path.relative_to(SOURCE)}:{line}"
        for room in rooms()
        if room not in ("cli", "__main__")
        for path in files(room)
        for line, target in imports(path)
        if target.split(".")[0] == "cli"
    ]
    assert wrong == []


def test_the_guest_program_imports_nothing_of_ours() -> None:
    """It runs inside the sandbox, where there is no Aegis."""
    assert [
        (path.name, target)
        for path in (SOURCE / "sandbox" / "guest").rglob("*.py")
        for _, target in imports(path)
        if not target.startswith("sandbox.guest")
    ] == []


def test_the_rule_can_fail() -> None:
    assert not allowed("suite", "sandbox.base")
    assert not allowed("agents", "sandbox.qemu")
    assert not allowed("engine", "results.ledger")
    assert allowed("agents", "sandbox.base.Sandbox")


HEAVY = {"pydantic", "rich", "sqlalchemy", "ruamel", "click", "asyncio", "jsonschema", "zstandard"}


def imported_by(*command: str) -> set[str]:
    """Top-level modules that a fresh interpreter imports for the command, per `-X importtime`."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *command],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().split(".")[0] for line in lines}


def test_the_version_is_told_without_any_heavy_import() -> None:
    modules = imported_by("-m", "aegis", "--version")
    assert "aegis" in modules
    assert modules & HEAVY == set()


@pytest.mark.parametrize("module", ["aegis", "aegis.errors", "aegis.cli"])
def test_importing_the_front_door_is_cheap(module: str) -> None:
    assert imported_by("-c", f"import {module}") & HEAVY == set()


def test_help_loads_no_command() -> None:
    assert imported_by("-m", "aegis", "--help") & (HEAVY - {"click"}) <= {"asyncio"}
