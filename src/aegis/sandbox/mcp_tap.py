#!/usr/bin/env python3
"""Stand between a client of the Model Context Protocol and the server program that it speaks to.

Usage: aegis-mcp-tap [--name NAME] [--] COMMAND [ARGUMENT…]
"""

# The text of this file is also a program that runs under whatever Python an image has (3.8 or later), with nothing
# installed beside it: keep it self-contained and its words plain. What it speaks with the gateway is described in
# aegis/gateway/tap.py.

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn
from urllib.parse import urlsplit

HOST = "mcp-tap.internal"
PROTOCOL = "mcp-tap/1"
MAX_REQUEST_BYTES = 1 << 20
MAX_ANSWER_BYTES = 4 << 20
CONNECT_S = 10.0
PATIENCE_S = 60.0  # For the gateway's first word on a message.
LEFT_OVER_S = 2.0  # For what is left in the output of a server that has ended.

PASSED_ON = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
told: list[int] = []  # Signals that were passed on.
LAUNCHERS = (
    "node",
    "npx",
    "deno",
    "bun",
    "bunx",
    "uv",
    "uvx",
    "run",
    "pipx",
    "poetry",
    "java",
    "sh",
    "bash",
    "env",
)


# -- the way to the gateway --------------------------------------------------------------------------------------------


def find_gateway(server: str) -> socket.socket | None:
    # In a thread: looking up a name may take as long as it likes.
    found: list[socket.socket] = []
    thread = threading.Thread(target=lambda: found.extend(knock(server)), daemon=True)
    thread.start()
    thread.join(CONNECT_S)
    return found[0] if found else None


def knock(server: str) -> Iterator[socket.socket]:
    for host, port, target in places(server):
        connection = None
        try:
            connection = socket.create_connection((host, port), CONNECT_S)
            upgrade(connection, target)
        except (OSError, ValueError):
            if connection is not None:
                connection.close()
            continue
        yield connection
        return


def places(server: str) -> Iterator[tuple[str, int, str]]:
    # Clients of this protocol start their servers with few variables: without those that name the proxy, most often.
    for url in [os.environ.get("http_proxy"), os.environ.get("HTTP_PROXY"), written_proxy()]:
        with contextlib.suppress(ValueError):
            parts = urlsplit(url or "")
            if parts.hostname in ("127.0.0.1", "localhost", "::1") and parts.port:
                yield parts.hostname, parts.port, "http://" + HOST + "/" + server
    yield HOST, 80, "/" + server


def written_proxy() -> str | None:
    # This program is …/usr/local/bin/NAME.
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "etc", "environment")
    with contextlib.suppress(OSError, ValueError), open(path, encoding="utf-8") as file:
        for line in file:
            name, _, value = line.strip().partition("=")
            if name == "http_proxy":
                return value.strip("\"'")
    return None


def upgrade(connection: socket.socket, target: str) -> None:
    head = f"GET {target} HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: {PROTOCOL}\r\n\r\n"
    connection.sendall(head.encode("ascii"))
    await_switch(connection)


def await_switch(connection: socket.socket) -> None:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        data = connection.recv(1)
        if not data or len(head) > 8192:
            raise ValueError("no answer")
        head += data
    if not head.startswith(b"HTTP/1.1 101 ") or b"upgrade: " + PROTOCOL.encode() not in head.lower():
        raise ValueError("somebody else's answer")
    connection.settimeout(None)


class Gateway:
    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.lock = threading.Lock()

    def send(self, head: dict[str, Any], body: bytes = b"") -> bool:
        try:
            with self.lock:
                self.connection.sendall(json.dumps(head).encode("ascii") + b"\n" + body)
        except OSError:
            return False
        return True

    def replies(self) -> Iterator[tuple[int, str, bytes | None]]:
        with contextlib.suppress(OSError, ValueError, KeyError), self.connection.makefile("rb") as stream:
            while True:
                head = json.loads(stream.readline(4096))
                body = stream.read(head["size"]) if "size" in head else None
                if body is not None and len(body) < head["size"]:
                    return
                yield head["call"], head["do"], body


