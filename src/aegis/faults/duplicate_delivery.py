"""The same thing, twice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

from aegis.faults import events
from aegis.faults.base import Hit, Seen
from aegis.faults.selective import Selective
from aegis.gateway.base import Forward, ReadBody, Request, RequestBody, ResponsePlan
from aegis.gateway.failures import Cut, Failure
from aegis.suite.kinds import Choice, Integer, Key

MAX_BODY_BYTES = 1024 * 1024
"""Of a request that is delivered again; a longer one is delivered once."""
MAX_ANSWER_BYTES = 1024 * 1024
"""Read of the answers that nobody gets, so that their connections can be used again."""


class DuplicateDelivery(Selective):
    """Delivers the same thing more than once, as everything does that promises delivery at least once: queues,
    webhooks, proxies that try again after a lost acknowledgement.

    - `what: request`: upstream gets the request `times` times, one after another, with the same headers and body. The
      agent gets the first answer and sees nothing of the others. What is not idempotent is done twice, unless the
      request carries an idempotency key that upstream honours.
    - `what: event`: each event of a stream of server-sent events comes `times` times, or the event `at_event` alone,
      as after a reconnection that resumes too early. Official clients of OpenAI and Anthropic repeat the text.

    A request with a body of more than 1 MiB is delivered once.
    """

    name = "duplicate-delivery"
    group = "semantic"
    stage = "answer"
    keys = (
        Key("what", Choice("what", ("request", "event")), "What comes again", default="request"),
        Key("times", Integer(2, 10), "How often it is delivered, in all", default=2),
        Key("at_event", Integer(1, 1_000_000), "The one event that comes again, from 1; each by default"),
    )

    @classmethod
    def problem(cls, params: Mapping[str, Any]) -> str | None:
        if "at_event" in params and params["what"] != "event":
            return "'at_event' goes with what: event"
        return None

    async def apply(self, hit: Hit, seen: Seen, forward: Forward) -> ResponsePlan:
        if self.params["what"] == "event":
            return self._repeat_events(hit, await forward(seen.request))
        request = seen.request
        body, rest = await _take(request.body)
        if rest is not None:
            self.pass_on(hit, f"the request's body is longer than {MAX_BODY_BYTES} bytes")
            return await forward(replace(request, body=ReadBody(body, rest, length=request.body.length)))
        first = await forward(replace(request, body=ReadBody(body, length=request.body.length)))
        try:
            for _ in range(self.params["times"] - 1):
                await self._deliver_again(
                    replace(request, body=ReadBody(body, length=request.body.length)), forward
                )
        except BaseException:
            await first.release()
            raise
        return first

    async def _deliver_again(self, request: Request, forward: Forward) -> None:
        try:
            await _forget(await forward(request))
        except (Failure, Cut) as failure:
            self.tell(f"a further delivery failed: {failure}")

    def _repeat_events(self, hit: Hit, plan: ResponsePlan) -> ResponsePlan:
        if not events.is_stream(plan):
            self.pass_on(hit, "the response is no event stream")
        elif not events.open_stream(plan):
            self.pass_on(hit, "the event stream's content coding cannot be undone")
        else:
            plan.body = self._repeated(hit, plan.body)
        return plan

    async def _repeated(self, hit: Hit, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        number, done = 0, False
        async for block, event in events.blocks(body):
            number += event is not None
            again = event is not None and number == self.params.get("at_event", number)
            done = done or again
            yield block * self.params["times"] if again else block
        if not done:
            self.pass_on(hit, "the stream had no such event")


async def _take(body: RequestBody) -> tuple[bytes, RequestBody | None]:
    """All of it, or its beginning and where the rest is."""
    kept = bytearray()
    if body.length != 0:
        while piece := await body.read():
            kept += piece
            if len(kept) > MAX_BODY_BYTES:
                return bytes(kept), body
    return bytes(kept), None


async def _forget(plan: ResponsePlan) -> None:
    """Read an answer that nobody gets."""
    try:
        taken = 0
        async for piece in plan.body:
            taken += len(piece)
            if taken > MAX_ANSWER_BYTES or events.is_stream(plan):
                break
    finally:
        await plan.release()


fault = DuplicateDelivery
