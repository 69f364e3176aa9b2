"""Nothing that a guest or an upstream sends breaks the gateway, and no two requests are ever made out of one."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.gateway import Bounds, Failure, Origin
from aegis.gateway.heads import check_head, parse_target
from aegis.gateway.reader import RequestReader
from support.fuzz_seeds import write_seeds
from support.fuzzing import examples
from support.http_oracle import BOUNDS, Scripted, check_session

TOKENS = st.sampled_from(
    [
        *(b"GET ", b"POST ", b"CONNECT ", b"/", b"http://api.example/", b"api.example:443", b" HTTP/1.1\r\n"),
        *(
            b"Host: api.example\r\n",
            b"Content-Length: 3\r\n",
            b"Content-Length: 0\r\n",
            b"\r\n",
            b"\n",
            b"\r",
            b"\0",
        ),
        *(
            b"Transfer-Encoding: chunked\r\n",
            b"Transfer-Encoding:\tchunked\r\n",
            b"3\r\nabc\r\n",
            b"0\r\n\r\n",
            b"abc",
        ),
        *(
            b"Connection: close\r\n",
            b"Expect: 100-continue\r\n",
            b" folded\r\n",
            b"X: y\r\n",
            b"fffffffff\r\n",
            b":",
        ),
    ]
)
STREAMS = st.lists(st.one_of(TOKENS, st.binary(max_size=8)), max_size=25)
WHOLE = b"GET / HTTP/1.1\r\nHost: api.example\r\n\r\n"


@settings(max_examples=examples(300))
@given(
    STREAMS,
    st.sampled_from(
        [Origin.proxy(), Origin.direct("api.example", None, 80), Origin.direct("api.example", None, 443)]
    ),
)
def test_no_bytes_break_the_gateway(pieces: list[bytes], origin: Origin) -> None:
    check_session(pieces, origin)


@settings(max_examples=examples(300))
@given(st.binary(max_size=200).map(lambda noise: WHOLE[:16] + noise + WHOLE[16:]))
def test_a_head_that_is_accepted_means_the_same_to_another_parser(head: bytes) -> None:
    end = head.find(b"\r\n\r\n") + 4
    try:
        check_head(head[:end], Bounds())
    except Failure:
        return
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(head[:end])
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError:
        return
    assert isinstance(event, h11.Request)
    lines = head[: end - 4].split(b"\r\n")[1:]
    assert len(event.headers.raw_items()) == len(lines)


@given(st.sampled_from(["GET", "CONNECT", "OPTIONS"]), st.text(max_size=60))
def test_any_target_is_a_target_or_malformed(method: str, text: str) -> None:
    try:
        kind = "good" if parse_target(method, text) else "nothing"
    except Failure as failure:
        kind = failure.kind
    assert kind in ("good", "malformed-request")


@pytest.mark.parametrize("cut", range(1, 80, 7))
def test_requests_read_the_same_however_they_are_cut(cut: int) -> None:
    data = (
        b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        b"\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\nPOST /c HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"
    )

    async def run() -> list[tuple[str, bytes]]:
        pieces = [data[at : at + cut] for at in range(0, len(data), cut)]
        reader = RequestReader(Scripted(pieces), BOUNDS)
        found = []
        while (got := await reader.next()) is not None:
            head, body = got
            content = b""
            while piece := await body.read():
                content += piece
            found.append((head.target, content))
        return found

    assert asyncio.run(run()) == [("/a", b"abcde"), ("/b", b""), ("/c", b"hi")]


@pytest.mark.slow
def test_a_fuzzer_finds_nothing_in_some_seconds(tmp_path: Path) -> None:
    """Coverage-guided, where atheris is installed; by hand it can run for hours."""
    pytest.importorskip("atheris", reason="atheris is not installed: pip install atheris")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    write_seeds(corpus)
    script = Path(__file__).with_name("fuzz_http.py")
    done = subprocess.run(
        [sys.executable, str(script), "-max_total_time=5", "-timeout=30", "-max_len=2048", str(corpus)],
        cwd=tmp_path,
        capture_output=True,
        timeout=240,
        check=False,
    )
    said = done.stderr.decode(errors="replace")
    assert done.returncode == 0, said[-3000:]
    assert "Done " in said
