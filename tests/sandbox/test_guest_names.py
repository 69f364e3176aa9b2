"""The machine's name server: datagrams in, datagrams out."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.sandbox.guest import names
from aegis.sandbox.guest.names import Names
from support.fuzzing import examples

A, AAAA, PTR, HTTPS, ANY, IN, CHAOS = 1, 28, 12, 65, 255, 1, 3


def query(name: str, kind: int = A, family: int = IN, *, flags: int = 0x0100, questions: int = 1) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label)
    return (
        names.HEADER.pack(0xBEEF, flags, questions, 0, 0, 0)
        + labels
        + b"\0"
        + struct.pack(">HH", kind, family)
    )


def served() -> Names:
    server = Names()
    server.shut = False
    return server


def ask(server: Names, data: bytes) -> tuple[int, list[str]]:
    """Code and addresses of the answer, whose head is as it must be."""
    response, address = server.answer(data)
    assert response is not None
    ident, flags, questions, answers, authority, additional = names.HEADER.unpack_from(response)
    assert ident == 0xBEEF
    assert flags & 0x8000, "it is an answer"
    assert not flags & 0x0200, "it is whole"
    assert (authority, additional) == (0, 0)
    assert questions in (0, 1)
    if not answers:
        assert address is None
        return flags & 15, []
    pointer, kind, family, _, length = struct.unpack_from(">HHHIH", response, len(response) - 16)
    assert (pointer, kind, family, length, answers) == (0xC00C, A, IN, 4, 1)
    found = socket.inet_ntoa(response[-4:])
    assert found == address
    return flags & 15, [found]


def test_each_name_has_an_address_of_its_own_that_stays() -> None:
    server = served()
    first, second = ask(server, query("api.example.com")), ask(server, query("db.example.com"))
    assert first[0] == second[0] == 0
    assert first != second
    assert ask(server, query("API.Example.COM")) == first, "names have no case"
    assert server.name(first[1][0]) == "api.example.com"
    assert all(address.startswith("198.18.") for _, [address] in (first, second))


@pytest.mark.parametrize("kind", [AAAA, HTTPS, ANY, 16])
def test_other_questions_about_a_name_have_an_empty_answer(kind: int) -> None:
    assert ask(served(), query("api.example.com", kind)) == (0, [])


def test_another_class_has_an_empty_answer_and_an_address_has_no_name() -> None:
    assert ask(served(), query("version.bind", A, CHAOS)) == (0, [])
    assert ask(served(), query("1.0.18.198.in-addr.arpa", PTR)) == (names.NAME_ERROR, [])
    assert ask(served(), query("8.b.d.0.1.0.0.2.ip6.arpa", PTR)) == (names.NAME_ERROR, [])


def test_without_a_network_only_the_machines_own_names_are_answered() -> None:
    server = Names()
    server.own["ip-10-1-2-3"] = "127.0.1.1"
    assert ask(server, query("api.example.com")) == (names.REFUSED, [])
    assert ask(server, query("api.example.com", AAAA)) == (names.REFUSED, [])
    assert ask(server, query("localhost")) == (0, ["127.0.0.1"])
    assert ask(server, query("ip-10-1-2-3")) == (0, ["127.0.1.1"])
    assert server.address("api.example.com") is None


def test_there_are_not_endlessly_many_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "MAX_NAMES", 3)
    server = served()
    assert [ask(server, query(f"n{number}.example"))[0] for number in range(5)] == [0, 0, 0, 5, 5]
    assert ask(server, query("n1.example"))[0] == 0


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (query("a.example", flags=0x2800), names.NOT_IMPLEMENTED),
        (query("a.example", questions=0), names.FORMAT_ERROR),
        (query("a.example", questions=2), names.FORMAT_ERROR),
        (query("a.example")[:-3], names.FORMAT_ERROR),
        (query("")[:-5], names.FORMAT_ERROR),
        (names.HEADER.pack(0xBEEF, 0, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1", names.FORMAT_ERROR),
        (names.HEADER.pack(0xBEEF, 0, 1, 0, 0, 0) + b"\x3fabc", names.FORMAT_ERROR),
        (names.HEADER.pack(0xBEEF, 0, 1, 0, 0, 0) + b"\3\xff\xfe\xfd\0\0\1\0\1", names.FORMAT_ERROR),
        (query(".".join(["x" * 60] * 5)), names.FORMAT_ERROR),
    ],
)
def test_a_question_that_is_none_is_told_so(data: bytes, code: int) -> None:
    assert ask(served(), data) == (code, [])


@pytest.mark.parametrize("data", [b"", b"\0" * 11, query("a.example", flags=0x8100)])
def test_what_deserves_no_answer_gets_none(data: bytes) -> None:
    assert served().answer(data) == (None, None)


@settings(max_examples=examples(300))
@given(st.binary(max_size=80) | st.binary(max_size=60).map(lambda tail: query("x")[:12] + tail))
def test_any_datagram_has_a_proper_answer_or_none(data: bytes) -> None:
    response, address = served().answer(data)
    if response is not None:
        assert response[:2] == data[:2]
        assert len(response) <= len(data) + 16
        assert (address is None) == (response[7] == 0)
