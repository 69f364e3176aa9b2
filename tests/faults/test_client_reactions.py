"""Unmodified clients under each fault: docs/client-reactions.md says what they do, and they do it."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from support.reaction_clients import CLIENTS
from support.reactions import ROWS, Row, measure

ROOT = Path(__file__).resolve().parents[2]
TABLE = (ROOT / "docs" / "client-reactions.md").read_text(encoding="utf-8")
QUICK = ("cut-stream", "truncate", "gateway-html", "refuse", "tool-error", "forbidden")


def documented() -> dict[tuple[str, str], str]:
    found = {}
    for line in TABLE.splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split("|")]
        for row in ROWS:
            if cells[0] == row.label:
                cells += [""] * (1 + len(CLIENTS) - len(cells))
                for client, cell in zip(CLIENTS, cells[1:], strict=True):
                    found[row.label, client.name] = cell
    return found


def check(folder: Path, rows: list[Row]) -> None:
    others = [client for client in CLIENTS if f"{client.package} {client.version}" not in TABLE]
    clients = [client for client in CLIENTS if client not in others]
    if not clients:
        pytest.skip("the page was made with other versions of all clients")
    expected = documented()
    measured = measure(folder, rows, clients)
    assert {key: str(reaction) for key, reaction in measured.items()} == {
        key: expected[key] for key in measured
    }


def test_the_clients_react_as_the_page_says(tmp_path: Path) -> None:
    check(tmp_path, [row for row in ROWS if row.inject in QUICK])


@pytest.mark.slow
def test_the_clients_react_as_the_page_says_to_every_fault(tmp_path: Path) -> None:
    check(tmp_path, [row for row in ROWS if row.inject not in QUICK])


def test_every_fault_that_a_client_can_meet_has_a_row() -> None:
    from aegis.faults import registry

    # A refresh is the agent's own doing: no client library makes one.
    assert {row.inject for row in ROWS} == set(registry.names()) - {"refresh-revoked"}


def test_the_page_has_a_row_for_each() -> None:
    labels = {label for label, _ in documented()}
    assert labels == {row.label for row in ROWS}


def benchmark() -> ModuleType:
    path = ROOT / "benchmarks" / "client_reactions.py"
    spec = importlib.util.spec_from_file_location("client_reactions", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_of_the_page_is_what_the_benchmark_writes(tmp_path: Path) -> None:
    rows = [row for row in ROWS if row.inject == "forbidden"]
    text = benchmark().render(measure(tmp_path, rows, CLIENTS), rows)
    (line,) = [line for line in text.splitlines() if line.startswith("| forbidden")]
    assert re.sub(r"\s+", " ", line).count("|") == len(CLIENTS) + 2
