"""A machine's connections reach the handler of its trial, and nothing else is reached."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
from typing import Any

import pytest

from aegis.sandbox.base import MIB, Sandbox
from aegis.sandbox.guest import names, network
from aegis.sandbox.network import Connection, Destination, NetworkAccess, Refusal
from support.conformance_exec import SPEC
from support.conformance_network import PEM, networked
from support.host_state import resident_bytes
from support.network_handlers import Handler
from support.sandbox_bench import Bench, sh, text_of, until

pytestmark = pytest.mark.vm

ACCESS_PORTS, ACCESS_ADDRESSES = (5432,), (("10.0.0.5", 5432), ("192.168.7.7", 8443))

PIECE = bytes(65536)

TRY = """
import errno, json, socket, sys, time
def attempt(kind, host, port):
    begun = time.monotonic()
    try:
        if kind == "tcp":
            s = socket.create_connection((host, port), 30)
            s.sendall(b"hi"); s.shutdown(1)
            answer = s.recv(100).decode()
        else:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            if kind == "icmp":
                s = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_ICMP)
                s.sendto(b"\\x08\\0\\xf7\\xff" + bytes(4), (host, 0))
                answer = "sent"
            else:
                s = socket.socket(family, socket.SOCK_DGRAM)
                s.settimeout(30); s.connect((host, port)); s.send(b"x")
                answer = s.recv(10).decode()
    except OSError as error:
        answer = errno.errorcode.get(error.errno, type(error).__name__)
    return answer, time.monotonic() - begun
for line in json.loads(sys.argv[1]):
    print(json.dumps(attempt(*line)), flush=True)
"""


async def attempts(sandbox: Sandbox, *tries: tuple[str, str, int]) -> list[str]:
    """How each attempt `(tcp|udp|icmp, host, port)` ended: what was answered, or the error's name; all at once."""
    done = await sandbox.run(("python3", "-c", TRY, json.dumps(tries)), timeout_s=100)
    assert done.status.ok, done.stderr.decode()
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert max(took for _, took in answers) < 20, "nothing waits for an answer that can't come"
    return [answer for answer, _ in answers]


def in_machine(bench: Bench, access: NetworkAccess | None, use: Any) -> None:
    async def body() -> None:
        if access is None:
            async with bench.sandbox(SPEC) as sandbox:
                await use(sandbox)
        else:
            async with networked(bench, access) as sandbox:
                await use(sandbox)

    bench.run(body)


def access_to(handler: Handler, **more: Any) -> NetworkAccess:
    return NetworkAccess(handler, ACCESS_PORTS, ACCESS_ADDRESSES, **more)


async def answers(connection: Connection) -> None:
    if b"GET / HTTP/1.1" in (data := await connection.read(65536)):
        data = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfor curl\n"
    await connection.write(data)


def test_what_is_allowed_reaches_the_handler_with_name_address_and_port(bench: Bench) -> None:
    handler = Handler(answers)

    async def use(sandbox: Sandbox) -> None:
        assert (
            await attempts(
                sandbox,
                ("tcp", "127.0.0.1", network.PROXY_PORT),
                ("tcp", "api.example.com", 443),
                ("tcp", "API.example.com", 80),
                ("tcp", "api.example.com", 5432),
                ("tcp", "db.internal", 5432),
                ("tcp", "10.0.0.5", 5432),
                ("tcp", "192.168.7.7", 8443),
                ("tcp", network.METADATA, 80),
            )
            == ["hi"] * 8
        )
        # Another client than Python's.
        assert (await sh(sandbox, "curl -sS http://shop.example.com/")).stdout == b"for curl\n"

    in_machine(bench, access_to(handler), use)
    first, second, third = (f"198.18.1.{number}" for number in range(3))
    assert handler.destinations == [
        Destination("proxy"),
        Destination("direct", "api.example.com", first, 443),
        Destination("direct", "api.example.com", first, 80),
        Destination("direct", "api.example.com", first, 5432),
        Destination("direct", "db.internal", second, 5432),
        Destination("direct", None, "10.0.0.5", 5432),
        Destination("direct", None, "192.168.7.7", 8443),
        Destination("direct", None, "169.254.169.254", 80),
        Destination("direct", "shop.example.com", third, 80),
    ]
    assert handler.refusals == []


