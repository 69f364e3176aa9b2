"""Which suites get the program `aegis-mcp-tap`, and how it lies in their archive."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import pytest

from aegis.engine import taps
from aegis.suite.model import Agent, Case, SandboxConfig, Suite, Turn, World


def case(said: str = "hello", **fields: Any) -> Case:
    return Case(id="one", turns=(Turn(user=said),), expect=(), **fields)


def suite(**fields: Any) -> Suite:
    given = {"agent": Agent(command="python3 agent.py"), "cases": (case(),), **fields}
    return Suite(suite="tools", **given)


def members(archive: bytes) -> dict[str, tuple[int, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        files = [(info, tar.extractfile(info)) for info in tar.getmembers()]
        return {info.name: (info.mode, file.read()) for info, file in files if file is not None}


def archive_of(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "fields",
    [
        {"agent": Agent(command="agent --mcp 'aegis-mcp-tap -- node server.js'")},
        {"agent": Agent(command="agent", env={"MCP_COMMAND": "aegis-mcp-tap"})},
        {"sandbox": SandboxConfig(setup=("command -v aegis-mcp-tap",))},
        {"cases": (case(world=World(run=("aegis-mcp-tap -- true",))),)},
    ],
)
def test_a_suite_that_names_it(fields: dict[str, Any]) -> None:
    assert taps.is_named(suite(**fields))


def test_a_suite_that_does_not() -> None:
    said = case("Is aegis-mcp-tap here?")
    assert not taps.is_named(suite(cases=(said,))), "what the user says starts nothing"


def test_files_that_name_it_are_noted_when_they_are_kept() -> None:
    class Blobs(dict[str, bytes]):
        def put(self, data: bytes) -> str:
            self[str(len(self))] = data
            return str(len(self) - 1)

        def get(self, digest: str) -> bytes:  # type: ignore[override]
            return self[digest]

    noting = taps.Noting(Blobs())
    assert noting.get(noting.put(archive_of("a.json", b"{}"))) == archive_of("a.json", b"{}")
    assert not noting.named
    noting.put(archive_of("workspace/.mcp.json", b'{"command": "aegis-mcp-tap"}'))
    noting.put(b"nothing")
    assert noting.named


def test_it_is_added_to_the_files_that_are_there() -> None:
    mode, source = members(taps.with_tap(None))[taps.GUEST_PATH]
    assert mode == 0o755
    assert source.startswith(b"#!/usr/bin/env python3\n")
    compile(source, "program", "exec")
    both = taps.with_tap(archive_of("workspace/agent.py", b"print()"))
    assert list(members(both)) == ["workspace/agent.py", taps.GUEST_PATH]
    assert taps.with_tap(archive_of("workspace/agent.py", b"print()")) == both
    own = archive_of(taps.GUEST_PATH, b"mine")
    assert members(taps.with_tap(own))[taps.GUEST_PATH][1] == b"mine"
