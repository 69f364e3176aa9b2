"""JSON that is none."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aegis.faults import brokenjson, events
from aegis.faults.answers import read_whole, with_body
from aegis.faults.base import Hit, Seen
from aegis.faults.selective import NO_BODY, NO_JSON, NOT_TAKEN_APART, Selective, lacks_body
from aegis.gateway.base import Forward, ResponsePlan
from aegis.suite.kinds import Choice, Key


class MalformedJson(Selective):
    """Breaks the response's JSON as programs break it that write JSON by hand: the whole body arrives, with its right
    length, and cannot be parsed.

    - `trailing-comma`, `unquoted-keys`, `single-quotes`, `python-literals` (`True`, `None`): a printed object of a
      programming language in place of JSON.
    - `unterminated-string`, `raw-newline`: text that was put between quotes without escaping.
    - `two-documents`: the answer stands there twice, one after the other.
    - `html-prefix`: a warning of the server's language before the JSON, under status 200.
    - `nan`: a number that is `NaN`. Python's parser takes it, those of other languages refuse it.
    - `bom`: a byte order mark before the JSON. Python's parser takes it in bytes and refuses it in text.

    Without `how` one that every parser refuses is chosen for each exchange. Of an event stream, the first event that
    is JSON is broken. Official clients raise an error and do not try again.
    """

    name = "malformed-json"
    group = "partial"
    stage = "body"
    keys = (Key("how", Choice("how", tuple(brokenjson.WAYS)), "What is wrong with the JSON"),)

    async def apply(self, hit: Hit, seen: Seen, forward: Forward) -> ResponsePlan:
        plan = await forward(seen.request)
        if lacks_body(plan):
            self.pass_on(hit, NO_BODY)
        elif events.is_stream(plan):
            if events.open_stream(plan):
                plan.body = self._broken_event(hit, plan.body)
            else:
                self.pass_on(hit, NOT_TAKEN_APART)
        elif (body := await read_whole(plan)) is None:
            self.pass_on(hit, NOT_TAKEN_APART)
        elif (broken := self._break(hit, body)) is None:
            self.pass_on(hit, self._why_not(body))
        else:
            with_body(plan, broken)
        return plan

    async def _broken_event(self, hit: Hit, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        done = False
        async for block, event in events.blocks(body):
            broken = None if done or event is None else self._break(hit, event.data.encode())
            done = done or broken is not None
            yield block if broken is None else events.with_data(block, broken)
        if not done:
            self.pass_on(hit, "no event of the stream could be broken so")

    def _break(self, hit: Hit, body: bytes) -> bytes | None:
        given = self.params.get("how")
        ways = brokenjson.REFUSED_BY_ALL if given is None else (given,)
        return brokenjson.broken(body, ways, hit.draw)

    def _why_not(self, body: bytes) -> str:
        if brokenjson.is_json(body) and "how" in self.params:
            return f"the JSON has nothing to break by {self.params['how']}"
        return NO_JSON


fault = MalformedJson
