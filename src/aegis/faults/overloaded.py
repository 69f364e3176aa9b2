"""The server has no room for the request."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aegis.faults import providers
from aegis.faults.base import Fault, Hit, Seen
from aegis.faults.events import blocks, is_stream, open_stream
from aegis.faults.providers.base import At
from aegis.gateway.base import Forward, ResponsePlan
from aegis.suite.kinds import Flag, Integer, Key


class Overloaded(Fault):
    """Answers as a provider does that has no capacity left, and does not pass the request on: 529 `overloaded_error` by
    Anthropic, 503 by OpenAI, GitHub, Stripe and everybody else, a 200 with `"ok": false` by Slack.

    Official clients try again after a pause (2 times, about 0.5 s and 1 s apart), so that a single hit is not seen by
    the agent at all.

    With `in_stream: true` the request is passed on, and the overload comes in the middle of the answer: after some
    events of the event stream the provider's error event follows, and the stream ends. The status has long been 200
    then, and no client tries again by itself; one that only collects text takes what it got for the whole answer.
    """

    name = "overloaded"
    group = "status"
    stage = "answer"
    keys = (
        providers.KEY,
        Key("status", Integer(500, 599), "Status of the answer; the provider's by default"),
        Key("in_stream", Flag(), "Whether it comes as an event inside an event stream", default=False),
        Key("after_events", Integer(0, 100_000), "Events that come before it; 3 with in_stream"),
    )

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__(params)
        self._no_stream = 0

    @classmethod
    def problem(cls, params: Mapping[str, Any]) -> str | None:
        if params["in_stream"] and "status" in params:
            return "in_stream comes after a 200: it has no status of its own"
        if "after_events" in params and not params["in_stream"]:
            return "after_events counts the events of a stream: it needs in_stream: true"
        return None

    async def apply(self, hit: Hit, seen: Seen, forward: Forward) -> ResponsePlan:
        at = At(seen, hit)
        provider = providers.find(self.params["provider"], seen)
        if not self.params["in_stream"]:
            return provider.overloaded(at).plan(seen.request.method, status=self.params.get("status"))
        plan = await forward(seen.request)
        if not (200 <= plan.status < 300 and is_stream(plan) and open_stream(plan)):
            self._no_stream += 1
            hit.spare()
            return plan
        plan.body = _ending(plan.body, self.params.get("after_events", 3), provider.overloaded_event(at))
        plan.trailers = tuple
        return plan

    def notes(self) -> tuple[str, ...]:
        if not self._no_stream:
            return ()
        what = "1 answer was no event stream"
        if self._no_stream > 1:
            what = f"{self._no_stream} answers were no event streams"
        return (f"{what} and passed unchanged",)


async def _ending(body: AsyncIterator[bytes], events: int, last: bytes) -> AsyncIterator[bytes]:
    """The first events of a stream, each when it is whole, and `last` after them or at the stream's own end."""
    async with contextlib.aclosing(blocks(body)) as found:
        while events and (block := await anext(found, None)) is not None:
            data, event = block
            if event is not None:
                events -= 1
            elif not (data.startswith(b":") and data.endswith((b"\n", b"\r"))):
                continue  # Half an event at the stream's end would swallow the next one.
            yield data
    yield last


fault = Overloaded
