"""What the gateway costs a client in a machine: its bytes carried out untouched, through Aegis, through mitmproxy.

    python benchmarks/gateway_vm.py [--posts 200] [--rounds 3] [--without-mitmproxy] [--venv FOLDER]

One machine for each path, all of them up at the same time; each round measures every path, in an order that rotates.
`carried` ends the machine's connections on the host and copies their bytes to the upstream: what the way out of the
machine costs by itself. `Aegis` is the gateway in the process of the driver, as in a run. `mitmproxy` is a process of
its own behind the carried bytes. The client is the same program in each machine, TLS on all paths. Printed, as the
median of the rounds: the median and 95th percentile of a POST on a kept connection, and of the time from a request to
the first event of its answer; the time for 100 MiB, and how much the resident memory of this process grows meanwhile;
the time for 200 connections at once.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import statistics
import tarfile
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from machine import describe

import gateway
from aegis.gateway import Gateway, GatewayConfig, Origin
from aegis.sandbox.base import MIB, Driver, Sandbox, Template, TemplateSpec
from aegis.sandbox.guest.network import PROXY_PORT
from aegis.sandbox.network import Connection, Destination, NetworkAccess, Refusal
from aegis.sandbox.select import open_driver

FOLDER = "/opt/benchmark"
CA = f"{FOLDER}/ca.pem"
FIRSTS = 100
TIMEOUT_S = 600.0


class Carried:
    """Copies each connection to a port of the host's loopback."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def connect(self, connection: Connection, destination: Destination) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        with contextlib.suppress(OSError):
            async with asyncio.TaskGroup() as both:
                both.create_task(self._outwards(connection, writer))
                both.create_task(self._inwards(reader, connection))
        writer.close()

    async def _outwards(self, connection: Connection, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await connection.read(65536):
                writer.write(data)
                await writer.drain()
            writer.write_eof()

    async def _inwards(self, reader: asyncio.StreamReader, connection: Connection) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await connection.write(data)
            await connection.close()

    def refused(self, refusal: Refusal) -> None:
        raise SystemExit(f"the machine refused {refusal}")


class Through:
    """A session of the gateway, as in a trial."""

    def __init__(self, of: Gateway) -> None:
        self._session = of.session("benchmark", lambda exchange: None, lambda data: "")

    async def connect(self, connection: Connection, destination: Destination) -> None:
        await self._session.handle(connection, Origin.proxy())

    def refused(self, refusal: Refusal) -> None:
        raise SystemExit(f"the machine refused {refusal}")


@dataclass
class Figures:
    posts: list[list[float]] = field(default_factory=list)
    first: list[list[float]] = field(default_factory=list)
    big: list[float] = field(default_factory=list)
    growth: list[float] = field(default_factory=list)
    at_once: list[float] = field(default_factory=list)

    def post_ms(self) -> float:
        return statistics.median(statistics.median(each) for each in self.posts)

    def row(self, name: str, base: Figures) -> str:
        p95 = statistics.median(statistics.quantiles(each, n=20)[-1] for each in self.posts)
        first = statistics.median(statistics.median(each) for each in self.first)
        first_base = statistics.median(statistics.median(each) for each in base.first)
        return (
            f"| {name} | {self.post_ms():.2f} ({p95:.2f}) | {self.post_ms() - base.post_ms():.2f} "
            f"| {first:.2f} | {first - first_base:.2f} | {statistics.median(self.big):.1f} "
            f"| {max(self.growth):.0f} | {statistics.median(self.at_once):.2f} |"
        )


@dataclass
class Way:
    """One machine and the way that its connections take."""

    name: str
    sandbox: Sandbox
    target: int
    proxy: int
    figures: Figures = field(default_factory=Figures)

    async def ask(self, what: str, count: int = 0) -> list[float]:
        words = ("python3", f"{FOLDER}/gateway_client.py", what, self.target, self.proxy, CA, count)
        done = await self.sandbox.run(tuple(map(str, words)), timeout_s=TIMEOUT_S)
        if not done.status.ok:
            raise SystemExit(f"{self.name}, {what}: {done.status.describe()}\n{done.stderr.decode()}")
        found: list[float] = json.loads(done.stdout)
        return found

    async def measure(self, posts: int) -> None:
        self.figures.posts.append(await self.ask("posts", posts))
        self.figures.first.append(await self.ask("first", FIRSTS))
        idle = gateway.memory_mib("self", "VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak of what went before
        self.figures.big += await self.ask("big")
        self.figures.growth.append(gateway.memory_mib("self", "VmHWM") - idle)
        self.figures.at_once += await self.ask("at_once")


def files(ca: str) -> bytes:
    """What the client needs, as a tar archive."""
    here = Path(__file__).parent
    texts = {name: (here / name).read_text() for name in ("gateway.py", "gateway_client.py", "machine.py")}
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, text in {**texts, "ca.pem": ca}.items():
            member = tarfile.TarInfo(f"{FOLDER.lstrip('/')}/{name}")
            member.size = len(data := text.encode())
            tar.addfile(member, io.BytesIO(data))
    return archive.getvalue()


@asynccontextmanager
async def machine(
    driver: Driver, template: Template, handler: Carried | Through, ca: str
) -> AsyncIterator[Sandbox]:
    sandbox = await driver.start(template, network=NetworkAccess(handler))
    try:
        await sandbox.put_tar(files(ca))
        yield sandbox
    finally:
        await sandbox.stop()


async def run(arguments: argparse.Namespace, folder: Path) -> None:
    async with AsyncExitStack() as stack:
        target = gateway.free_port()
        stack.enter_context(gateway.running(gateway.own("upstream", target, folder, 0), target))
        upstream_ca = (folder / "upstream.pem").read_text()
        driver = await stack.enter_async_context(open_driver("vm", base_dir=Path.cwd(), jobs=4))
        template = await driver.template(TemplateSpec(image="debian", memory_bytes=256 * MIB))
        aegis = Gateway(GatewayConfig(allow=(f"127.0.0.1:{target}",), ca_bundle=upstream_ca))
        stack.callback(aegis.close)
        plans: list[tuple[str, Carried | Through, str, int, int]] = [
            ("carried", Carried(target), upstream_ca, PROXY_PORT, 0),
            ("Aegis", Through(aegis), aegis.ca_pem, target, PROXY_PORT),
        ]
        if not arguments.without_mitmproxy:
            program = gateway.install_mitmproxy(Path(arguments.venv or folder / "venv"))
            port = gateway.free_port()
            stack.enter_context(gateway.running(gateway.mitmproxy_command(program, port, folder), port))
            their_ca = (folder / "mitmproxy-ca-cert.pem").read_text()
            plans.append(("mitmproxy", Carried(port), their_ca, target, PROXY_PORT))
        paths = []
        for name, handler, ca, to, proxy in plans:
            sandbox = await stack.enter_async_context(machine(driver, template, handler, ca))
            paths.append(Way(name, sandbox, to, proxy))
        for number in range(arguments.rounds):
            for path in (*paths[number % len(paths) :], *paths[: number % len(paths)]):
                await path.measure(arguments.posts)
        print(f"Measured on: {describe()}, {driver.info.version}, {driver.info.accel}\n")
    show(paths)


def show(paths: list[Way]) -> None:
    print(
        "| path | POST median ms (p95) | added ms | first event ms | added ms | 100 MiB s | memory growth MiB "
        "| 200 connections s |"
    )
    print("|---|---|---|---|---|---|---|---|")
    figures = {path.name: path.figures for path in paths}
    base = figures["carried"]
    for name, each in figures.items():
        print(each.row(name, base))
    if "mitmproxy" in figures:
        ours, theirs = (figures[name].post_ms() for name in ("Aegis", "mitmproxy"))
        print(f"\nA POST takes {theirs / ours:.1f} times as long through mitmproxy as through Aegis.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--posts", type=int, default=200, help="counted in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without-mitmproxy", action="store_true")
    parser.add_argument("--venv", help="folder of an environment for mitmproxy; kept for the next time")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        asyncio.run(run(arguments, Path(temporary)))


if __name__ == "__main__":
    main()
