"""The credential is good, and not good for this."""

from __future__ import annotations

from aegis.faults import providers
from aegis.faults.base import Fault, Hit, Seen
from aegis.faults.providers.base import At
from aegis.gateway.base import Forward, ResponsePlan


class Forbidden(Fault):
    """Answers 403 in the provider's form (Slack: a 200 with `missing_scope`), as an API does whose token lacks a
    permission that was taken away or never given.

    No client tries again by itself. A new token does not help either: an agent that refreshes, or tries other ways
    round the refusal, has not understood it; it should stop and say which permission is missing.
    """

    name = "forbidden"
    group = "auth"
    stage = "answer"
    needs_body = True
    keys = (providers.KEY,)

    async def apply(self, hit: Hit, seen: Seen, forward: Forward) -> ResponsePlan:
        provider = providers.find(self.params["provider"], seen)
        return provider.forbidden(At(seen, hit)).plan(seen.request.method)


fault = Forbidden
