"""The client of gateway_vm.py, run inside the machine: one measurement, its figures as JSON.

    python3 gateway_client.py posts|first|big|at_once TARGET PROXY CA COUNT

`PROXY` 0 opens TLS at port `TARGET` itself.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import gateway


async def measured(what: str, target: int, way: gateway.Way, count: int) -> list[float]:
    context = gateway.client_context(way.ca)
    if what == "posts":
        return await gateway.posts(target, way, context, count)
    if what == "first":
        return await gateway.firsts(target, way, context, count)
    if what == "big":
        return [await gateway.big(target, way, context)]
    return [await gateway.at_once(target, way, context)]


if __name__ == "__main__":
    what, target, proxy, ca, count = sys.argv[1:]
    way = gateway.Way("inside", Path(ca), int(proxy) or None)
    print(json.dumps(asyncio.run(measured(what, int(target), way, int(count)))))
