"""The server has no room for the request."""

from __future__ import annotations

from aegis.faults.answers import json_answer
from aegis.faults.base import Fault, Hit, Seen
from aegis.gateway.base import Forward, ResponsePlan
from aegis.suite.kinds import Integer, Key


class Overloaded(Fault):
    """Answers 529 or 503 and does not pass the request on, as a provider that has no capacity left.

    Official clients try again after a pause (2 times, about 0.5 s and 1 s apart), so that a single hit is not seen by
    the agent at all.
    """

    name = "overloaded"
    group = "status"
    stage = "answer"
    keys = (Key("status", Integer(500, 599), "Status of the answer", default=529),)

    async def apply(self, hit: Hit, seen: Seen, forward: Forward) -> ResponsePlan:
        error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
        return json_answer(self.params["status"], error, method=seen.request.method)


fault = Overloaded
