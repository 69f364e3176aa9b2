"""The search service: `python3 -m desk.searchd SOCKET`. A word a connection; the answer is one line."""

from __future__ import annotations

import socketserver
import sys
from pathlib import Path

DOCUMENTS = Path("documents")


class Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        word = self.rfile.readline().decode("utf-8", "replace").strip().lower()
        names = [path.name for path in sorted(DOCUMENTS.glob("*.txt")) if word and word in _text(path)]
        self.wfile.write(" ".join(["ok", *names]).encode() + b"\n")


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace").lower()


if __name__ == "__main__":
    with socketserver.UnixStreamServer(sys.argv[1], Handler) as server:
        server.serve_forever()
