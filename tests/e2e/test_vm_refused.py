"""What a machine must not reach, tried from inside it, with a control that proves that it is there to be reached."""

from __future__ import annotations

import json
import socket
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from e2e_command import DEADLINE_S, Aegis, read_json
from e2e_upstream import Request, serving

pytestmark = [pytest.mark.e2e, pytest.mark.vm, pytest.mark.timeout(2 * DEADLINE_S)]

SUITE = """\
suite: reach
agent: {{command: "python3 agent.py", env: {{CANARY: "{canary}", HOST: "{host}"}}}}
sandbox: {{image: debian, memory: 256MiB, files: {{agent.py: /workspace/agent.py}}}}
network:
  allow: [allowed.example]
  routes: {{allowed.example: "http://127.0.0.1:{port}"}}
timeout: 5m
cases:
  - {{id: reach, input: go, expect: [{{answer: {{contains: fine}}}}]}}
"""

AGENT = """\
import json
import os
import socket
import urllib.error
import urllib.request

CANARY, HOST = os.environ["CANARY"], os.environ["HOST"]
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
PROXIED = urllib.request.build_opener(urllib.request.ProxyHandler({"http": os.environ["http_proxy"]}))


def fetch(opener, url):
    try:
        with opener.open(url, timeout=60) as response:
            return "REACHED " + response.read(100).decode(errors="replace")
    except urllib.error.HTTPError as error:
        return "status %d" % error.code
    except (OSError, ValueError) as error:
        return "refused: " + type(error).__name__


def connect(host, port):
    try:
        with socket.create_connection((host, int(port)), timeout=60) as sock:
            sock.sendall(b"GET /canary HTTP/1.1\\r\\nHost: canary\\r\\nConnection: close\\r\\n\\r\\n")
            data = sock.recv(4096)
    except OSError as error:
        return "refused: " + type(error).__name__
    return "REACHED " + repr(data) if b"canary" in data else "refused: %r" % data[:60]


def tunnel(authority):
    proxy = os.environ["http_proxy"].split("//")[1].split(":")
    with socket.create_connection((proxy[0], int(proxy[1])), timeout=60) as sock:
        sock.sendall(("CONNECT %s HTTP/1.1\\r\\nHost: %s\\r\\n\\r\\n" % (authority, authority)).encode())
        answer = sock.recv(4096)
        if b" 200 " not in answer.split(b"\\r\\n")[0]:
            return "refused: %r" % answer[:40]
        sock.sendall(b"GET /canary HTTP/1.1\\r\\nHost: canary\\r\\nConnection: close\\r\\n\\r\\n")
        data = sock.recv(4096)
    return "REACHED" if b"canary" in data else "refused: %r" % data[:60]


found = {}
for name, opener in (("direct", DIRECT), ("proxied", PROXIED)):
    for url in (
        "http://allowed.example/fine",
        "http://denied.example/",
        "http://169.254.169.254/latest/meta-data/",
        "http://metadata.google.internal/",
        "http://127.0.0.1:%s/canary" % CANARY,
        "http://localhost:%s/canary" % CANARY,
        "http://%s:%s/canary" % (HOST, CANARY),
        "http://allowed.example:%s/canary" % CANARY,
        "http://allowed.example/redirect/metadata",
        "http://allowed.example/redirect/canary",
        "http://allowed.example/redirect/denied",
    ):
        found[name + " " + url] = fetch(opener, url)
for host in ("127.0.0.1", "10.0.2.2", "::1", HOST, "0.0.0.0", "192.168.0.1"):
    found["socket " + host] = connect(host, CANARY)
for host in ("127.0.0.1", "localhost", "0.0.0.0", "2130706433", "0x7f.1", "127.1", "[::1]", "[::ffff:127.0.0.1]", HOST,
             "169.254.169.254", "denied.example"):
    found["CONNECT " + host] = tunnel(host + ":" + CANARY)
print(json.dumps(found))
print("fine")
"""


def own_address() -> str:
    """An address of this host other than loopback, where it has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def test_nothing_but_what_is_allowed(aegis: Aegis, tmp_path: Path) -> None:
    hits: list[str] = []

    def canary(request: Request) -> None:
        hits.append(request.path)
        request.answer(200, b"canary")

    def allowed(request: Request) -> None:
        targets = {
            "metadata": "http://169.254.169.254/latest/meta-data/",
            "canary": f"http://127.0.0.1:{bait.port}/canary",
            "denied": "http://denied.example/",
        }
        where = request.path.rpartition("/redirect/")[2]
        if where in targets:
            request.answer(302, b"", Location=targets[where])
        else:
            request.answer(200, b"fine")

    (tmp_path / "aegis.toml").touch()
    (tmp_path / "evals").mkdir()
    (tmp_path / "agent.py").write_text(AGENT)
    with serving(canary) as bait, serving(allowed) as server:
        suite = SUITE.format(canary=bait.port, port=server.port, host=own_address())
        (tmp_path / "evals" / "reach.yaml").write_text(suite)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            f"http://127.0.0.1:{bait.port}/control"
        ) as control:
            assert control.read() == b"canary", "from the host the canary is reachable"
        ran = aegis("eval", "run", "--suite", "reach", "--json", "out.json")
        assert ran.code == 0, ran
        assert hits == ["/control"]
    document = read_json(tmp_path / "out.json")
    found: dict[str, Any] = json.loads(document["trials"][0]["answer"].splitlines()[0])
    reached = {what for what, result in found.items() if result.startswith("REACHED")}
    assert reached == {"direct http://allowed.example/fine", "proxied http://allowed.example/fine"}, found
    assert found["proxied http://denied.example/"] == "status 403"
    told = {(item["host"], item["port"]) for item in document["denied"]}
    assert {("denied.example", 80), ("169.254.169.254", 80), ("127.0.0.1", bait.port)} <= told, told
    assert "denied.example" in ran.stdout + ran.stderr
