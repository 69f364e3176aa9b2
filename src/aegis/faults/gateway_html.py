"""The load balancer answers instead of the service."""

from __future__ import annotations

from aegis.faults.base import Fault, Hit, Seen
from aegis.faults.carry import CARRIED_OUT, carry_out
from aegis.faults.providers import balancers
from aegis.faults.providers.base import At
from aegis.gateway.base import Forward, ResponsePlan
from aegis.suite.kinds import Choice, Integer, Key

_BEHIND_CLOUDFLARE = ("api.openai.com", "api.anthropic.com")


class GatewayHtml(Fault):
    """Answers 502, 503 or 504 with the HTML page of a load balancer (nginx, AWS ALB, Cloudflare), as happens when the
    service behind it restarts, is gone or takes too long.

    A client that parses every answer as JSON fails on `<html>`. Official model clients look at the status first and try
    again (3 attempts in all), and so does `urllib3.Retry` when these statuses are listed. After a 504 the request may
    well have been carried out: `carried_out: true` does that, so that sending a write again does it twice.
    """

    name = "gateway-html"
    group = "status"
    stage = "answer"
    keys = (
        Key(
            "server",
            Choice("load balancer", ("auto", *balancers.NAMES)),
            "Whose page; auto: Cloudflare's for hosts that are known to be behind it, nginx's for others",
            default="auto",
        ),
        Key("status", Integer(502, 504), "Status of the answer", default=502),
        CARRIED_OUT,
    )

    async def apply(self, hit: Hit, seen: Seen, forward: Forward) -> ResponsePlan:
        if self.params["carried_out"]:
            await carry_out(seen.request, forward)
        server: str = self.params["server"]
        if server == "auto":
            server = "cloudflare" if seen.request.host in _BEHIND_CLOUDFLARE else "nginx"
        return balancers.reply(server, self.params["status"], At(seen, hit))


fault = GatewayHtml