# -- what passes -------------------------------------------------------------------------------------------------------


class Pipe:
    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.usable = True  # As far as is known, somebody reads.
        self.closed = False
        self.lock = threading.Lock()

    def write(self, data: bytes) -> bool:
        # All of it at once, whoever else writes.
        with self.lock:
            left = memoryview(data)
            try:
                while self.usable and left:
                    try:
                        left = left[os.write(self.fd, left) :]
                    except BlockingIOError:
                        select.select([], [self.fd], [])
            except OSError:
                self.usable = False
            return self.usable

    def close(self) -> None:
        with self.lock:
            self.usable = False
            if not self.closed:
                self.closed = True
                os.close(self.fd)


def parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def keys_of(value: Any, kind: Callable[[dict[str, Any]], bool]) -> list[str]:
    # The ids in a message or a batch of such a kind; the id 1 is not the id "1".
    messages = value if isinstance(value, list) else [value]
    return [
        json.dumps(message["id"], sort_keys=True)
        for message in messages
        if isinstance(message, dict) and "id" in message and kind(message)
    ]


def is_request(message: dict[str, Any]) -> bool:
    return isinstance(message.get("method"), str)


def is_response(message: dict[str, Any]) -> bool:
    return "method" not in message and ("result" in message or "error" in message)


class Call:
    def __init__(self, number: int, keys: list[str], line: bytes) -> None:
        self.number = number
        self.keys = keys
        self.line = line
        self.state = "asked"  # then "sent", "passed" and "answered", all this repeatedly if need be
        self.answer = b""
        self.awaited = False
        self.reply: tuple[str, bytes | None] | None = None


