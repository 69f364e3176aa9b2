"""The refresh token is dead."""

from __future__ import annotations

from aegis.faults import providers
from aegis.faults.base import Fault, Hit, Seen
from aegis.faults.providers.base import At
from aegis.gateway.base import Forward, ResponsePlan
from aegis.suite.kinds import Key, Text


class RefreshRevoked(Fault):
    """Answers 400 `invalid_grant` (RFC 6749, section 5.2), as a token endpoint does when the refresh token was revoked,
    has expired or was used before: a user has withdrawn the access, or another process has refreshed first. GitHub and
    Slack say it in a 200 (`bad_refresh_token`, `invalid_refresh_token`).

    The rule's match should name the token endpoint, such as `{host: auth.example, method: POST, path: /oauth/token}`:
    everything that it picks is answered so. OAuth libraries raise at once and don't try again. There is nothing that an
    agent can do but stop and ask for a new login.
    """

    name = "refresh-revoked"
    group = "auth"
    stage = "answer"
    keys = (
        providers.KEY,
        Key("description", Text("text"), "Text of error_description, instead of the usual one"),
    )

    async def apply(self, hit: Hit, seen: Seen, forward: Forward) -> ResponsePlan:
        provider = providers.find(self.params["provider"], seen)
        reply = provider.refresh_refused(At(seen, hit), self.params.get("description"))
        return reply.plan(seen.request.method)


fault = RefreshRevoked
