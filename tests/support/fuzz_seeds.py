"""What a fuzzer starts from."""

from __future__ import annotations

from pathlib import Path

from support.http_attacks import HOST, MALFORMED

_WHOLE = [
    b"GET / HTTP/1.1\r\n" + HOST + b"\r\n",
    b"POST /a HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc",
    b"POST /a HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"CONNECT api.example:443 HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET http://api.example/ HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n",
]
_RESPONSES = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n",
]
_CHUNKS = [b"3\r\nabc\r\n0\r\n\r\n", b'2;ext="a"\r\nhi\r\n0\r\nX: y\r\n\r\n']


def write_seeds(folder: Path) -> None:
    """One file for each seed; the first byte says which reader it is for, the second where it is cut."""
    requests = [item for item in (*_WHOLE, *MALFORMED) if len(item) < 1000]
    seeds = [(kind, item) for kind in (0, 4, 5) for item in requests]
    seeds += [(1, item) for item in _RESPONSES] + [(2, item) for item in _CHUNKS]
    for number, (kind, item) in enumerate(seeds):
        (folder / f"{number:03}").write_bytes(bytes([kind, number % 40]) + item)
