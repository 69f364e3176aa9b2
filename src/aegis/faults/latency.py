"""The answer comes later."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

from aegis.faults.base import Fault, Hit, Seen
from aegis.faults.streams import DelayLine, after_upgrade
from aegis.gateway.base import ByteStream, Forward, ResponsePlan
from aegis.suite.kinds import Choice, Duration, Key, Number

_MAX_S = 600.0
_DELAY = Duration(0.001, _MAX_S)
_MEANT = {
    "fixed": {"delay"},
    "uniform": {"delay", "jitter", "min", "max"},
    "lognormal": {"median", "sigma", "min", "max"},
}
_OWN = frozenset({"delay", "jitter", "min", "max", "median", "sigma"})


class Latency(Fault):
    """Keeps the answer's first byte back for a time, on top of what upstream takes itself: a slow dependency, a cold
    start, a crowded network path.

    The delay is fixed (`delay: 2s`, which is also the default), or drawn for each hit: evenly (`distribution: uniform`
    with `delay` and `jitter`, or from `min` to `max`), or with a long tail as real services have it (`distribution:
    lognormal` with `median` and `sigma`, kept between `min` and `max`; a sigma of 0.5 puts one in a hundred at 3.2
    times the median, 1.0 at 10 times). Only the first byte is late; what upstream has sent meanwhile follows at once.

    `before: response` keeps the answer back, so that a client that gives up leaves work behind that was done: an
    ambiguous failure. `before: request` keeps the request back, and giving up in time means that nothing was done.

    On plain TCP, and on a WebSocket after its upgrade, everything towards the client arrives later by one delay, drawn
    for the connection: the order and the rate stay, and up to 16 MiB are on the way at once.

    Clients with a time limit below the delay give up and, if they are official provider clients, try again twice;
    requests and urllib3 have no limit unless they are given one.
    """

    name = "latency"
    group = "time"
    stage = "time"
    layers = frozenset({"http", "tcp", "mcp"})
    keys = (
        Key("distribution", Choice("distribution", tuple(_MEANT)), "How delays are spread", default="fixed"),
        Key("delay", _DELAY, "The delay (fixed; 2s unless given), or its middle (uniform)"),
        Key("jitter", _DELAY, "uniform: how far from `delay` it may be, in both directions"),
        Key("min", _DELAY, "The shortest delay (uniform, lognormal)"),
        Key("max", _DELAY, "The longest delay (uniform, lognormal)"),
        Key("median", _DELAY, "lognormal: half of the delays are shorter"),
        Key("sigma", Number(3.0), "lognormal: the standard deviation of the delay's logarithm"),
        Key(
            "before",
            Choice("moment", ("request", "response")),
            "What is kept back: the request on its way to upstream, or the response on its way to the client",
            default="response",
        ),
    )

    @classmethod
    def read(cls, written: Mapping[str, Any]) -> dict[str, Any]:
        if written.get("distribution", "fixed") == "fixed":
            written = {"delay": "2s", **written}
        return super().read(written)

    @classmethod
    def problem(cls, params: Mapping[str, Any]) -> str | None:
        kind, given = params["distribution"], _OWN & params.keys()
        if other := sorted(given - _MEANT[kind]):
            return f"{other[0]!r} means nothing for distribution: {kind}"
        if kind == "uniform" and given not in ({"delay", "jitter"}, {"min", "max"}):
            return "distribution: uniform takes either 'delay' and 'jitter', or 'min' and 'max'"
        if kind == "uniform" and "jitter" in given and params["jitter"] > params["delay"]:
            return "'jitter' is longer than 'delay': delays would be negative"
        if kind == "lognormal" and not {"median", "sigma"} <= given:
            return "distribution: lognormal needs 'median' and 'sigma'"
        if {"min", "max"} <= given and params["min"] > params["max"]:
            return "'min' is longer than 'max'"
        return None

    def delay_s(self, hit: Hit) -> float:
        """The same for the same hit."""
        params = self.params
        if params["distribution"] == "fixed":
            return float(params["delay"])
        drawn = hit.draw("delay")
        if params["distribution"] == "uniform":
            if "delay" in params:
                return float(params["delay"] + params["jitter"] * (2 * drawn - 1))
            return float(params["min"] + (params["max"] - params["min"]) * drawn)
        # 0 may be drawn, and has no quantile.
        quantile = NormalDist().inv_cdf(max(drawn, 2**-53))
        delay = params["median"] * math.exp(params["sigma"] * quantile)
        return float(min(max(delay, params.get("min", 0.0)), params.get("max", _MAX_S)))

    async def apply(self, hit: Hit, seen: Seen, forward: Forward) -> ResponsePlan:
        delay_s = self.delay_s(hit)
        seen.request.end_with_client()
        if self.params["before"] == "request":
            await asyncio.sleep(delay_s)
            plan = await forward(seen.request)
        else:
            plan = await forward(seen.request)
            try:
                await asyncio.sleep(delay_s)
            except asyncio.CancelledError:
                await plan.release()
                raise
        after_upgrade(plan, lambda client: DelayLine(client, delay_s))
        return plan

    def tunnel(self, hit: Hit, client: ByteStream) -> ByteStream:
        return DelayLine(client, self.delay_s(hit))


fault = Latency
