"""How faults end an exchange: what is cut, and what becomes of the request and of the answer that nobody gets."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Literal

from aegis.gateway.base import Forward, Request, ResponsePlan
from aegis.gateway.failures import Cut, Failure, injected
from aegis.suite.kinds import Choice, Key

_LOST_BYTES = 1024 * 1024
_LOST_S = 1.0
ARRIVE_S = 0.05
"""What was sent gets this long to arrive: a reset overtakes what is still on the way."""

Upstream = Literal["called", "not-called"]


def upstream_key(default: Upstream) -> Key:
    """The parameter that says which side of the failure the work is on."""
    return Key(
        "upstream",
        Choice("upstream", ("called", "not-called")),
        "called: the request is processed and its answer lost; not-called: the request is lost",
        default=default,
    )


def cut(text: str, *, reset: bool = False) -> Cut:
    """To end the client's connection at this byte, as an injected fault."""
    return Cut(str(injected(text)), reset=reset)


async def undergo(request: Request, forward: Forward, upstream: Upstream) -> None:
    """What happens to a request that is never answered: upstream processes it, or nobody does."""
    if upstream == "called":
        await lose(await forward(request))
    else:
        await drop(request)


async def lose(plan: ResponsePlan) -> None:
    """Take the answer that nobody gets, so that upstream sees it taken: a second or 1 MiB of it at most."""
    taken = 0
    try:
        with contextlib.suppress(Failure, Cut, TimeoutError):
            async with asyncio.timeout(_LOST_S):
                async for piece in plan.body:
                    taken += len(piece)
                    if taken > _LOST_BYTES:
                        break
    finally:
        await plan.release()


async def drop(request: Request) -> None:
    """Take all that the client sends: closing over unread bytes would reset the connection."""
    while await request.body.read():
        pass
