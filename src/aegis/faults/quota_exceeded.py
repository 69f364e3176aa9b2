"""No credits are left."""

from __future__ import annotations

from aegis.faults import providers
from aegis.faults.base import Fault, Hit, Seen
from aegis.faults.providers.base import At
from aegis.gateway.base import Forward, ResponsePlan
from aegis.suite.kinds import Choice, Integer, Key


class QuotaExceeded(Fault):
    """Answers that the account's credits or its spending limit are used up: a failure that looks like a rate limit and
    that no waiting cures. OpenAI says 429 with the type `insufficient_quota`, Anthropic 402 `billing_error` or, for the
    spending limit, a 429 `rate_limit_error` without `retry-after`; others get 402 in their own shape.

    Official clients try a 429 again all the same, 2 times; a 402 they hand to the agent at once. What an agent should
    do is stop and say so: going on costs time and looks like an attack.
    """

    name = "quota-exceeded"
    group = "status"
    stage = "answer"
    needs_body = True
    keys = (
        providers.KEY,
        Key(
            "cause",
            Choice("cause", ("credits", "spend-limit")),
            "What is used up: prepaid credits, or the spending limit of the account",
            default="credits",
        ),
        Key("status", Integer(400, 499), "Status of the answer; the provider's by default"),
    )

    async def apply(self, hit: Hit, seen: Seen, forward: Forward) -> ResponsePlan:
        provider = providers.find(self.params["provider"], seen)
        reply = provider.quota(At(seen, hit), self.params["cause"])
        return reply.plan(seen.request.method, status=self.params.get("status"))


fault = QuotaExceeded