class Tap:
    def __init__(self, child: subprocess.Popen[bytes], gateway: Gateway) -> None:
        assert child.stdin is not None
        self.child = child
        self.gateway = gateway
        self.to_client = Pipe(1)
        self.to_server = Pipe(os.dup(child.stdin.fileno()))
        child.stdin.close()
        self.change = threading.Condition()
        self.calls: dict[int, Call] = {}
        self.keys: dict[str, Call] = {}
        self.last = 0
        self.alone = False  # The gateway is gone: everything passes.
        self.broken = False  # The server is to be dead for its client.
        self.client_ended = False
        self.server_ended = threading.Event()

    def run(self) -> int:
        for serve in (self.serve_client, self.serve_server, self.serve_gateway):
            threading.Thread(target=serve, daemon=True).start()
        code = self.child.wait()
        if not self.broken:
            self.server_ended.wait(LEFT_OVER_S)
            self.gateway.send({"ended": code})
            # A client that wrote all it had and waits for the answers still gets those that are late.
            if self.client_ended and restore_signals():
                self.wait_for_none("asked", "answered")
        return code

    def wait_for_none(self, *states: str) -> None:
        with self.change:
            self.change.wait_for(lambda: not any(call.state in states for call in self.calls.values()))

    # From the client

    def serve_client(self) -> None:
        with os.fdopen(0, "rb") as stream:
            for line in iter(stream.readline, b""):
                if not self.from_client(line):
                    break
            else:
                self.client_ended = True
        self.wait_for_none("asked", "sent")
        self.to_server.close()

    def from_client(self, line: bytes) -> bool:
        if self.alone:
            return self.to_server.write(line)
        if len(line) > MAX_REQUEST_BYTES:
            self.last += 1
            self.gateway.send({"call": self.last, "size": len(line), "whole": False})
            return self.to_server.write(line)
        message = parsed(line)
        call = self.begin(keys_of(message, is_request), line)
        if call is None:
            self.look_for_cancel(message)
            return self.to_server.write(line)
        text = line.rstrip(b"\r\n")
        self.decide(call, *self.tell(call, {"call": call.number, "size": len(text)}, text))
        if isinstance(message, dict) and message["method"] == "initialize":
            # Nothing may come before it has.
            with self.change:
                self.change.wait_for(lambda: call.state not in ("asked", "sent"))
        return self.to_server.usable

    def begin(self, keys: list[str], line: bytes) -> Call | None:
        with self.change:
            if not keys or any(key in self.keys for key in keys):
                return None
            self.last += 1
            call = self.calls[self.last] = Call(self.last, keys, line)
            self.keys.update(dict.fromkeys(keys, call))
            return call

    def look_for_cancel(self, message: Any) -> None:
        if not isinstance(message, dict) or message.get("method") != "notifications/cancelled":
            return
        params = message.get("params")
        with self.change:
            key = json.dumps(params.get("requestId"), sort_keys=True) if isinstance(params, dict) else ""
            call = self.keys.get(key)
        if call is not None:
            self.finish(call)
            self.gateway.send({"cancel": call.number})

    # From the server

    def serve_server(self) -> None:
        assert self.child.stdout is not None
        with self.child.stdout as stream:
            for line in iter(stream.readline, b""):
                if not self.from_server(line):
                    break
        self.server_ended.set()
        self.wait_for_none("answered")
        self.to_client.close()

    def from_server(self, line: bytes) -> bool:
        call = self.answered(line)
        if call is None:
            return self.to_client.write(line)
        text = line.rstrip(b"\r\n")
        if len(text) > MAX_ANSWER_BYTES:
            self.gateway.send({"result": call.number, "size": len(text), "whole": False})
            self.decide(call, "same", None)
        else:
            do, body = self.tell(call, {"result": call.number, "size": len(text)}, text)
            if do == "pass":
                # Not here: a server that waits until somebody reads what it says does not read.
                self.decide_aside(call, do, body)
            else:
                self.decide(call, do, body)
        return self.to_client.usable

    def answered(self, line: bytes) -> Call | None:
        if not self.calls:
            return None
        keys = keys_of(parsed(line), is_response)
        with self.change:
            call = next((self.keys[key] for key in keys if key in self.keys), None)
            if call is None or call.state not in ("sent", "passed"):
                return None
            call.state, call.answer = "answered", line
            return call

    # With the gateway

    def serve_gateway(self) -> None:
        for number, do, body in self.gateway.replies():
            with self.change:
                call = self.calls.get(number)
                if call is None:
                    continue
                if call.awaited and call.reply is None:
                    call.reply = do, body
                    self.change.notify_all()
                    continue
            self.decide_aside(call, do, body)
        self.go_on_alone()

    def go_on_alone(self) -> None:
        with self.change:
            if self.alone:
                return
            self.alone = True
            left = [call for call in self.calls.values() if not call.awaited]
            self.change.notify_all()
        for call in left:
            self.decide_aside(call, "alone", None)

    def tell(self, call: Call, head: dict[str, Any], body: bytes) -> tuple[str, bytes | None]:
        with self.change:
            call.awaited, call.reply = True, None
        heard = self.gateway.send(head, body)
        with self.change:
            heard = heard and self.change.wait_for(lambda: self.settled(call), PATIENCE_S)
        if not heard:
            self.go_on_alone()
        with self.change:
            call.awaited = False
            return call.reply or ("alone", None)

    def settled(self, call: Call) -> bool:
        return call.reply is not None or call.state == "ended" or self.alone

    def decide_aside(self, call: Call, do: str, body: bytes | None) -> None:
        threading.Thread(target=self.decide, args=(call, do, body), daemon=True).start()

    def decide(self, call: Call, do: str, body: bytes | None) -> None:
        with self.change:
            if do == "wait" or call.number not in self.calls:
                return
            if do == "alone":
                do = {"asked": "skip", "answered": "same"}.get(call.state, "drop")
            if do in ("pass", "skip"):
                if call.state not in ("asked", "answered"):
                    return
                call.state = "sent"
            if do == "skip":
                self.forget(call)
        if do in ("pass", "skip"):
            if not self.to_server.write(call.line if body is None else body + b"\n"):
                do = "drop"
            with self.change:
                if call.state == "sent":
                    call.state = "passed"
                self.change.notify_all()
        elif do in ("same", "give"):
            self.to_client.write(call.answer if do == "same" else (body or b"") + b"\n")
        elif do == "close":
            self.broken = True
            self.child.kill()
        if do != "pass":
            self.finish(call)

    def finish(self, call: Call) -> None:
        with self.change:
            call.state = "ended"
            self.forget(call)
            self.calls.pop(call.number, None)
            self.change.notify_all()

    def forget(self, call: Call) -> None:
        # What the server answers to it is not looked at.
        for key in call.keys:
            self.keys.pop(key, None)
        call.keys = []


