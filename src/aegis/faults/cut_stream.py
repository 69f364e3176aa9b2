"""An event stream that is not whole."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

from aegis.faults import events
from aegis.faults.base import Hit, Seen
from aegis.faults.lastchunk import LastChunk
from aegis.faults.selective import Selective
from aegis.gateway.base import Forward, Framing, ResponsePlan
from aegis.gateway.failures import Cut
from aegis.suite.kinds import Choice, Integer, Key
from aegis.trace import lenient
from aegis.trace.sse import ServerEvent

_DATA = re.compile(rb"(?:^|[\r\n])(?:\xef\xbb\xbf)?data(?:: ?)?([^\r\n]*)")
_EARLIEST, _LATEST = 4, 12
_ENDINGS = frozenset(
    {"message_delta", "message_stop", "response.completed", "response.incomplete", "response.failed"}
)


class CutStream(Selective):
    """Ends a stream of server-sent events before its end, as a model provider, a proxy or an MCP server does that is
    restarted in the middle of an answer.

    The cut is at the event `at_event`, which is the first that does not arrive whole, or at the event that ends the
    answer (OpenAI: a `finish_reason`, `response.completed`, `[DONE]`; Anthropic: `message_delta`; Gemini: a
    `finishReason`; MCP: the JSON-RPC response), whichever comes first. Without `at_event` it is one of the events 4 to
    12, another one for each exchange. Events before it pass as they come. `how` says what the client gets:

    - `clean`: the events before it, then a proper end of the body.
    - `inside-event`: also half of the event, then a proper end of the body.
    - `in-chunk`: half of the event in a chunk that promises all of it, then the connection ends.
    - `reset`: half of the event, then a reset (RST).
    - `ragged`: half of the event, and the connection's end is the body's end; TLS lacks its close_notify.

    Official clients of OpenAI and Anthropic return the partial text as a success after `clean`, `inside-event` and
    `ragged`; after `in-chunk` and `reset` they raise an error and do not try again. Responses that are no event
    streams pass unchanged.
    """

    name = "cut-stream"
    group = "partial"
    stage = "body"
    keys = (
        Key(
            "how",
            Choice("how", ("clean", "inside-event", "in-chunk", "reset", "ragged")),
            "How the stream ends",
            default="clean",
        ),
        Key("at_event", Integer(1, 1_000_000), "The first event that does not arrive whole, from 1"),
    )

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__(params)
        self._how: str = params["how"]

    async def apply(self, hit: Hit, seen: Seen, forward: Forward) -> ResponsePlan:
        plan = await forward(seen.request)
        if not events.is_stream(plan):
            self.pass_on(hit, "the response is no event stream")
            return plan
        if not events.open_stream(plan):
            self.pass_on(hit, "the event stream's content coding cannot be undone")
            return plan
        drawn = _EARLIEST + int(hit.draw("event") * (_LATEST - _EARLIEST + 1))
        plan.trailers = tuple
        if self._how == "ragged":
            plan.framing = Framing.CLOSE
        last = LastChunk(plan) if self._how == "in-chunk" else None
        plan.body = self._until(self.params.get("at_event", drawn), plan.body, last, hit)
        return plan

    async def _until(
        self, at_event: int, body: AsyncIterator[bytes], last: LastChunk | None, hit: Hit
    ) -> AsyncIterator[bytes]:
        number = 0
        async with aclosing(events.blocks(body)) as stream:
            async for block, event in stream:
                number += event is not None
                if event is None or not (number >= at_event or _ends(event)):
                    yield block
                    continue
                if self._how == "clean":
                    return
                cut = Cut(
                    f"injected: the stream ends inside event {number}",
                    reset=self._how == "reset",
                    ragged=self._how == "ragged",
                )
                half = _first_half(block)
                if last is not None:
                    last.owes(len(block) - len(half), cut)
                yield half
                if self._how == "inside-event":
                    return
                raise cut
        self.pass_on(hit, f"the stream ended before event {at_event}")


def _first_half(block: bytes) -> bytes:
    """Up to the middle of what the event's first line of data says."""
    found = _DATA.search(block)
    start, end = (0, len(block)) if found is None else found.span(1)
    return block[: start + max(1, (end - start) // 2)]


def _ends(event: ServerEvent) -> bool:
    """Whether the event says that the answer is over."""
    if event.event in _ENDINGS or event.data.strip() == "[DONE]":
        return True
    value = lenient.mapping(lenient.parse(event.data))
    if value.get("type") in _ENDINGS:
        return True
    if value.get("jsonrpc") == "2.0":
        return "id" in value and ("result" in value or "error" in value)
    told = [
        choice.get("finish_reason") or choice.get("finishReason")
        for name in ("choices", "candidates")
        for choice in lenient.mappings(value.get(name))
    ]
    return any(told)


fault = CutStream
