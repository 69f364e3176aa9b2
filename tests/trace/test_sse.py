"""Server-sent events, as the HTML standard reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.trace.sse import EventParser, ServerEvent, parse_events


def data(stream: bytes) -> list[str]:
    return [event.data for event in parse_events(stream)]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_lines_end_with_any_of_the_three(end: bytes) -> None:
    stream = end.join([b"event: add", b"data: 1", b"data:2", b"data:  3", b"", b"data: last", b"", b""])
    assert parse_events(stream) == [
        ServerEvent("1\n2\n 3", "add", end=len(stream) - len(b"data: last") - 2 * len(end)),
        ServerEvent("last", end=len(stream)),
    ]


def test_comments_unknown_fields_and_empty_events_are_nothing() -> None:
    assert data(b": keep-alive\n\nhello: you\n\nevent: x\n\ndata\n\ndata:\n\n:\ndata: a\n\n") == ["", "", "a"]


def test_a_byte_order_mark_is_dropped_once() -> None:
    assert data(b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n") == ["a"]


def test_ids_stay_and_reconnection_times_are_kept() -> None:
    parser = EventParser()
    events = parser.feed(
        b"id: 7\ndata: a\n\ndata: b\n\nid: x\0y\ndata: c\n\nid\nretry: 250\nretry: x\ndata: d\n\n"
    )
    assert [event.id for event in events] == ["7", "7", "7", ""]
    assert parser.retry_ms == 250


def test_an_unfinished_event_is_told_apart() -> None:
    assert parse_events(b"data: a\n\ndata: b")[1] == ServerEvent("b", end=16, complete=False)
    assert parse_events(b"data: a\n\ndata: b\n")[1].complete is False
    assert parse_events(b"data: a\n\nevent: b\n") == [ServerEvent("a", end=9)]


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert data(b"data: \xff\xfe\n\n") == ["\ufffd\ufffd"]


def test_an_event_without_end_does_not_grow() -> None:
    parser = EventParser(max_event_bytes=100)
    for _ in range(50):
        assert parser.feed(b"data: " + b"x" * 40 + b"\n") == []
    last = parser.close()
    assert parser.overflowed
    assert last is not None
    assert len(last.data) <= 100


@given(
    st.lists(st.sampled_from([b"data: a", b"id: 1", b"\r", b"\n", b"\r\n", b":", b"x", b"\xc3"])), st.data()
)
def test_how_the_stream_is_cut_into_pieces_does_not_matter(parts: list[bytes], draw: st.DataObject) -> None:
    stream = b"".join(parts)
    whole = parse_events(stream)
    parser, events, position = EventParser(), [], 0
    while position < len(stream):
        size = draw.draw(st.integers(1, 5))
        events += parser.feed(stream[position : position + size])
        position += size
    last = parser.close()
    found = events + ([last] if last else [])
    # A piece that ends between CR and LF lets the event end one byte early.
    assert [(e.data, e.event, e.id, e.complete) for e in found] == [
        (e.data, e.event, e.id, e.complete) for e in whole
    ]
