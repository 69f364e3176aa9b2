"""Unmodified clients under each fault: docs/client-reactions.md says what they do, and they do it."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from support.reaction_clients import CLIENTS, Client
from support.reactions import ROWS, Row, measure

ROOT = Path(__file__).resolve().parents[2]
TABLE = (ROOT / "docs" / "client-reactions.md").read_text(encoding="utf-8")
TRIES = 3
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
    """That the clients do what the page says, the lengths of their pauses apart: a busy host makes them longer, and
    makes clients late. What differs is tried again by itself."""
    others = [client for client in CLIENTS if f"{client.package} {client.version}" not in TABLE]
    clients = [client for client in CLIENTS if client not in others]
    if not clients:
        pytest.skip("the page was made with other versions of all clients")
    expected = {key: without_gaps(cell) for key, cell in documented().items()}

    def differing(rows: list[Row], clients: list[Client]) -> dict[tuple[str, str], str]:
        found = {
            key: without_gaps(str(cell)) for key, cell in measure(folder, rows, clients, most_calls=1).items()
        }
        return {key: cell for key, cell in found.items() if cell != expected[key]}

    wrong = differing(rows, clients)
    for label, name in list(wrong):
        one = (
            [row for row in rows if row.label == label],
            [client for client in clients if client.name == name],
        )
        if any(not differing(*one) for _ in range(TRIES)):
            del wrong[label, name]
    assert wrong == {}


def without_gaps(cell: str) -> str:
    """`3 (½–1 s): the answer` → `3: the answer`."""
    return re.sub(r"^(\d+) \([^)]*\)", r"\1", cell)


def test_the_clients_react_as_the_page_says(tmp_path: Path) -> None:
    check(tmp_path, [row for row in ROWS if row.inject in QUICK])


@pytest.mark.slow
@pytest.mark.timeout(1800)
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
