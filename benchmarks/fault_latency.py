"""How exactly `latency` delays, and what it leaves of the rate of a connection.

    python benchmarks/fault_latency.py [--delay 100ms] [--count 60] [--rounds 5]

Client, gateway and upstream share one event loop on loopback. Requests with and without the fault alternate, so that
what else the host does meets both; a request's time without the fault is taken off the next one's with it. Printed for
HTTP, HTTPS and plain TCP: by how much the added time misses the delay (median, 95th percentile, worst, of all rounds),
and added time : delay. Then the time for 12 MiB, which may all be on the way at once, over plain TCP with and without
a delay, as the median ratio of pairs, the delay itself taken off.
"""

from __future__ import annotations

import argparse
import asyncio
import ssl
import statistics
import time
from collections.abc import Awaitable, Callable

from machine import describe

from aegis.faults.base import TrialKey
from aegis.faults.plan.weather import Weather
from aegis.gateway import Gateway, GatewayConfig, Origin, SocketStream
from aegis.suite.model import FaultMatch, FaultRule
from aegis.suite.units import parse_duration

BIG_BYTES = 12 * 1024 * 1024
BODY = b"x" * 500
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)

Ask = Callable[[], Awaitable[None]]


async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while head := await reader.read(65536):
            if head.startswith(b"big"):
                for _ in range(BIG_BYTES // 65536):
                    writer.write(bytes(65536))
                    await writer.drain()
            else:
                writer.write(ANSWER)
    except OSError:
        pass
    finally:
        writer.close()


class Way:
    """A gateway with these rules, and where its connections arrive."""

    def __init__(self, target: int, rules: list[FaultRule]) -> None:
        weather = Weather(rules, TrialKey("benchmark", "latency", "baseline", 1))
        where = f"127.0.0.1:{target}"
        self.gateway = Gateway(
            GatewayConfig(routes={"api.example": f"http://{where}", "db.example:5432": where})
        )
        self.session = self.gateway.session(
            "benchmark", lambda exchange: None, lambda data: "", interceptor=weather
        )
        self.session.start_clock()
        weather.start()

    async def connect(
        self, name: str, port: int, tls: bool = False
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async def accepted(stream: SocketStream) -> None:
            await self.session.handle(stream, Origin.direct(name, "198.18.0.1", port))

        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: SocketStream(accepted), "127.0.0.1", 0)
        bound = server.sockets[0].getsockname()[1]
        if not tls:
            return await asyncio.open_connection("127.0.0.1", bound)
        context = ssl.create_default_context(cadata=self.gateway.ca_pem)
        return await asyncio.open_connection("127.0.0.1", bound, ssl=context, server_hostname=name)

    async def asking(self, kind: str) -> Ask:
        """A kept connection, and one question with its answer on it."""
        name, port = (
            ("db.example", 5432) if kind == "TCP" else ("api.example", 443 if kind == "HTTPS" else 80)
        )
        reader, writer = await self.connect(name, port, kind == "HTTPS")
        question = b"say" if kind == "TCP" else b"GET / HTTP/1.1\r\nHost: api.example\r\n\r\n"

        async def ask() -> None:
            writer.write(question)
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(len(BODY))

        return ask


async def taken_s(call: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await call()
    return time.perf_counter() - began


async def errors_ms(delayed: Way, plain: Way, kind: str, delay_s: float, count: int) -> list[float]:
    late, prompt = await delayed.asking(kind), await plain.asking(kind)
    await late()
    await prompt()
    found = []
    for _ in range(count):
        own_s = await taken_s(prompt)
        found.append((await taken_s(late) - own_s - delay_s) * 1000)
    return found


async def big_s(way: Way) -> float:
    reader, writer = await way.connect("db.example", 5432)
    writer.write(b"big")

    async def read() -> None:
        await reader.readexactly(BIG_BYTES)

    taken = await taken_s(read)
    writer.close()
    return taken


async def measure(delay: str, count: int, rounds: int) -> None:
    delay_s = parse_duration(delay)
    server = await asyncio.start_server(upstream, "127.0.0.1", 0)
    target = server.sockets[0].getsockname()[1]
    rule = FaultRule(id="latency", inject="latency", match=FaultMatch(), params={"delay": delay})
    delayed, plain = Way(target, [rule]), Way(target, [])
    print(f"Measured on: {describe()}\n\ndelay: {delay}\n")
    print("| path | median error ms | 95th percentile | worst | added : delay |\n|---|---|---|---|---|")
    errors: dict[str, list[float]] = {"HTTP": [], "HTTPS": [], "TCP": []}
    for _ in range(rounds):
        for kind, found in errors.items():
            found += await errors_ms(delayed, plain, kind, delay_s, count)
    for kind, found in errors.items():
        sizes = sorted(abs(error) for error in found)
        median = statistics.median(found)
        print(
            f"| {kind} | {median:+.2f} | {sizes[int(len(sizes) * 0.95)]:.2f} | {sizes[-1]:.2f} "
            f"| {1 + median / (delay_s * 1000):.3f} |"
        )
    ratios = []
    for _ in range(4 * rounds):
        prompt_s = await big_s(plain)
        ratios.append((await big_s(delayed) - delay_s) / prompt_s)
    print(
        f"\n12 MiB over plain TCP take {statistics.median(ratios):.2f} times as long with the delay "
        f"({min(ratios):.2f} to {max(ratios):.2f} in {len(ratios)} pairs)."
    )
    for way in (delayed, plain):
        await way.session.close()
        way.gateway.close()
    server.close()
    await asyncio.sleep(0.2)  # the upstream's own connections end


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--delay", default="100ms")
    parser.add_argument("--count", type=int, default=60, help="requests of each kind in each round")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.delay, arguments.count, arguments.rounds))


if __name__ == "__main__":
    main()