REFUSED: list[tuple[str, str, int]] = [
    ("tcp", "api.example.com", 5433),
    ("tcp", "10.0.0.5", 5433),
    ("tcp", "10.0.0.6", 5432),
    ("tcp", network.METADATA, 8080),
    ("tcp", "1.1.1.1", 443),
    ("tcp", "2606:4700::1111", 443),
    ("udp", "8.8.8.8", 53),
    ("udp", "api.example.com", 443),
    ("udp", "2606:4700::1111", 443),
]


def test_what_is_not_allowed_is_refused_at_once_and_told(bench: Bench) -> None:
    handler = Handler()

    async def use(sandbox: Sandbox) -> None:
        assert await attempts(sandbox, *REFUSED, *REFUSED) == ["ECONNREFUSED"] * 2 * len(REFUSED)
        assert await attempts(sandbox, ("icmp", "9.9.9.9", 0), ("tcp", "127.0.0.1", 1)) == [
            "sent",
            "ECONNREFUSED",
        ]

        async def told() -> bool:
            return len(handler.refusals) > len(REFUSED)

        await until(told, "the reports")

    in_machine(bench, access_to(handler), use)
    expected = []
    for protocol, host, port in REFUSED:
        named = host == "api.example.com"
        expected.append(Refusal("198.18.1.0" if named else host, port, protocol, host if named else None))
    assert sorted(handler.refusals, key=repr) == sorted(
        [*expected, Refusal("9.9.9.9", 0, "icmp")], key=repr
    ), "each once, and loopback's own not at all"
    assert handler.destinations == []


PING = """
import socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP); s.settimeout(2)
s.sendto(b"\\x08\\0\\xf7\\xff" + bytes(4), ("9.9.9.9", 0))
try:
    while s.recv(1500)[20] == 8: pass
    print("answered")
except TimeoutError: print("silence")
"""


@pytest.mark.slow
def test_the_outside_does_not_answer_a_ping(bench: Bench) -> None:
    """Every address is the machine's own, whose kernel would answer for the whole world."""

    async def use(sandbox: Sandbox) -> None:
        assert (await sandbox.run(("python3", "-c", PING))).stdout == b"silence\n"

    in_machine(bench, access_to(Handler()), use)


