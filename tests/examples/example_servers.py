"""The example's two servers in this process, and its agent as a program."""

from __future__ import annotations

import email
import email.policy
import importlib
import json
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Any

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "support-agent"

Talk = Callable[..., subprocess.CompletedProcess[str]]
"""Run the agent on these lines, with these environment variables besides the usual ones."""

Fault = Callable[[Any, Callable[[], Any]], Any]
"""Takes a request and what answers it; returns another answer."""


class Server:
    """One of the example's servers. `faults` are used up, one for each request, from the first on."""

    def __init__(self, respond: Callable[[Any], Any]) -> None:
        self.faults: list[Fault | None] = []
        self.requests: list[Any] = []
        self.connections = 0
        self._respond = respond
        self._server = importlib.import_module("upstream.httpd").make_server(self._answer, 0)
        accept = self._server.get_request
        self._server.get_request = lambda: self._count(accept())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def paths(self) -> list[str]:
        return [f"{request.method} {request.path}" for request in self.requests]

    def _count(self, accepted: Any) -> Any:
        self.connections += 1
        return accepted

    def _answer(self, request: Any) -> Any:
        self.requests.append(request)
        fault = self.faults.pop(0) if self.faults else None
        return self._respond(request) if fault is None else fault(request, lambda: self._respond(request))


def status(code: int, **headers: str) -> Fault:
    """Nothing is done, and this is the answer."""
    return lambda request, answer: _response(code, headers)


def lost_answer(code: int, **headers: str) -> Fault:
    """It is done, but whoever asked for it hears this."""

    def fault(request: Any, answer: Callable[[], Any]) -> Any:
        answer()
        return _response(code, headers)

    return fault


def cut_stream(events: int) -> Fault:
    """The stream ends, properly for HTTP, after so many events."""

    def fault(request: Any, answer: Callable[[], Any]) -> Any:
        whole = answer()
        kept = [event for _, event in zip(range(events), whole.events, strict=False)]
        return type(whole)(whole.status, events=iter(kept))

    return fault


def broken_connection(request: Any, answer: Callable[[], Any]) -> Any:
    """The server's thread ends in the middle, and the connection with it."""
    raise ConnectionAbortedError


def _response(code: int, headers: dict[str, str]) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = {"error": {"code": "later", "message": "not now"}}
    return importlib.import_module("upstream.httpd").Response(code, body, headers=named)


def user(text: str) -> str:
    return json.dumps({"role": "user", "content": text})


def answers(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line)["content"] for line in done.stdout.splitlines()]


def call(
    server: Server, method: str, path: str, body: Any = None, *, token: str | None = "token", **headers: str
) -> tuple[int, Any]:
    """Status and JSON body of one request. A `body` of bytes is sent as it is."""
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if token is not None:
        sent["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(server.url + path, data=data, headers=sent, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


class Mails(list[EmailMessage]):
    """What a mail server was sent, in order."""

    port = 0

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        return "250 OK"
