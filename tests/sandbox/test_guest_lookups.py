"""Which questions to a machine's name server are one lookup of a program's."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.sandbox.guest import lookups, names
from aegis.sandbox.guest.lookups import Lookups
from aegis.sandbox.guest.names import Names, Question

A, AAAA, HTTPS = 1, 28, 65


def numbers(asked: list[tuple[float, str, int, int]]) -> list[int]:
    """The number of the lookup that each `(second, name, kind, ident)` belongs to."""
    kept, seen = Lookups(), []
    found = []
    for now_s, name, kind, ident in asked:
        lookup, is_new = kept.of(Question(name, kind, ident), now_s)
        assert is_new is (lookup not in seen)
        if is_new:
            seen.append(lookup)
        found.append(seen.index(lookup) + 1)
    return found


def test_both_kinds_are_one_lookup_whichever_comes_first() -> None:
    assert numbers([(0, "a", A, 7), (0, "a", AAAA, 8), (1, "a", AAAA, 9), (1, "a", A, 10)]) == [1, 1, 2, 2]


def test_what_is_asked_again_with_the_same_number_is_the_same_lookup() -> None:
    """glibc, musl and c-ares after a failure or when no answer came; the second program's lookup is one of its own."""
    first = [(0.0, "a", A, 7), (0.0, "a", AAAA, 8)]
    again = [(0.01, "a", A, 7), (0.01, "a", AAAA, 8)]
    late = [(5.1, "a", A, 7), (10.2, "a", AAAA, 8)]
    other = [(10.3, "a", A, 700), (10.3, "a", AAAA, 800)]
    assert numbers([*first, *again, *late, *other]) == [1, 1, 1, 1, 1, 1, 2, 2]


def test_lookups_of_several_names_and_programs_at_once_stay_apart() -> None:
    asked = [
        (0, "a", A, 1),
        (0, "b", A, 1),
        (0, "a", A, 2),
        (0, "b", AAAA, 3),
        (0, "a", AAAA, 4),
        (0, "a", A, 1),
    ]
    assert numbers([(float(now), *rest) for now, *rest in asked]) == [1, 2, 3, 2, 3, 1]  # type: ignore[misc]


def test_a_program_that_asks_for_one_kind_only_looks_up_each_time() -> None:
    assert numbers([(0, "a", A, 1), (0.1, "a", A, 2), (0.2, "a", A, 3)]) == [1, 2, 3]


def test_the_other_kind_much_later_is_a_lookup_of_its_own() -> None:
    assert numbers([(0, "a", A, 1), (lookups.TOGETHER_S + 1, "a", AAAA, 2)]) == [1, 2]


def test_nothing_is_kept_for_ever() -> None:
    kept = Lookups()
    for number in range(5 * lookups.MAX_KEPT):
        kept.of(Question(f"n{number}.example", A, number % 65536), number / 1000)
    assert len(kept._kept) <= lookups.MAX_KEPT
    assert len(kept._latest) <= lookups.MAX_KEPT
    _, is_new = kept.of(Question("n1.example", A, 1), 6.0)
    assert is_new
    kept.of(Question("z.example", A, 1), 6.0 + 2 * lookups.KEPT_S)
    assert len(kept._kept) == 1


def test_one_that_the_host_could_not_be_asked_about_has_not_begun() -> None:
    kept = Lookups()
    first, _ = kept.of(Question("a", A, 1), 0)
    kept.drop(first)
    second, is_new = kept.of(Question("a", A, 1), 0)
    assert is_new
    assert second is not first


def test_repeated_questions_wait_once_and_not_endlessly_many() -> None:
    lookup, _ = Lookups().of(Question("a", A, 1), 0)
    for _ in range(3):
        lookup.wait(b"query", ("127.0.0.1", 4000))
    assert len(lookup.waiting) == 1
    for port in range(100):
        lookup.wait(b"query", ("127.0.0.1", port))
    assert len(lookup.waiting) == lookups.MAX_WAITING


def query(name: str, kind: int = A, family: int = 1, *, flags: int = 0x0100, questions: int = 1) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label)
    header = names.HEADER.pack(0xBEEF, flags, questions, 0, 0, 0)
    return header + labels + b"\0" + struct.pack(">HH", kind, family)


def served() -> Names:
    server = Names()
    server.shut = False
    return server


@pytest.mark.parametrize("kind", [A, AAAA])
def test_what_the_host_may_be_asked_about(kind: int) -> None:
    assert served().question(query("API.example", kind)) == Question("api.example", kind, 0xBEEF)


@pytest.mark.parametrize(
    "data",
    [
        query("localhost"),
        query("api.example", HTTPS),
        query("api.example", A, 3),
        query("1.0.18.198.in-addr.arpa"),
        query(""),
        query("api.example", flags=0x8100),
        query("api.example", flags=0x2800),
        query("api.example", questions=2),
        query("api.example")[:-1],
        b"",
    ],
)
def test_and_what_not(data: bytes) -> None:
    assert served().question(data) is None


def test_without_a_network_nobody_is_asked() -> None:
    assert Names().question(query("api.example")) is None


@pytest.mark.parametrize("code", [names.NAME_ERROR, names.SERVER_FAILURE])
def test_a_failure_answers_the_question_that_was_asked(code: int) -> None:
    asked = query("API.example", AAAA)
    response = served().failure(asked, code)
    ident, flags, questions, answers, authority, additional = names.HEADER.unpack_from(response)
    assert (ident, flags & 15, questions, answers, authority, additional) == (0xBEEF, code, 1, 0, 0, 0)
    assert flags & 0x8100 == 0x8100
    assert response[names.HEADER.size :] == asked[names.HEADER.size :]


@given(st.binary(max_size=80) | st.binary(max_size=60).map(lambda tail: query("x")[:12] + tail))
def test_any_datagram_is_a_question_or_none(data: bytes) -> None:
    server = served()
    if (question := server.question(data)) is not None:
        assert server.failure(data, names.NAME_ERROR)[:2] == data[:2]
        assert server.answer(data)[0] is not None
        assert question.kind in (A, AAAA)
