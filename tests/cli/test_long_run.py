"""A conversation of hundreds of turns with large tool results, as one run: what the host keeps of it does not grow with
what has passed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

MIB = 1 << 20
RESULT_BYTES = 512 * 1024
"""Of what the tool returns in each turn: 200 MiB in 400 turns."""
MOST_GROWTH_BYTES = 60 * MIB
"""From 40 turns to 400, while 180 MiB more pass. Most of what is seen of it is the allocator's."""

UPSTREAM = f"""\
import json, os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
RESULT = json.dumps({{"rows": ["a row like any other"] * ({RESULT_BYTES} // 24)}}).encode()
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *words): pass
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(RESULT)))
        self.end_headers()
        self.wfile.write(RESULT)
ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""

TURN = """\
import json, os, sys, urllib.request
def turn(text):
    result = urllib.request.urlopen("http://crm.example/orders", timeout=60).read().decode()
    return f"{text}: {len(result)}", result[:16000]
"""

JSONL = f"""{TURN}
for line in sys.stdin:
    answer, result = turn(json.loads(line)["content"])
    print(json.dumps({{"type": "tool_call", "name": "orders", "arguments": {{}}, "result": result}}))
    print(json.dumps({{"role": "assistant", "content": answer}}), flush=True)
"""

CHAT = f"""{TURN}
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def log_message(self, *words): pass
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer, result = turn(asked["messages"][-1]["content"])
        call = {{"id": "c", "type": "function", "function": {{"name": "orders", "arguments": "{{}}"}}}}
        message = {{"role": "assistant", "content": answer, "tool_calls": [call]}}
        reply = json.dumps({{"choices": [{{"message": message}}]}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)
HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def peak_bytes(folder: Path, protocol: str, turns: int) -> int:
    """The most memory that `aegis eval run` had, of a conversation that went well."""
    (folder / "evals").mkdir(parents=True)
    (folder / "aegis.toml").touch()
    (folder / "crm.py").write_text(UPSTREAM)
    (folder / "agent.py").write_text({"jsonl": JSONL, "chat": CHAT}[protocol])
    suite = {
        "suite": "long",
        "timeout": "280s",
        "agent": {"command": f"exec {sys.executable} agent.py", "protocol": protocol},
        "sandbox": {"files": {"agent.py": "/workspace/"}},
        "network": {
            "routes": {"crm.example": {"upstream": "crm"}},
            "upstreams": {"crm": f"{sys.executable} crm.py"},
        },
        "cases": [
            {
                "id": "day",
                "conversation": [{"user": f"message {number}"} for number in range(turns)],
                "expect": [
                    {"answer": {"contains": f"message {turns - 1}: "}},
                    {"request": {"host": "crm.example", "path": "/orders", "count": turns}},
                ],
            }
        ],
    }
    (folder / "evals" / "long.yaml").write_text(json.dumps(suite))
    errors = folder / "stderr"
    with errors.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "aegis", "eval", "run", "--isolation=none", "--jobs=1"],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, errors.read_text()
    return usage.ru_maxrss * 1024


@pytest.mark.parametrize("protocol", ["jsonl", "chat"])
def test_four_hundred_turns_take_no_more_memory_than_forty(tmp_path: Path, protocol: str) -> None:
    few = peak_bytes(tmp_path / "few", protocol, 40)
    many = peak_bytes(tmp_path / "many", protocol, 400)
    assert many - few < MOST_GROWTH_BYTES, f"{few // MIB} MiB, then {many // MIB} MiB"
