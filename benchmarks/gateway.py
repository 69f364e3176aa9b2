"""What the gateway costs on the path: the same requests direct, through Aegis, and through mitmproxy.

    python benchmarks/gateway.py [--posts 200] [--rounds 7] [--without-mitmproxy] [--venv FOLDER]

Client, upstream and each proxy are processes of their own on loopback, all hops are TLS. mitmproxy is installed into an
environment of its own (`--venv`, by default a temporary one). All of them run at the same time, and each round measures
every path, in an order that rotates: what else the host does meets all alike. Printed, as the median of the rounds:
the median and 95th percentile of a POST on a kept connection and what each path adds to direct; how much later an
event of a stream arrives; the time for 100 MiB and how much the proxy's resident memory grows meanwhile at most; the
time for 200 connections at once. `Aegis, secret` carries a placeholder that becomes a value on the way, and searches
every answer for the value. The ratio of what mitmproxy and Aegis add is told with its spread over the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from machine import describe

MIB = 1024 * 1024
BIG_BYTES = 100 * MIB
EVENTS = 50
CONNECTIONS = 200
BODY = b'{"model": "m", "messages": [{"role": "user", "content": "' + b"x" * 400 + b'"}]}'
ANSWER = b'{"choices": [{"message": {"role": "assistant", "content": "' + b"y" * 400 + b'"}}]}'
STREAMING = """
def responseheaders(flow):
    flow.response.stream = flow.request.path in ("/events", "/first", "/big")
"""


@dataclass(frozen=True)
class Way:
    """One way to the upstream."""

    name: str
    ca: Path
    proxy: int | None = None
    pid: int | None = None
    credential: bytes = b"something"


@dataclass
class Round:
    post_ms: float
    post_p95_ms: float
    event_ms: float
    big_s: float
    growth_mib: float
    connections_s: float


def post_ms_of(item: Round) -> float:
    return item.post_ms


def event_ms_of(item: Round) -> float:
    return item.event_ms


# --- the upstream ---------------------------------------------------------------------------------------------------


async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"POST"):
                await reader.readexactly(len(BODY))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ")
                writer.write(b"%d\r\n\r\n%s" % (len(ANSWER), ANSWER))
            elif head.startswith(b"GET /big"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG_BYTES)
                for _ in range(BIG_BYTES // 65536):
                    writer.write(bytes(65536))
                    await writer.drain()
            else:
                await send_events(writer, 1 if head.startswith(b"GET /first") else EVENTS)
            await writer.drain()


async def send_events(writer: asyncio.StreamWriter, count: int) -> None:
    """Each event holds the moment of its sending, on the clock that all processes share."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    for number in range(count):
        await asyncio.sleep(0.02 if number or count > 1 else 0)
        data = b"data: %d\n\n" % time.monotonic_ns()
        writer.write(b"%x\r\n%s\r\n" % (len(data), data))
        await writer.drain()
    writer.write(b"0\r\n\r\n")


async def serve(role: str, port: int, folder: Path, upstream_port: int) -> None:
    if role == "upstream":
        from aegis.gateway import Authority
        from aegis.gateway.names import parse_host

        authority = Authority()
        (folder / "upstream.pem").write_text(authority.pem)
        context = authority.context(parse_host("127.0.0.1"))
        server = await asyncio.start_server(upstream, "127.0.0.1", port, ssl=context, backlog=512)
    else:
        server = await serve_gateway(role, port, folder, upstream_port)
    async with server:
        await server.serve_forever()


async def serve_gateway(role: str, port: int, folder: Path, upstream_port: int) -> asyncio.Server:
    from aegis.gateway import Gateway, GatewayConfig, Origin, SocketStream
    from aegis.gateway.placeholders import made_up

    bundle = (folder / "upstream.pem").read_text()
    upstream_host = f"127.0.0.1:{upstream_port}"
    secrets = {"API_KEY": (upstream_host,)} if role == "guarded" else {}
    config = GatewayConfig(allow=(upstream_host,), ca_bundle=bundle, secrets=secrets)
    gateway = Gateway(config, secret_values=dict.fromkeys(secrets, made_up("OPENAI_API_KEY")))
    (folder / f"{role}.pem").write_text(gateway.ca_pem)
    session = gateway.session("benchmark", lambda exchange: None, lambda data: "")
    (folder / f"{role}.key").write_text(session.environment().get("API_KEY", ""))

    async def accepted(stream: SocketStream) -> None:
        await session.handle(stream, Origin.proxy())

    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: SocketStream(accepted), "127.0.0.1", port, backlog=512)


