"""MCP over standard input and output: a small server, a client that sees every byte, and the program between them."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aegis.sandbox
from aegis.gateway.base import Interceptor
from aegis.trace import Exchange, mcp_http
from support.gateway_server import GatewayServer, World

PATIENCE_S = 60.0

SERVER = r'''
"""Answers every request with its method and arguments; writes down what reached it."""
import json, os, signal, sys, threading

seen = open("seen", "ab", buffering=0)
lock = threading.Lock()

def say(value):
    with lock:
        sys.stdout.buffer.write((value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n")
        sys.stdout.buffer.flush()

def result(identity, value):
    say({"jsonrpc": "2.0", "id": identity, "result": value})

def call(message):
    name, arguments = message["params"]["name"], message["params"].get("arguments", {})
    if name == "die":
        os._exit(3)
    if name == "notify":
        say({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}})
    if name == "ask":
        # A request of its own, under the id that it is just being asked with.
        say({"jsonrpc": "2.0", "id": message["id"], "method": "roots/list"})
        return
    if name == "big":
        say(b'{"jsonrpc":"2.0","id":%d,"result":{"content":[{"type":"text","text":"%s"}]}}'
            % (message["id"], b"x" * arguments["bytes"]))
        return
    result(message["id"], {"content": [{"type": "text", "text": name + " " + json.dumps(arguments)}]})

def one(message):
    if message.get("method") == "tools/call":
        call(message)
    elif "method" in message and "id" in message:
        result(message["id"], {"method": message["method"]})
    elif "method" not in message:
        say({"jsonrpc": "2.0", "method": "notifications/message", "params": {"told": message.get("result")}})

def told(number, frame):
    print("got", signal.Signals(number).name, file=sys.stderr, flush=True)
    os._exit(5)

signal.signal(signal.SIGUSR1, told)
for line in iter(sys.stdin.buffer.readline, b""):
    seen.write(line)
    try:
        message = json.loads(line)
    except ValueError:
        continue
    if isinstance(message, list):
        say([{"jsonrpc": "2.0", "id": item["id"], "result": item["method"]} for item in message if "id" in item])
    else:
        one(message)
print("server ends", file=sys.stderr)
sys.exit(7)
'''

SUITE = """\
suite: tools
agent: {command: PYTHON agent.py}
sandbox: {files: {agent.py: /workspace/, server.py: /workspace/}}
faults:
  - {inject: tool-error, match: {tool: refund, host: orders.mcp-stdio}, on: 1, require_fired: true}
  - {inject: latency, delay: 20ms, match: {tool: lookup}}
cases:
  - id: refund
    input: Refund order 1042
    expect:
      - answer: {contains: "refund {\\"order\\": 1042}"}
      - tool_calls: {include: [refund]}
"""

AGENT = '''\
"""Starts its server as clients of the protocol do: with a few variables only. Asks again when a tool fails."""
import json, os, subprocess, sys

command = ["aegis-mcp-tap", "--name", "orders", "--", sys.executable, "server.py"]
env = {name: os.environ[name] for name in ("PATH", "HOME")}
server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)

def ask(number, method, **params):
    message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
    server.stdin.write(json.dumps(message).encode() + b"\\n")
    server.stdin.flush()
    return json.loads(server.stdout.readline())["result"]

def call(number, name, **arguments):
    return ask(number, "tools/call", name=name, arguments=arguments)

ask(0, "initialize")
call(1, "lookup", order=1042)
for number in (2, 3):
    found = call(number, "refund", order=1042)
    print("failed:", found.get("isError", False), file=sys.stderr)
    if not found.get("isError"):
        break
server.stdin.close()
print("ended with", server.wait(), file=sys.stderr)
print(found["content"][0]["text"])
'''
"""An agent that has the server for a tool, and finds out that a call may fail."""


def install(folder: Path) -> Path:
    """The program as it lies in a machine, below `folder`."""
    path = folder / "usr/local/bin/aegis-mcp-tap"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((Path(aegis.sandbox.__path__[0]) / "mcp_tap.py").read_bytes())
    path.chmod(0o755)
    return path


def environment(**more: str) -> dict[str, str]:
    """What clients of the protocol leave their servers, and `more`."""
    return {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **more}


def request(identity: Any, method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": identity, "method": method, "params": params}


def tool(identity: Any, name: str, **arguments: Any) -> dict[str, Any]:
    return request(identity, "tools/call", name=name, arguments=arguments)


class Client:
    """A server program and its client's ends of the pipes. Used with `with`: it is killed at the end."""

    def __init__(self, command: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str]) -> None:
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.process = subprocess.Popen(
            list(map(str, command)),
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(b"")

    def send(self, *messages: Any) -> None:
        """Each on a line; bytes as they are."""
        assert self.process.stdin is not None
        lines = [each if isinstance(each, bytes) else json.dumps(each).encode() + b"\n" for each in messages]
        self.process.stdin.write(b"".join(lines))
        self.process.stdin.flush()

    def line(self) -> bytes:
        """The next one, b"" at the end."""
        return self._lines.get(timeout=PATIENCE_S)

    def receive(self) -> Any:
        line = self.line()
        assert line, "the server's output has ended"
        return json.loads(line)

    def ask(self, message: dict[str, Any]) -> Any:
        """The answer to a request, which must be the next thing said."""
        self.send(message)
        found = self.receive()
        assert found["id"] == message["id"], found
        return found

    def finish(self) -> tuple[int, str]:
        """End the input; the exit status and what stood on standard error."""
        assert self.process.stdin is not None
        assert self.process.stderr is not None
        self.process.stdin.close()
        errors = self.process.stderr.read().decode()
        return self.process.wait(PATIENCE_S), errors


def start(folder: Path, proxy: str | None, *, name: str = "crm", server: str = SERVER) -> Client:
    """The small server behind the program, working in `folder`, where `seen` is what reached it."""
    (folder / "server.py").write_text(server)
    command = [install(folder), "--name", name, "--", sys.executable, "server.py"]
    return Client(command, cwd=folder, env=environment(**({} if proxy is None else {"http_proxy": proxy})))


def seen(folder: Path) -> list[Any]:
    """The messages that reached the server."""
    return [json.loads(line) for line in (folder / "seen").read_bytes().splitlines()]


def session(net: World, interceptor: Interceptor | None = None, **gateway: Any) -> GatewayServer:
    return net.gateway(session={} if interceptor is None else {"interceptor": interceptor}, **gateway)


def calls_of(exchanges: list[Exchange]) -> list[mcp_http.McpToolCall]:
    return mcp_http.tool_calls(exchanges, lambda digest: b"")[0]


def text_of(answer: Any) -> str:
    return str(answer["result"]["content"][0]["text"])
