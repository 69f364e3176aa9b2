"""A request that upstream carries out although the agent is told otherwise."""

from __future__ import annotations

from aegis.gateway.base import Forward, Request
from aegis.gateway.failures import Cut, Failure
from aegis.suite.kinds import Flag, Key

CARRIED_OUT = Key(
    "carried_out",
    Flag(),
    "Whether upstream carries the request out all the same, and only its answer is lost",
    default=False,
)
_LONGEST_BYTES = 8 * 1024 * 1024


async def carry_out(request: Request, forward: Forward) -> None:
    """Forward it and keep the answer from the agent, however it turns out."""
    try:
        plan = await forward(request)
    except (Failure, Cut):
        return
    read = 0
    try:
        async for piece in plan.body:
            read += len(piece)
            if read > _LONGEST_BYTES:
                break
    except (Failure, Cut):
        pass
    finally:
        await plan.release()
