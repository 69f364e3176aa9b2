"""Bodies under a gzip header."""

from __future__ import annotations

import gzip

from aegis.faults.answers import with_body
from aegis.gateway.base import Request, ResponsePlan
from aegis.gateway.heads import without

HEADER_BYTES = 10
TRAILER_BYTES = 8
"""RFC 1952: what stands around the deflate stream, when the header has no optional fields."""


def accepts_gzip(request: Request) -> bool:
    """Whether the client says that it takes gzip."""
    for item in (request.header("accept-encoding") or "").split(","):
        name, _, weight = item.partition(";")
        if name.strip().lower() in ("gzip", "x-gzip", "*"):
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def compressed(body: bytes) -> bytes:
    """Without a date in it: the same bytes in every run."""
    return gzip.compress(body, mtime=0)


def with_gzip_body(plan: ResponsePlan, coded: bytes) -> ResponsePlan:
    """The plan with this body, which is said to be gzip, and with its right length."""
    with_body(plan, coded)
    plan.headers = (*without(plan.headers, b"content-encoding"), (b"Content-Encoding", b"gzip"))
    return plan