def question(name: str, kind: int) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return names.HEADER.pack(7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", kind, 1)


def test_the_name_server(bench: Bench) -> None:
    queries = [
        question("a.example", 1),
        question("a.example", 28),
        b"\0\7" + b"\0" * 10,
        question("a.example", 1)[:-1],
    ]
    script = f"""
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(30); s.connect(("127.0.0.1", 53))
s.send(b"junk")
for query in {queries!r}:
    s.send(query)
    answer = s.recv(512)
    print(answer[3] & 15, answer[7], ".".join(map(str, answer[-4:])) if answer[7] else "")
print(socket.gethostbyname(socket.gethostname()), socket.gethostbyname("localhost"))
print(sorted({{each[4][0] for each in socket.getaddrinfo("b.example", 443)}}))
"""

    async def use(sandbox: Sandbox) -> None:
        done = await sandbox.run(("python3", "-c", script))
        assert done.stdout.decode().splitlines() == [
            "0 1 198.18.1.0",
            "0 0 ",
            "1 0 ",
            "1 0 ",
            "127.0.1.1 127.0.0.1",
            "['198.18.1.1']",
        ], done.stderr
        assert await text_of(sandbox, "cat /etc/resolv.conf") == "nameserver 127.0.0.1\n"
        assert "localhost" in await text_of(sandbox, "cat /etc/hosts")

    in_machine(bench, access_to(Handler()), use)


TRUSTED = """
import ssl
all = ssl.create_default_context().get_ca_certs()
print(sum("Internal Services" in str(each["subject"]) for each in all), len(all) > 50)
"""


def test_the_images_own_clients_trust_the_authority(bench: Bench) -> None:
    async def use(sandbox: Sandbox) -> None:
        assert sandbox.network is not None
        assert (sandbox.network.proxy, sandbox.network.ca_file, sandbox.network.ca_bundle) == (
            "http://127.0.0.1:3128",
            "/usr/local/share/ca-certificates/internal-root-ca.crt",
            "/etc/ssl/certs/ca-certificates.crt",
        )
        done = await sandbox.run(("python3", "-c", TRUSTED))
        assert done.stdout == b"1 True\n", done.stderr
        check = f"openssl verify -CApath /etc/ssl/certs {sandbox.network.ca_file}"
        assert (await sh(sandbox, f"{check} && openssl verify {sandbox.network.ca_file}")).status.ok

    in_machine(bench, access_to(Handler(), ca_pem=PEM), use)


def test_a_trial_without_a_network_has_nothing_of_one(bench: Bench) -> None:
    script = """
cat /etc/ssl/certs/ca-certificates.crt | grep -c BEGIN > /dev/null || exit 9
grep -q 'Internal Services' /etc/ssl/certs/ca-certificates.crt && echo trusted
find /usr/local/share/ca-certificates /etc/ssl -newer /etc/hostname -type f
ls -A /usr/local/share/ca-certificates; env | grep -i proxy
true
"""

    async def use(sandbox: Sandbox) -> None:
        assert sandbox.network is None
        assert await text_of(sandbox, script) == ""
        done = await sandbox.run(("python3", "-c", TRUSTED))
        assert done.stdout == b"0 True\n", done.stderr
        answers = await attempts(
            sandbox,
            ("tcp", "127.0.0.1", network.PROXY_PORT),
            ("tcp", network.METADATA, 80),
            ("tcp", "api.example.com", 443),
            ("tcp", "1.1.1.1", 443),
            ("tcp", "10.0.0.5", 5432),
            ("udp", "8.8.8.8", 53),
        )
        # How a reset shows depends on what the client was just doing.
        assert {*answers[:2]} <= {"ECONNRESET", "ENOTCONN", "EPIPE"}
        assert answers[2:] == ["gaierror", *["ECONNREFUSED"] * 3]

    in_machine(bench, None, use)


def test_a_pooled_machine_gets_its_network_when_a_trial_takes_it(bench: Bench) -> None:
    async def body() -> None:
        template = await bench.template(SPEC)
        bench.driver.expect(template, 2)

        async def ready() -> bool:
            return bench.driver.ready(template) >= 1  # type: ignore[attr-defined]

        await until(ready, "the pool")
        handler = Handler()
        async with networked(bench, access_to(handler, ca_pem=PEM)) as sandbox:
            assert sandbox.info.pooled
            assert (
                await attempts(sandbox, ("tcp", "10.0.0.5", 5432), ("tcp", "api.example.com", 443))
                == ["hi"] * 2
            )
            assert (await sandbox.run(("python3", "-c", TRUSTED))).stdout == b"1 True\n"
        bench.driver.expect(template, 0)
        assert len(handler.destinations) == 2

    bench.run(body)


FLUSH = """
import socket, struct
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
for table in (255, 254):
    for family, size in ((2, 0), (10, 0)):
        # RTM_DELROUTE of the default route of a table, again and again
        for _ in range(5):
            body = struct.pack("BBBBBBBBI", family, 0, 0, 0, table, 0, 0, 0, 0)
            s.send(struct.pack("IHHII", 16 + len(body), 25, 5, 1, 0) + body); print(len(s.recv(4096)))
"""
HOSTILE = {
    "routes are deleted": FLUSH,
    "the interface is taken down": """
import fcntl, socket, struct
s = socket.socket(); fcntl.ioctl(s, 0x8914, struct.pack("16sh14x", b"lo", 0)); print("down")
""",
    "the proxy's place is taken": """
import socket
for place in (("127.0.0.1", 3128), ("0.0.0.0", 3128), ("127.0.0.1", 53)):
    s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.setsockopt(socket.SOL_SOCKET, 15, 1)
    try: s.bind(place); s.listen(); print("took", place)
    except OSError as error: print(error)
""",
    "names without end": """
import socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(30); s.connect(("127.0.0.1", 53))
codes = []
for n in range(1200):
    label = b"n%d" % n
    s.send(struct.pack(">HHHHHH", n, 256, 1, 0, 0, 0) + bytes([len(label)]) + label + b"\\0\\0\\1\\0\\1")
    codes.append(s.recv(512)[3] & 15)
print(codes.count(0), codes.count(5))
""",
    "connections without end": """
import resource, socket
resource.setrlimit(resource.RLIMIT_NOFILE, (4000, 4000))
kept = []
for n in range(1500):
    s = socket.socket(); s.settimeout(30)
    try: s.connect(("127.0.0.1", 3128)); s.send(b"x"); kept.append(s)
    except OSError: pass
print(len(kept))
""",
}


QUICK = ("the proxy's place is taken",)


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(script, id=name, marks=() if name in QUICK else pytest.mark.slow)
        for name, script in HOSTILE.items()
    ],
)
def test_what_a_workload_does_to_its_network_harms_only_itself(bench: Bench, script: str) -> None:
    async def body() -> None:
        handler = Handler()
        async with (
            networked(bench, access_to(handler)) as hostile,
            networked(bench, access_to(Handler())) as neighbour,
        ):
            done = await hostile.run(("python3", "-c", script), timeout_s=100)
            assert done.status.ok, (done.stdout, done.stderr)
            assert await text_of(hostile, "echo still here") == "still here\n"
            assert await attempts(neighbour, ("tcp", "api.example.com", 443)) == ["hi"]

    bench.run(body)


