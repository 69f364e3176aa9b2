"""Coverage-guided fuzzing of everything that reads bytes from a guest or an upstream.

    python tests/gateway/fuzz_http.py -max_total_time=60 [CORPUS]

Needs `atheris`; the options are libFuzzer's. The first byte of an input chooses what reads the rest. A failed assertion
is a finding: the input is written to `crash-…` in the working directory.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

with atheris.instrument_imports(include=["aegis.gateway", "h11"]):
    from aegis.gateway import Origin
    from aegis.gateway.clienthello import parse_hello, sniff
    from support.http_oracle import agrees_with_h11, check_chunks, check_response, check_session, cut

ORIGINS = (Origin.proxy(), Origin.direct("api.example", None, 80), Origin.direct("api.example", None, 443))


def one_head(data: bytes) -> bytes:
    """The data up to its first empty line, which is added where there is none."""
    return data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"


def hello(data: bytes) -> None:
    try:
        if sniff(data) == "tls":
            parse_hello(data)
    except ValueError:
        pass


def target(data: bytes) -> None:
    if len(data) < 2:
        return
    kind, at, rest = data[0] % 6, data[1], data[2:]
    if kind == 0:
        agrees_with_h11(one_head(rest))
    elif kind == 1:
        check_response(one_head(rest), ("GET", "HEAD", "POST")[at % 3])
    elif kind == 2:
        check_chunks(rest, [at, 2 * at])
    elif kind == 3:
        hello(rest)
    else:
        check_session(cut(rest, [at, 3 * at]), ORIGINS[at % 3])


if __name__ == "__main__":
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()
