"""Frames: any chunking gives the same ones, and garbage gives one kind of error."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.sandbox.guest import wire

frames = st.tuples(st.sampled_from(sorted(wire.KINDS)), st.integers(0, 2**32 - 1), st.binary(max_size=300))


@given(st.lists(frames, max_size=20), st.lists(st.integers(1, 50), max_size=200))
def test_any_chunking_gives_the_same_frames(sent: list[wire.Frame], sizes: list[int]) -> None:
    data = b"".join(wire.encode(*frame) for frame in sent)
    decoder, received, position = wire.Decoder(), [], 0
    for size in [*sizes, len(data)]:
        received += decoder.feed(data[position : position + size])
        position += size
    assert received == sent


@given(st.lists(st.binary(max_size=100), max_size=30))
def test_garbage_gives_frames_or_a_wire_error(chunks: list[bytes]) -> None:
    decoder = wire.Decoder()
    try:
        for chunk in chunks:
            for kind, stream, payload in decoder.feed(chunk):
                assert kind in wire.KINDS
                assert 0 <= stream < 2**32
                assert len(payload) <= wire.MAX_PAYLOAD
    except wire.WireError:
        pass


def test_the_largest_frame_passes_and_a_larger_one_does_not() -> None:
    largest = wire.encode(wire.DATA, 1, b"x" * wire.MAX_PAYLOAD)
    assert wire.Decoder().feed(largest) == [(wire.DATA, 1, b"x" * wire.MAX_PAYLOAD)]
    with pytest.raises(wire.WireError):
        wire.encode(wire.DATA, 1, b"x" * (wire.MAX_PAYLOAD + 1))


@pytest.mark.parametrize("length", [wire.MAX_PAYLOAD + 1, 2**31, 2**32 - 1])
def test_a_length_beyond_the_bound_is_refused_before_any_of_it_arrives(length: int) -> None:
    with pytest.raises(wire.WireError):
        wire.Decoder().feed(wire.HEADER.pack(length, wire.DATA, 1))


@pytest.mark.parametrize("kind", [14, 100, 255])
def test_an_unknown_kind_is_refused(kind: int) -> None:
    with pytest.raises(wire.WireError):
        wire.Decoder().feed(wire.HEADER.pack(0, kind, 1))


@given(st.binary(max_size=200))
def test_json_payloads_are_objects_or_refused(payload: bytes) -> None:
    try:
        value = wire.decode_json(payload)
    except wire.WireError:
        return
    assert isinstance(value, dict)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b'{"a": ',
        b"[" * 60_000,
        b'{"a":' * 12_000,
        b'{"a": ' + b"9" * 60_000 + b"}",
    ],
    ids=["empty", "list", "null", "text", "no-text", "cut", "deep-list", "deep-object", "long-number"],
)
def test_odd_json_is_refused(payload: bytes) -> None:
    with pytest.raises(wire.WireError):
        wire.decode_json(payload)


@given(st.integers(0, 2**32 - 1), st.integers(0, 1), st.integers(0, 2**32 - 1))
def test_grants(stream: int, channel: int, amount: int) -> None:
    [(kind, got_stream, payload)] = wire.Decoder().feed(wire.encode_grant(stream, channel, amount))
    assert (kind, got_stream) == (wire.GRANT, stream)
    assert wire.decode_grant(payload) == (channel, amount)


@pytest.mark.parametrize("payload", [b"", b"\0", b"\2\0\0\0\1", b"\0" * 6])
def test_a_grant_of_another_form_is_refused(payload: bytes) -> None:
    with pytest.raises(wire.WireError):
        wire.decode_grant(payload)


@pytest.mark.parametrize("payload", [b"", b"\2", b"\0\0"])
def test_an_end_of_no_channel_is_refused(payload: bytes) -> None:
    with pytest.raises(wire.WireError):
        wire.decode_channel(payload)


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.none(), max_size=5))
def test_json_frames_round_trip(value: dict[str, object]) -> None:
    [(_, _, payload)] = wire.Decoder().feed(wire.encode_json(wire.OPEN, 7, value))
    assert wire.decode_json(payload) == json.loads(json.dumps(value)) == value
