"""What a turn costs besides the agent's own time, in a long scripted conversation.

    python benchmarks/turns.py [--protocols jsonl,chat,acp] [--turns 40,100,400] [--isolation none|vm]

The agent answers at once, and tells how long it took on its own clock; what the rest of a turn took is Aegis': the way
of the message into the sandbox, the way of the answer out, and the record. Printed for each length: the median and the
95th percentile of that, the median of the last tenth of the turns over that of the first (a cost that grows with the
conversation shows there), and how much resident memory the conversation has added. With `chat` each request holds the
conversation so far and is a connection of its own: that is part of what is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import resource
import statistics
import sys
import tarfile
from pathlib import Path

from machine import describe

from aegis.agents import get
from aegis.agents.users import ScriptedUser
from aegis.sandbox.base import TemplateSpec
from aegis.sandbox.select import open_driver
from aegis.suite.model import Agent

LIMIT_MS = 5.0
"""Of a turn by `jsonl`."""

JSONL = """
import json, sys, time
for line in sys.stdin:
    begun = time.perf_counter()
    message = json.loads(line)
    took = time.perf_counter() - begun
    print(json.dumps({"role": "assistant", "content": str(took)}), flush=True)
"""

CHAT = """
import json, os, time
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def log_message(self, *words): pass
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        begun = time.perf_counter()
        json.loads(body)
        message = {"role": "assistant", "content": str(time.perf_counter() - begun)}
        reply = json.dumps({"choices": [{"message": message}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)
HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""

ACP = """
import json, sys, time
def send(**message): print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)
for line in sys.stdin:
    begun = time.perf_counter()
    asked = json.loads(line)
    result = {"initialize": {"protocolVersion": 1}, "session/new": {"sessionId": "s"}}.get(asked["method"])
    if result is None:
        content = {"type": "text", "text": str(time.perf_counter() - begun)}
        update = {"sessionUpdate": "agent_message_chunk", "content": content}
        send(method="session/update", params={"sessionId": "s", "update": update})
        result = {"stopReason": "end_turn"}
    send(id=asked["id"], result=result)
"""

AGENTS = {"jsonl": JSONL, "chat": CHAT, "acp": ACP}


def archive(program: str) -> bytes:
    buffer, data = io.BytesIO(), program.encode()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo("workspace/agent.py")
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


async def converse(protocol: str, turns: int, isolation: str) -> list[float]:
    """Milliseconds of each turn that were not the agent's."""
    agent = Agent(command="exec python3 agent.py", protocol=protocol)  # type: ignore[arg-type]
    messages = [f"Message {number}: what about order {1000 + number}?" for number in range(turns)]
    async with open_driver(isolation, base_dir=Path.cwd()) as driver:
        spec = TemplateSpec(image="debian", files_tar=archive(AGENTS[protocol]))
        sandbox = await driver.start(await driver.template(spec))
        try:
            result = await get(protocol).converse(sandbox, agent, ScriptedUser(*messages), timeout_s=3600)
        finally:
            await sandbox.stop()
    if result.failure is not None:
        sys.exit(f"{protocol}, {turns} turns: {result.failure}")
    return [1000 * (turn.duration_s - float(turn.answer)) for turn in result.trace.turns]


def measure(protocol: str, turns: int, isolation: str) -> dict[str, float]:
    asyncio.run(converse(protocol, 2, isolation))
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    added_ms = asyncio.run(converse(protocol, turns, isolation))[1:]  # the first waits for the agent's start
    after_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tenth = max(1, len(added_ms) // 10)
    return {
        "turns": turns,
        "median_ms": statistics.median(added_ms),
        "p95_ms": sorted(added_ms)[int(0.95 * len(added_ms))],
        "ratio": statistics.median(added_ms[-tenth:]) / statistics.median(added_ms[:tenth]),
        "grown_mib": (after_kib - before_kib) / 1024,
    }


async def measure_in_child(protocol: str, turns: int, isolation: str) -> dict[str, float]:
    """In a process of its own: the peak of resident memory is the process's."""
    argv = (__file__, "--one", protocol, "--turns", str(turns), "--isolation", isolation)
    child = await asyncio.create_subprocess_exec(sys.executable, *argv, stdout=asyncio.subprocess.PIPE)
    output, _ = await child.communicate()
    if child.returncode != 0:
        sys.exit(f"{protocol} with {turns} turns failed with exit code {child.returncode}")
    row: dict[str, float] = json.loads(output.splitlines()[-1])
    return row


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--protocols", default="jsonl,chat,acp", help="separated by commas")
    parser.add_argument("--turns", default="40,100,400", help="lengths, separated by commas")
    parser.add_argument("--isolation", choices=("vm", "none"), default="none")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    lengths = sorted(int(length) for length in arguments.turns.split(","))
    if arguments.one is not None:
        print(json.dumps(measure(arguments.one, lengths[0], arguments.isolation)))
        return
    print(f"Measured on: {describe()}; isolation {arguments.isolation}\n")
    print("| protocol | turns | added ms, median | p95 | last tenth against first | memory MiB |")
    print("|---|---|---|---|---|---|")
    slow = False
    for protocol in arguments.protocols.split(","):
        for turns in lengths:
            row = asyncio.run(measure_in_child(protocol, turns, arguments.isolation))
            cells = (
                f"{row['median_ms']:.2f} | {row['p95_ms']:.2f} | {row['ratio']:.2f} | {row['grown_mib']:.1f}"
            )
            print(f"| {protocol} | {turns} | {cells} |")
            slow = slow or (protocol == "jsonl" and row["median_ms"] >= LIMIT_MS)
    if slow:
        sys.exit(f"\nA turn by jsonl added {LIMIT_MS:g} ms or more.")


if __name__ == "__main__":
    main()