# --- the client -----------------------------------------------------------------------------------------------------


async def open_tls(
    target: int, way: Way, context: ssl.SSLContext
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if way.proxy is None:
        return await asyncio.open_connection("127.0.0.1", target, ssl=context, server_hostname="127.0.0.1")
    reader, writer = await asyncio.open_connection("127.0.0.1", way.proxy)
    writer.write(f"CONNECT 127.0.0.1:{target} HTTP/1.1\r\nHost: 127.0.0.1:{target}\r\n\r\n".encode())
    answer = await reader.readuntil(b"\r\n\r\n")
    if b" 200 " not in answer:
        raise SystemExit(f"the proxy refused: {answer!r}")
    await writer.start_tls(context, server_hostname="127.0.0.1")
    return reader, writer


async def post(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: int, credential: bytes
) -> None:
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
        b"Authorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s" % (target, credential, len(BODY), BODY)
    )
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"a POST failed: {head[:200]!r}")
    await reader.readexactly(len(ANSWER))


async def posts(target: int, way: Way, context: ssl.SSLContext, count: int) -> list[float]:
    """Milliseconds of each; the first tenth warms up and is not counted."""
    reader, writer = await open_tls(target, way, context)
    taken = []
    for _ in range(count + count // 10):
        started = time.perf_counter()
        await post(reader, writer, target, way.credential)
        taken.append((time.perf_counter() - started) * 1000)
    writer.close()
    return taken[count // 10 :]


async def events(target: int, way: Way, context: ssl.SSLContext) -> float:
    """Median milliseconds from an event's sending to its arrival."""
    reader, writer = await open_tls(target, way, context)
    writer.write(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % target)
    await reader.readuntil(b"\r\n\r\n")
    delays: list[float] = []
    while len(delays) < EVENTS:
        line = await reader.readline()
        if line.startswith(b"data: "):
            delays.append((time.monotonic_ns() - int(line[6:])) / 1e6)
    writer.close()
    return statistics.median(delays)


async def firsts(target: int, way: Way, context: ssl.SSLContext, count: int) -> list[float]:
    """Milliseconds from a request to the first event of its answer."""
    reader, writer = await open_tls(target, way, context)
    taken = []
    for _ in range(count):
        started = time.perf_counter()
        writer.write(b"GET /first HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % target)
        while not (await reader.readline()).startswith(b"data: "):
            pass
        taken.append((time.perf_counter() - started) * 1000)
        await reader.readuntil(b"0\r\n\r\n")
    writer.close()
    return taken


async def big(target: int, way: Way, context: ssl.SSLContext) -> float:
    reader, writer = await open_tls(target, way, context)
    started = time.perf_counter()
    writer.write(b"GET /big HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % target)
    await reader.readuntil(b"\r\n\r\n")
    left = BIG_BYTES
    while left:
        data = await reader.read(256 * 1024)
        if not data:
            raise SystemExit(f"100 MiB ended {left} bytes early")
        left -= len(data)
    writer.close()
    return time.perf_counter() - started


async def at_once(target: int, way: Way, context: ssl.SSLContext) -> float:
    async def one() -> None:
        reader, writer = await open_tls(target, way, context)
        await post(reader, writer, target, way.credential)
        await everybody.wait()
        await post(reader, writer, target, way.credential)
        writer.close()

    everybody = asyncio.Barrier(CONNECTIONS)
    started = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))
    return time.perf_counter() - started


def memory_mib(pid: int | str, field: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    return 0.0


def client_context(ca: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(ca))
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    return context


async def measure(target: int, way: Way, count: int) -> Round:
    context = client_context(way.ca)
    taken = await posts(target, way, context, count)
    event_ms = await events(target, way, context)
    idle = 0.0
    if way.pid is not None:
        idle = memory_mib(way.pid, "VmRSS")
        # Forget the peak of what went before.
        Path(f"/proc/{way.pid}/clear_refs").write_text("5")
    big_s = await big(target, way, context)
    growth = memory_mib(way.pid, "VmHWM") - idle if way.pid is not None else 0.0
    connections_s = await at_once(target, way, context)
    p95 = statistics.quantiles(taken, n=20)[-1]
    return Round(statistics.median(taken), p95, event_ms, big_s, growth, connections_s)


# --- the processes --------------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextlib.contextmanager
def running(command: list[str], port: int) -> Iterator[int]:
    """The process's id, once it listens."""
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if child.poll() is not None:
                raise SystemExit(f"{command[0]} ended with exit code {child.returncode}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield child.pid
    finally:
        child.terminate()
        child.wait(30)


def install_mitmproxy(folder: Path) -> Path:
    program = folder / "bin" / "mitmdump"
    if not program.exists():
        print("installing mitmproxy …", file=sys.stderr)
        venv.create(folder, with_pip=True)
        subprocess.run([folder / "bin" / "pip", "install", "-q", "mitmproxy"], check=True)
    return program


def own(role: str, port: int, folder: Path, upstream_port: int) -> list[str]:
    return [sys.executable, __file__, "--role", role, str(port), str(folder), str(upstream_port)]


def mitmproxy_command(program: Path, port: int, folder: Path) -> list[str]:
    script = folder / "streaming.py"
    script.write_text(STREAMING)
    options = [f"confdir={folder}", "connection_strategy=lazy", "ssl_insecure=true"]
    command = [str(program), "-q", "--listen-host", "127.0.0.1", "-p", str(port), "-s", str(script)]
    return [*command, *(item for option in options for item in ("--set", option))]


@contextlib.contextmanager
def ways(arguments: argparse.Namespace, folder: Path, target: int) -> Iterator[list[Way]]:
    """Every path, with its proxy running."""
    with contextlib.ExitStack() as stack:
        found = [Way("direct", folder / "upstream.pem")]
        for name, role in (("Aegis", "gateway"), ("Aegis, secret", "guarded")):
            port = free_port()
            pid = stack.enter_context(running(own(role, port, folder, target), port))
            credential = (folder / f"{role}.key").read_bytes() or b"something"
            found.append(Way(name, folder / f"{role}.pem", port, pid, credential))
        if not arguments.without_mitmproxy:
            program = install_mitmproxy(Path(arguments.venv or folder / "venv"))
            port = free_port()
            pid = stack.enter_context(running(mitmproxy_command(program, port, folder), port))
            found.append(Way("mitmproxy", folder / "mitmproxy-ca-cert.pem", port, pid))
        yield found


def run(arguments: argparse.Namespace, folder: Path) -> dict[str, list[Round]]:
    target = free_port()
    rounds: dict[str, list[Round]] = {}
    with (
        running(own("upstream", target, folder, 0), target),
        ways(arguments, folder, target) as paths,
    ):
        for number in range(arguments.rounds):
            for way in (*paths[number % len(paths) :], *paths[: number % len(paths)]):
                made = asyncio.run(measure(target, way, arguments.posts))
                rounds.setdefault(way.name, []).append(made)
    return {way.name: rounds[way.name] for way in paths}


def middle(rounds: list[Round], value: Callable[[Round], float]) -> float:
    return statistics.median(value(item) for item in rounds)


def show(rounds: dict[str, list[Round]]) -> None:
    print(f"Measured on: {describe()}\n")
    print(
        "| path | POST median ms (p95) | added ms | event delay ms | added ms | 100 MiB s | memory growth MiB "
        "| 200 connections s |"
    )
    print("|---|---|---|---|---|---|---|---|")
    direct = rounds["direct"]
    for name, own_rounds in rounds.items():
        post_ms, event_ms = (middle(own_rounds, value) for value in (post_ms_of, event_ms_of))
        growth = "" if name == "direct" else f"{max(item.growth_mib for item in own_rounds):.0f}"
        print(
            f"| {name} | {post_ms:.2f} ({middle(own_rounds, lambda item: item.post_p95_ms):.2f}) "
            f"| {post_ms - middle(direct, post_ms_of):.2f} "
            f"| {event_ms:.2f} | {event_ms - middle(direct, event_ms_of):.2f} "
            f"| {middle(own_rounds, lambda item: item.big_s):.2f} | {growth} "
            f"| {middle(own_rounds, lambda item: item.connections_s):.2f} |"
        )
    if "mitmproxy" in rounds:
        for name in ("Aegis", "Aegis, secret"):
            ratios = [
                (other.post_ms - base.post_ms) / (ours.post_ms - base.post_ms)
                for base, ours, other in zip(direct, rounds[name], rounds["mitmproxy"], strict=True)
            ]
            print(
                f"\nmitmproxy adds {statistics.median(ratios):.1f} times what {name} adds to a POST "
                f"({min(ratios):.1f} to {max(ratios):.1f} in {len(ratios)} rounds)."
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--posts", type=int, default=200, help="counted in each round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--without-mitmproxy", action="store_true")
    parser.add_argument("--venv", help="folder of an environment for mitmproxy; kept for the next time")
    parser.add_argument("--role", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.role:
        role, port, folder, upstream_port = arguments.role
        asyncio.run(serve(role, int(port), Path(folder), int(upstream_port)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        show(run(arguments, Path(temporary)))


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
