"""The quick reading of heads and bodies says what h11 says, or nothing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.gateway import Bounds, Failure, Framing
from aegis.gateway.bodies import Chunked, Sized, UntilClose
from aegis.gateway.heads import host_header, parse_target
from aegis.gateway.plain import ResponseHead, read_response
from support.fuzzing import examples
from support.http_attacks import HOST, MALFORMED
from support.http_oracle import (
    agrees_with_h11,
    check_chunks,
    check_response,
    cut,
    plain_request,
    run,
)

NAMES = st.sampled_from(
    [
        b"Host",
        b"X",
        b"Content-Length",
        b"content-length",
        b"Transfer-Encoding",
        b"Connection",
        b"Cookie",
        b"Expect",
        b"Upgrade",
        b"X\t",
        b" X",
        b"X y",
        b"",
        b"H\xf6st",
        b"X-\x00",
        b"Content_Length",
        b"$!#",
    ]
)
VALUES = st.one_of(
    st.sampled_from(
        [
            b"api.example",
            b"5",
            b"05",
            b"+5",
            b"5, 5",
            b"-1",
            b"9" * 19,
            b"chunked",
            b"Chunked",
            b"gzip, chunked",
            b"close",
            b"keep-alive",
            b"websocket",
            b"100-continue",
            b"",
            b"\xff",
            b"a\tb",
            b"a\x01b",
            b"a\x7fb",
            b"a\r b",
            b"a\nb",
            b"a\x0bb",
            b"\x0c",
        ]
    ),
    st.binary(max_size=6),
)
SPACE = st.sampled_from([b"", b" ", b"\t", b"  \t "])
LINES = st.lists(
    st.builds(
        lambda name, before, value, after, end: name + b":" + before + value + after + end,
        NAMES,
        SPACE,
        VALUES,
        SPACE,
        st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r", b"\r\r\n"]),
    ),
    max_size=6,
)
METHODS = st.sampled_from([b"GET", b"POST", b"HEAD", b"CONNECT", b"PRI", b"get", b"G@T", b"", b"M-SEARCH"])
TARGETS = st.one_of(
    st.sampled_from([b"/", b"/a?b=c", b"*", b"http://x/", b"/a b", b"", b"/\xc3\xa4", b"/\x7f"]),
    st.binary(max_size=5),
)
VERSIONS = st.sampled_from([b"HTTP/1.1"] * 8 + [b"HTTP/1.0", b"HTTP/2.0", b"http/1.1", b"HTTP/1.1 ", b""])
REQUESTS = st.builds(
    lambda method, target, version, lines: (
        method + b" " + target + b" " + version + b"\r\n" + b"".join(lines) + b"\r\n"
    ),
    METHODS,
    TARGETS,
    VERSIONS,
    st.one_of(LINES, LINES.map(lambda lines: [HOST, *lines])),
)
RESPONSES = st.builds(
    lambda version, status, reason, lines: version + status + reason + b"\r\n" + b"".join(lines) + b"\r\n",
    st.sampled_from([b"HTTP/1.1 "] * 8 + [b"HTTP/1.0 ", b"HTTP/1.1  ", b"ICY ", b"HTTP/1.1\t"]),
    st.sampled_from([b"200", b"204", b"304", b"100", b"101", b"404", b"599", b"600", b"20", b"2000", b""]),
    st.sampled_from([b"", b" ", b" OK", b" Not Found ", b" \xff", b" a\x01", b"  x", b" a\tb"]),
    LINES,
)


@settings(max_examples=examples(1500))
@given(REQUESTS)
def test_a_request_that_is_read_quickly_is_what_h11_reads(head: bytes) -> None:
    if head.find(b"\r\n\r\n") == len(head) - 4:
        agrees_with_h11(head)


@settings(max_examples=examples(500))
@given(st.integers(0, 80), st.binary(max_size=4), st.integers(0, 6))
def test_a_changed_request_is_what_h11_reads_or_not_read(at: int, noise: bytes, dropped: int) -> None:
    whole = b"POST /v1/chat HTTP/1.1\r\nHost: api.example\r\nX-Key: abc\r\nContent-Length: 12\r\n\r\n"
    head = whole[:at] + noise + whole[at + dropped :]
    if head.find(b"\r\n\r\n") == len(head) - 4:
        agrees_with_h11(head)


@pytest.mark.parametrize("data", MALFORMED)
def test_no_known_attack_is_read_quickly_but_as_h11_reads_it(data: bytes) -> None:
    end = data.find(b"\r\n\r\n") + 4
    if 4 <= end <= Bounds().head_bytes and agrees_with_h11(data[:end]):
        # What is wrong with it is not in the head's form: the target or the host.
        with pytest.raises(Failure):
            raise_what_follows(data[:end])


def raise_what_follows(head: bytes) -> None:
    found = plain_request(head)
    assert found is not None
    target = parse_target(found.method, found.target)
    named = host_header(found.headers, "1.1")
    if target.authority is not None and named is not None and target.authority != named:
        raise Failure("malformed-request", "the URL and the Host header disagree")


def test_what_clients_send_is_read_quickly() -> None:
    for head in (
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: api.example\r\nAccept: */*\r\nContent-Length: 3\r\n"
        b"User-Agent: Client/1.0 (a; b)\r\nAuthorization: Bearer x\r\nConnection: keep-alive\r\n\r\n",
        b"DELETE http://x/y?z=%20 HTTP/1.1\r\nhost:x\r\nX-Empty:\r\n\r\n",
    ):
        assert agrees_with_h11(head)


def test_a_long_line_of_spaces_takes_no_time() -> None:
    head = b"GET / HTTP/1.1\r\nHost: x\r\nX:" + b" " * 60_000 + b"\x01\r\n\r\n"
    assert plain_request(head) is None
    assert read_response(b"HTTP/1.1 200 OK\r\nX:" + b" \t" * 60_000 + b"\x01\r\n\r\n", "GET") is None


@settings(max_examples=examples(1500))
@given(RESPONSES, st.sampled_from(["GET", "HEAD", "POST"]))
def test_a_response_that_is_read_quickly_is_what_h11_reads(head: bytes, method: str) -> None:
    if head.find(b"\r\n\r\n") != len(head) - 4:
        return
    check_response(head, method)


def test_what_servers_send_is_read_quickly() -> None:
    for head, framing, keep in (
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", Framing.LENGTH, True),
        (b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n", Framing.CHUNKED, True),
        (b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nConnection: close\r\n\r\n", Framing.LENGTH, False),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", Framing.NONE, True),
    ):
        found = read_response(head, "GET")
        assert isinstance(found, ResponseHead)
        assert (found.framing, found.keep_alive) == (framing, keep)


# --- bodies ---------------------------------------------------------------------------------------------------------

CHUNK_PARTS = st.sampled_from(
    [
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
        b"A\r\n0123456789\r\n",
        b"003\r\nxyz\r\n",
        b'2;ext="a"\r\nhi\r\n',
        b"2 \r\nhi\r\n",
        b"0\r\nX: y\r\n\r\n",
        b"0\r\nX: y\r\nbad\r\n\r\n",
        b"3\r\nab\r\n",
        b"\r\n",
        b"g\r\n",
        b"1\nx\r\n",
        b"-1\r\n",
        b"f" * 21 + b"\r\n",
        b"1\r\nx",
        b"0x1\r\nx\r\n",
        b"1\r\n\r\n\r\n",
        b"0\r\n Y: z\r\n\r\n",
        b"abc",
        b"",
    ]
)


@settings(max_examples=examples(1500))
@given(st.lists(CHUNK_PARTS, max_size=6).map(b"".join), st.lists(st.integers(0, 60), max_size=8))
def test_chunks_are_what_h11_reads_however_they_are_cut(data: bytes, cuts: list[int]) -> None:
    check_chunks(data, cuts)


@given(st.lists(st.binary(min_size=1, max_size=30), max_size=6), st.lists(st.integers(0, 200), max_size=8))
def test_whole_chunked_bodies_arrive_whole(chunks: list[bytes], cuts: list[int]) -> None:
    data = b"".join(b"%x\r\n%s\r\n" % (len(item), item) for item in chunks) + b"0\r\nT: 1\r\n\r\nnext"
    decoder = Chunked(65536)
    assert run(decoder, cut(data, cuts)) == (b"".join(chunks), b"next", "done")
    assert decoder.trailers == ((b"T", b"1"),)


def test_nothing_is_left_over_that_holds_no_beginning_of_a_piece() -> None:
    """Otherwise an event would wait for the next one."""
    decoder = Chunked(65536)
    assert decoder.decode(b"3\r\nabc\r\n") == b"abc"
    assert decoder.rest == b""
    assert decoder.decode(b"2\r") == b""
    assert decoder.decode(b"\nhi\r\n1\r\nx") == b"hi"
    assert decoder.rest == b"x"


@pytest.mark.parametrize("data", [b"1;" + b"e" * 20_000, b"0\r\n" + b"X: y\r\n" * 5_000])
def test_what_never_ends_between_chunks_is_bounded(data: bytes) -> None:
    with pytest.raises(ValueError):
        Chunked(16_384).decode(data)


@given(st.binary(max_size=50), st.integers(0, 40), st.lists(st.integers(0, 60), max_size=6))
def test_a_sized_body_takes_what_is_its_own(data: bytes, length: int, cuts: list[int]) -> None:
    decoder = Sized(length)
    content, left, end = run(decoder, cut(data, cuts))
    assert (content, left) == (data[:length], data[length:])
    assert (end == "done") == (len(data) >= length)
    if not decoder.done:
        with pytest.raises(ValueError, match=f"{len(data)} bytes of a body of {length}"):
            decoder.end()


def test_a_body_until_the_end_ends_there() -> None:
    decoder = UntilClose()
    assert decoder.decode(b"a") == b"a"
    decoder.end()
    assert decoder.done