# -- the program -------------------------------------------------------------------------------------------------------


def name_of(command: list[str]) -> str:
    # `npx -y @acme/server-crm@2` is server-crm, `python3 -m crm.server` is crm-server.
    for word in command:
        stem = os.path.basename(word.rstrip("/")).lower()
        stem = re.sub(r"\.(py|js|mjs|cjs|ts|sh|jar)$", "", stem.split("@")[0])
        launcher = stem in LAUNCHERS or re.match(r"python[0-9.]*$", stem)
        if plain(stem) and not (launcher or word.startswith("-") or re.search(r"\s", word)):
            return plain(stem)
    return "server"


def plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].strip("-")


def environment() -> dict[str, str]:
    # As this program got it: Python may have set the locale for itself (PEP 538).
    found = dict(os.environ)
    with contextlib.suppress(OSError), open("/proc/self/environ", "rb") as file:
        if not any(line.startswith(b"LC_CTYPE=") for line in file.read().split(b"\0")):
            found.pop("LC_CTYPE", None)
    return found


def cannot_start(command: list[str], error: OSError) -> NoReturn:
    print(f"aegis-mcp-tap: cannot start {command[0]}: {error.strerror or error}", file=sys.stderr, flush=True)
    os._exit(127 if isinstance(error, FileNotFoundError) else 126)


def become(command: list[str]) -> NoReturn:
    # Nobody to ask: nothing of this program stays between the two.
    for name in ("SIGPIPE", "SIGXFSZ"):  # Python ignores them.
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    try:
        os.execvpe(command[0], command, environment())
    except OSError as error:
        cannot_start(command, error)


def pass_signals(child: subprocess.Popen[bytes]) -> None:
    def pass_on(number: int, frame: object) -> None:
        told.append(number)
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, number)

    for name in PASSED_ON:
        number = getattr(signal, name)
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, pass_on)


def restore_signals() -> bool:
    # False when there was one already: it was for this program as well.
    for name in PASSED_ON:
        number = getattr(signal, name)
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    return not told


def end_like(code: int) -> NoReturn:
    # As the server did: with its status, or by the same signal (without a second core file).
    if code < 0:
        with contextlib.suppress(OSError, ValueError, ImportError):
            import resource

            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            if -code not in (signal.SIGKILL, signal.SIGSTOP):
                signal.signal(-code, signal.SIG_DFL)
            os.kill(os.getpid(), -code)
    os._exit(code if code >= 0 else 128 - code)


def read_arguments(words: list[str]) -> tuple[str, list[str]]:
    name = ""
    while words and words[0].startswith("-"):
        word = words.pop(0)
        if word == "--":
            break
        option, _, value = word.partition("=")
        if option == "--name" and (value or words):
            name = plain(value or words.pop(0))
        else:
            words = []
    if not words:
        print(__doc__.strip(), file=sys.stderr)
        sys.exit(2)
    return name or name_of(words), words


def main() -> NoReturn:
    server, command = read_arguments(sys.argv[1:])
    connection = find_gateway(server)
    if connection is None:
        become(command)
    try:
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment())
    except OSError as error:
        cannot_start(command, error)
    pass_signals(child)
    end_like(Tap(child, Gateway(connection)).run())


if __name__ == "__main__":
    main()