UNREAD = """
import socket, time
kept = [socket.create_connection(("127.0.0.1", 3128), 30) for _ in range(300)]
print(len(kept), flush=True)
time.sleep(3)
"""


@pytest.mark.slow
def test_downloads_that_nobody_reads_cost_the_host_no_memory(bench: Bench) -> None:
    async def pours(connection: Connection) -> None:
        while True:
            await connection.write(PIECE)

    async def use(sandbox: Sandbox) -> None:
        before = resident_bytes()
        done = await sandbox.run(("python3", "-c", UNREAD), timeout_s=100)
        assert done.stdout == b"300\n", done.stderr
        assert resident_bytes() - before < 64 * MIB
        assert await attempts(sandbox, ("tcp", "127.0.0.1", 1)) == ["ECONNREFUSED"]

    in_machine(bench, access_to(Handler(pours)), use)


def test_the_hosts_loopback_is_reached_only_when_the_handler_dials_it(bench: Bench) -> None:
    """With a control: the canary answers on the host."""
    with socket.create_server(("127.0.0.1", 0)) as canary:
        place = canary.getsockname()
        heard: list[bytes] = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = canary.accept()
                except OSError:
                    return
                with connection:
                    heard.append(connection.recv(10))
                    connection.sendall(b"canary")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with socket.create_connection(place, 30) as control:
            control.sendall(b"control")
            assert control.recv(10) == b"canary"

        async def dials(connection: Connection) -> None:
            reader, writer = await asyncio.open_connection(*place)
            writer.write(await connection.read(10))
            await connection.write(await reader.read(10))
            writer.close()

        async def use(sandbox: Sandbox) -> None:
            gateway = f"localhost.localdomain:{place[1]}".partition(":")[0]
            ways = [("127.0.0.1", place[1]), ("::1", place[1]), ("10.0.2.2", place[1]), (gateway, place[1])]
            ways += [(socket.gethostname().lower() + ".example", place[1])]
            answers = await attempts(sandbox, *(("tcp", host, port) for host, port in ways))
            assert "canary" not in answers
            assert heard == [b"control"]
            assert await attempts(sandbox, ("tcp", "allowed.example", 443)) == ["canary"]

        in_machine(bench, access_to(Handler(dials)), use)
        assert heard == [b"control", b"hi"]
        canary.shutdown(socket.SHUT_RDWR)
    thread.join(30)
