"""A server on the loopback that keeps comments as GitHub's and GitLab's APIs do: pages, tokens, refusals, bad days."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "ghs_0123456789secret"
BOT = {"login": "github-actions[bot]", "type": "Bot", "id": 41}


@dataclass
class Mishap:
    """What the next request with this method gets instead of its answer."""

    method: str
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    message: str = "Server Error"
    done: bool = False
    """Whether what was asked for is done all the same."""
    cut: bool = False
    """Whether the connection is closed without an answer."""


@dataclass
class Forge:
    """`url` is GitHub's API; `url` + /api/v4 is GitLab's."""

    port: int = 0
    comments: list[dict[str, Any]] = field(default_factory=list)
    mishaps: list[Mishap] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    page_size: int = 100
    user: dict[str, Any] | None = None
    """Who the token belongs to; None: an app, which may not ask."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add(self, body: str, user: dict[str, Any] | None = None) -> int:
        id = 1000 + len(self.comments)
        self.comments.append(
            {"id": id, "body": body, "user": user or BOT, "author": user or BOT, "system": False}
        )
        return id

    def bodies(self) -> list[str]:
        return [comment["body"] for comment in self.comments]

    def methods(self) -> list[str]:
        return [method for method, _ in self.requests]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def serve(self) -> None:
        forge = self.server.forge
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        forge.requests.append((self.command, self.path))
        mishap = next((each for each in forge.mishaps if each.method == self.command), None)
        if mishap is not None:
            forge.mishaps.remove(mishap)
            if mishap.done:
                self._do(json.loads(content))
            if mishap.cut:
                self.close_connection = True
                return
            self._answer(mishap.status, {"message": mishap.message}, mishap.headers)
            return
        given = (
            self.headers.get("Authorization", "").removeprefix("Bearer "),
            self.headers.get("PRIVATE-TOKEN"),
        )
        if TOKEN not in given:
            self._answer(401, {"message": "Bad credentials"})
            return
        self._answer(*self._do(json.loads(content) if content else None))

    do_GET = do_POST = do_PATCH = do_PUT = serve

    def _do(self, asked: Any) -> tuple[int, Any, dict[str, str]]:
        forge, parts = self.server.forge, urlsplit(self.path)
        path = parts.path.removeprefix("/api/v4")
        if path == "/user":
            return (200, forge.user, {}) if forge.user else (403, {"message": "Resource not accessible"}, {})
        if re.fullmatch(r"/repos/acme/agent/issues/7/comments|/projects/12/merge_requests/7/notes", path):
            if self.command == "GET":
                return self._page(parse_qs(parts.query))
            id = forge.add(asked["body"], forge.user)
            return 201, {"id": id, "html_url": f"https://forge.example/c/{id}"}, {}
        found = re.fullmatch(
            r"/repos/acme/agent/issues/comments/(\d+)|/projects/12/merge_requests/7/notes/(\d+)", path
        )
        if found and self.command in ("PATCH", "PUT"):
            for comment in forge.comments:
                if comment["id"] == int(found[1] or found[2]):
                    comment["body"] = asked["body"]
                    return (
                        200,
                        {"id": comment["id"], "html_url": f"https://forge.example/c/{comment['id']}"},
                        {},
                    )
        return 404, {"message": "Not Found"}, {}

    def _page(self, query: dict[str, list[str]]) -> tuple[int, Any, dict[str, str]]:
        forge = self.server.forge
        size, page = min(int(query["per_page"][0]), forge.page_size), int(query.get("page", ["1"])[0])
        first = (page - 1) * size
        links = [f'<{forge.url}{self.path.partition("&page=")[0]}&page=1>; rel="first"']
        if first + size < len(forge.comments):
            links.insert(0, f'<{forge.url}{self.path.partition("&page=")[0]}&page={page + 1}>; rel="next"')
        return 200, forge.comments[first : first + size], {"Link": ", ".join(links)}

    def _answer(self, status: int, data: Any, headers: dict[str, str] | None = None) -> None:
        content = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        return


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, forge: Forge) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.forge = forge
        forge.port = int(self.server_address[1])


@contextmanager
def serving(forge: Forge | None = None) -> Iterator[Forge]:
    server = _Server(forge or Forge())
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.forge
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
