"""What a plan of faults costs an exchange that it does not hit.

    python benchmarks/fault_plan.py [--rules 50] [--requests 2000] [--rounds 9]

The gateway's own decision is timed, in one process and in processor time, so that a busy host matters little: the same
requests with no plan, with a plan whose rules are told apart by host, method and path, and with one of whose rules a
fifth look into the request's body. Rounds take turns; printed are medians over the rounds of the mean time of one
exchange, what each plan adds to no plan, and that as a share of the bound of 0.1 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time

from machine import describe

from aegis.faults.answers import json_answer
from aegis.faults.base import TrialKey
from aegis.faults.plan.weather import Weather
from aegis.gateway.base import Interceptor, Request, ResponsePlan
from aegis.suite.model import FaultMatch, FaultRule

BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * 400}]}).encode()
HEADERS = (
    (b"Host", b"api.example"),
    (b"Authorization", b"Bearer something"),
    (b"Content-Type", b"application/json"),
)
BOUND_MS = 0.1


class Body:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.length = len(data)

    async def read(self) -> bytes:
        data, self._data = self._data, b""
        return data


def request(number: int) -> Request:
    return Request(
        "POST", "https", "api.example", 443, f"/v1/chat/completions?n={number % 7}", HEADERS, Body(BODY)
    )


async def forward(request: Request) -> ResponsePlan:
    return json_answer(200, {})


def rules(count: int, *, bodies: bool) -> list[FaultRule]:
    made = []
    for number in range(count):
        match: dict[str, object] = [
            {"host": (f"host{number}.example",)},
            {"host": ("*.example",), "path": (f"/orders/{number}/*",)},
            {"method": ("GET",), "path": ("/v1/*",)},
            {"host": ("api.example",), "path": ("/v1/chat/*",)},
            {"body": {"$.model": f"m{number}"}} if bodies else {"call": "model"},
        ][number % 5]
        inject = ("server-error", "latency", "rate-limit", "truncate", "token-expired")[number // 5 % 5]
        made.append(
            FaultRule(
                id=f"rule-{number}",
                inject=inject,
                params={"delay": "1s"} if inject == "latency" else {},
                match=FaultMatch.model_validate(match),
                on=(1_000_000,),
            )
        )
    return made


async def one_round(interceptor: Interceptor, requests: int) -> float:
    """Mean milliseconds of one exchange."""
    made = [request(number) for number in range(requests)]
    began = time.process_time()
    for item in made:
        await interceptor.intercept(item, forward)
    return (time.process_time() - began) * 1000 / requests


def weather(count: int, *, bodies: bool) -> Weather:
    made = Weather(rules(count, bodies=bodies), TrialKey("bench", "case", "baseline", 1))
    made.start()
    return made


async def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rules", type=int, default=50)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    ways: dict[str, Interceptor] = {
        "no plan": Interceptor(),
        f"{options.rules} rules": weather(options.rules, bodies=False),
        f"{options.rules} rules, a fifth by body": weather(options.rules, bodies=True),
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    for number in range(options.rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            found[name].append(await one_round(ways[name], options.requests))
    print(describe())
    plain = statistics.median(found["no plan"])
    print("| plan | ms an exchange | added ms | of the bound of 0.1 ms |")
    print("|---|---|---|---|")
    for name, times in found.items():
        mean = statistics.median(times)
        added = mean - plain
        print(f"| {name} | {mean:.4f} | {added:+.4f} | {added / BOUND_MS:.2f} |")


if __name__ == "__main__":
    asyncio.run(main())
