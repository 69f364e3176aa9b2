"""docs/guest-protocol.md names every constant of the protocol with its number, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from aegis.sandbox.guest import wire
from aegis.sandbox.mux import ERROR_CODES

PAGE = (Path(__file__).resolve().parents[2] / "docs/guest-protocol.md").read_text(encoding="utf-8")
NUMBERS = {name: value for name, value in vars(wire).items() if name.isupper() and isinstance(value, int)}
KINDS = {
    name: value
    for name, value in NUMBERS.items()
    if name
    not in (
        *("VERSION", "MAX_PAYLOAD", "FIRST_CONNECTION"),
        *("WINDOW", "CONNECTION_WINDOW", "WORTHWHILE", "FINAL_DRAIN"),
    )
}


def test_every_kind_is_in_the_table_with_its_number() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| (\d+) \|", PAGE, re.M)
    assert {name: int(number) for name, number in rows} == KINDS
    assert set(KINDS.values()) == wire.KINDS


@pytest.mark.parametrize("name", sorted(NUMBERS.keys() - KINDS.keys()))
def test_every_bound_is_named_with_its_number(name: str) -> None:
    assert re.search(rf"`{name}` = {NUMBERS[name]}\b", PAGE)


def test_the_header_is_as_described() -> None:
    assert "u32 length | u8 kind | u32 stream" in PAGE
    assert (wire.HEADER.format, wire.CREDIT.format) == (">IBI", ">BI")
    assert f"the {wire.HEADER.size} bytes of the header" in PAGE


@pytest.mark.parametrize("name", ["RESET", "FINISH"])
def test_the_ways_to_end_a_connection_are_named(name: str) -> None:
    assert re.search(rf"`{name}` = {getattr(wire, name)[0]}\b", PAGE)


@pytest.mark.parametrize("name", ["GO_ON", "REFUSED", "SERVER_FAILURE", "NO_SUCH_NAME", "SILENCE"])
def test_the_answers_to_questions_are_named(name: str) -> None:
    assert re.search(rf"`{name}` = {getattr(wire, name)[0]}\b", PAGE)


def test_every_error_code_is_in_the_table() -> None:
    section = PAGE.partition("\n## Errors\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `([a-z-]+)` \|", section, re.M)) == ERROR_CODES


def test_every_operation_is_in_the_table() -> None:
    section = PAGE.partition("\n## Operations\n")[2].partition("\n## ")[0]
    rows = section.partition("|---|")[2]
    assert set(re.findall(r"^\| `([a-z]+)` \|", rows, re.M)) == {
        "exec",
        "put",
        "get",
        "tree",
        "look",
        "processes",
        "gather",
        "clock",
        "dial",
        "prepare",
        "hold",
        "attach",
        "rest",
        "mark",
        "changes",
        "still",
        "connect",
        "refused",
        "lookup",
        "opening",
    }
