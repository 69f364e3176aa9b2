"""A body that is not whole."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from aegis.faults import events, gzipped
from aegis.faults.answers import read_whole, with_body
from aegis.faults.base import Hit, Seen
from aegis.faults.lastchunk import LastChunk
from aegis.faults.selective import A_STREAM, NO_BODY, NOT_TAKEN_APART, Selective, lacks_body
from aegis.gateway.base import Forward, Framing, ResponsePlan
from aegis.gateway.deliver import Whole
from aegis.gateway.failures import Cut
from aegis.gateway.heads import without
from aegis.suite.kinds import Choice, Flag, Integer, Key, Number

_SHARE = 0.5


class Truncate(Selective):
    """Ends the response's body before its end, as a proxy with a full buffer, a crashed worker or a lost connection
    does.

    What clients make of it depends on `how`:

    - `right-length`: the shorter body under a Content-Length that fits it. Nobody is told: a JSON parser fails, text
      and CSV are taken for whole. Official clients do not try again.
    - `wrong-length`: Content-Length promises the whole body, and the connection ends early. Clients that count notice;
      official clients try again, 3 attempts in all.
    - `in-chunk`: the body is chunked, and the connection ends inside a chunk that promised more. Clients
      notice; official clients try again, 3 attempts in all.
    - `in-gzip`: a gzip body whose deflate stream breaks off, under a Content-Length that fits. Decoders of most HTTP
      clients hand out what they could decode and say nothing, so that it is `right-length` in disguise. A client that
      does not take gzip gets `right-length`, and the report says so.
    - `until-close`: without any length, as HTTP/1.0 servers answer: the connection's end is the body's end. Nothing
      tells a client that it came too early, except, with `ragged: true`, the missing close_notify of TLS, which few
      look for.

    The place is a byte (`at_byte`) or a share of the body (`at`), of the compressed one for `in-gzip`. Event streams
    pass; `cut-stream` is for those.
    """

    name = "truncate"
    group = "partial"
    stage = "body"
    keys = (
        Key(
            "how",
            Choice("how", ("right-length", "wrong-length", "in-chunk", "in-gzip", "until-close")),
            "What the cut looks like on the wire",
            default="right-length",
        ),
        Key("at_byte", Integer(0, 2**31), "How many bytes of the body arrive"),
        Key(
            "at", Number(0.999), "Which share of the body arrives, in place of at_byte; half of it by default"
        ),
        Key("ragged", Flag(), "until-close: end TLS without close_notify", default=False),
    )

    @classmethod
    def problem(cls, params: Mapping[str, Any]) -> str | None:
        if "at" in params and "at_byte" in params:
            return "has 'at' and 'at_byte': give one of them"
        if params["ragged"] and params["how"] != "until-close":
            return "'ragged' goes with how: until-close: other framings show the cut themselves"
        return None

    async def apply(self, hit: Hit, seen: Seen, forward: Forward) -> ResponsePlan:
        plan = await forward(seen.request)
        if lacks_body(plan) or events.is_stream(plan):
            self.pass_on(hit, NO_BODY if lacks_body(plan) else A_STREAM)
            return plan
        body = await read_whole(plan)
        if body is None:
            self.pass_on(hit, NOT_TAKEN_APART)
            return plan
        how = self.params["how"]
        if how == "in-gzip" and not gzipped.accepts_gzip(seen.request):
            how = "right-length"
            self.tell("the client takes no gzip: the body was cut as right-length does")
        if how == "in-gzip":
            return self._in_gzip(hit, plan, gzipped.compressed(body))
        kept = self._place(len(body))
        if not 0 <= kept < len(body):
            self.pass_on(hit, "the body is not longer than at_byte")
            return plan
        return _CUTS[how](plan, body, kept, self.params["ragged"])

    def _place(self, size: int) -> int:
        if "at_byte" in self.params:
            return int(self.params["at_byte"])
        return int(size * self.params.get("at", _SHARE))

    def _in_gzip(self, hit: Hit, plan: ResponsePlan, coded: bytes) -> ResponsePlan:
        low, high = gzipped.HEADER_BYTES + 1, len(coded) - gzipped.TRAILER_BYTES - 1
        kept = self._place(len(coded))
        if kept > high and "at_byte" in self.params:
            self.pass_on(hit, "the body is not longer than at_byte")
            return plan
        return gzipped.with_gzip_body(plan, coded[: min(high, max(low, kept))])


def _right_length(plan: ResponsePlan, body: bytes, kept: int, ragged: bool) -> ResponsePlan:
    return with_body(plan, body[:kept])


def _wrong_length(plan: ResponsePlan, body: bytes, kept: int, ragged: bool) -> ResponsePlan:
    with_body(plan, body)
    plan.body = _then(body[:kept], _cut(kept, len(body)))
    return plan


def _in_chunk(plan: ResponsePlan, body: bytes, kept: int, ragged: bool) -> ResponsePlan:
    with_body(plan, body)
    plan.body = _unfinished(body, kept, LastChunk(plan))
    return plan


async def _unfinished(body: bytes, kept: int, last: LastChunk) -> AsyncIterator[bytes]:
    cut = _cut(kept, len(body))
    last.owes(len(body) - kept, cut)
    # A piece without bytes is no chunk, so the connection ends before the first one then.
    yield body[:kept]
    raise cut


def _until_close(plan: ResponsePlan, body: bytes, kept: int, ragged: bool) -> ResponsePlan:
    with_body(plan, body)
    plan.headers, plan.framing = without(plan.headers, b"content-length"), Framing.CLOSE
    part = body[:kept]
    plan.body = _then(part, _cut(kept, len(body), ragged=True)) if ragged else Whole(part)
    return plan


def _cut(kept: int, size: int, *, ragged: bool = False) -> Cut:
    return Cut(f"injected: the body ends after {kept} of {size} bytes", ragged=ragged)


async def _then(part: bytes, cut: Cut) -> AsyncIterator[bytes]:
    if part:
        yield part
    raise cut


_CUTS = {
    "right-length": _right_length,
    "wrong-length": _wrong_length,
    "in-chunk": _in_chunk,
    "until-close": _until_close,
}

fault = Truncate
