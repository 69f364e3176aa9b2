"""Bytes that mean nothing."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator

from aegis.faults import events, gzipped
from aegis.faults.answers import read_whole, with_body
from aegis.faults.base import Hit, Seen
from aegis.faults.lastchunk import LastChunk
from aegis.faults.selective import A_STREAM, NO_BODY, NOT_TAKEN_APART, Selective, lacks_body
from aegis.gateway.base import Forward, ResponsePlan
from aegis.gateway.failures import Cut
from aegis.suite.kinds import Choice, Key

_SPAN_BYTES = 64
_LETTER = re.compile(rb"[A-Za-z]")


class Garbage(Selective):
    """Puts bytes into the response that mean nothing, as a bad disk, a broken cache or two responses mixed up by a
    proxy do. The bytes look random and are the same in every run.

    - `body`: in place of the whole body, of the same length and under the same headers.
    - `middle`: over a span of at most 64 bytes in the middle of the body.
    - `prefix`: before the body: the rest of another response.
    - `bad-utf8`: a letter in the middle becomes the byte E9, an é of Latin-1, which is no UTF-8.
    - `bad-gzip`: the header says gzip, the body is not. Official clients try again, 3 attempts in all.
    - `bad-chunk`: half of the body, then letters where the size of the next chunk should stand, and the connection
      ends.

    Event streams pass; `cut-stream` is for those.
    """

    name = "garbage"
    group = "partial"
    stage = "body"
    keys = (
        Key(
            "how",
            Choice("how", ("body", "middle", "prefix", "bad-utf8", "bad-gzip", "bad-chunk")),
            "Where the garbage is",
            default="body",
        ),
    )

    async def apply(self, hit: Hit, seen: Seen, forward: Forward) -> ResponsePlan:
        plan = await forward(seen.request)
        if lacks_body(plan) or events.is_stream(plan):
            self.pass_on(hit, NO_BODY if lacks_body(plan) else A_STREAM)
            return plan
        body = await read_whole(plan)
        how = self.params["how"]
        if not body:
            self.pass_on(hit, NOT_TAKEN_APART if body is None else NO_BODY)
        elif how == "bad-gzip":
            gzipped.with_gzip_body(plan, body)
        elif how == "bad-chunk":
            _bad_chunk(plan, body)
        elif (bent := _bent(how, body, hit)) is None:
            self.pass_on(hit, "the body has no letter to spoil")
        else:
            with_body(plan, bent)
        return plan


def _bent(how: str, body: bytes, hit: Hit) -> bytes | None:
    if how == "body":
        return noise(hit, len(body))
    if how == "prefix":
        return noise(hit, _SPAN_BYTES) + body
    if how == "middle":
        span = max(1, min(_SPAN_BYTES, len(body) // 3))
        start = (len(body) - span) // 2
        # The high bit always changes, so that no byte of the span stays.
        spoilt = bytes(old ^ (new | 0x80) for old, new in zip(body[start:], noise(hit, span), strict=False))
        return body[:start] + spoilt + body[start + span :]
    found = _LETTER.search(body, len(body) // 2) or _LETTER.search(body)
    return None if found is None else body[: found.start()] + b"\xe9" + body[found.end() :]


def noise(hit: Hit, size: int) -> bytes:
    """Bytes that look random: SHAKE-128 of what the hit draws. The first can begin no text in UTF-8."""
    data = hashlib.shake_128(repr(hit.draw("noise")).encode()).digest(size)
    return bytes([0x80 | data[0] & 0x3F]) + data[1:]


def _bad_chunk(plan: ResponsePlan, body: bytes) -> None:
    with_body(plan, body)
    plan.body = _half(body, LastChunk(plan))


async def _half(body: bytes, last: LastChunk) -> AsyncIterator[bytes]:
    last.follows(b"xyzzy\r\n", Cut("injected: a chunk without a size"))
    yield body[: (len(body) + 1) // 2]


fault = Garbage
