"""A project whose agent asks a model, calls a tool over HTTP, and tries a host that nobody allowed. The servers are
upstream programs that the project ships."""

from __future__ import annotations

import sys

from cli_project import Folder

SUITE = """\
suite: net
agent:
  command: PYTHON agent.py
  secrets: [OPENAI_API_KEY, {CRM_TOKEN: crm.example}]
sandbox: {files: {agent.py: /workspace/}}
network:
  routes:
    api.openai.com: {upstream: model}
    crm.example: {upstream: crm}
  upstreams:
    model: {command: PYTHON model.py, scope: run}
    crm: PYTHON crm.py
trials: 2
cases:
  - id: refund
    input: Refund order 1042
    expect:
      - answer: {contains: "42 euros"}
      - request: {method: POST, host: crm.example, path: /refunds, count: 1}
      - tool_calls: {include: [refund]}
"""

AGENT = '''\
"""Asks the model twice, does what it asks for in between, and looks for updates at a host that it shouldn't."""
import json, os, sys, urllib.error, urllib.request

def post(url, body, token):
    request = urllib.request.Request(url, json.dumps(body).encode(), {
        "Content-Type": "application/json", "Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return response.read().decode()

def ask(messages):
    """The streamed answer: (text, tool call or None)."""
    key = os.environ["OPENAI_API_KEY"]
    text, name, arguments, call = "", "", "", ""
    stream = post("https://api.openai.com/v1/chat/completions",
        {"model": "gpt-5-mini", "stream": True, "stream_options": {"include_usage": True}, "messages": messages}, key)
    for line in stream.splitlines():
        if not line.startswith("data: {"):
            continue
        for choice in json.loads(line[6:])["choices"]:
            delta = choice["delta"]
            text += delta.get("content") or ""
            for tool in delta.get("tool_calls") or ():
                call = tool.get("id") or call
                name += tool["function"].get("name") or ""
                arguments += tool["function"]["arguments"]
    return text, (call, name, json.loads(arguments)) if name else None

question = sys.stdin.read()
messages = [{"role": "user", "content": question}]
text, tool = ask(messages)
call, name, arguments = tool
answer = json.loads(post("https://crm.example/refunds", arguments, os.environ["CRM_TOKEN"]))
result = json.dumps({"amount": answer["amount"]})
messages += [
    {"role": "assistant", "tool_calls": [
        {"id": call, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}]},
    {"role": "tool", "tool_call_id": call, "content": result}]
text, _ = ask(messages)
try:
    urllib.request.urlopen("http://updates.example/latest", timeout=30)
except urllib.error.HTTPError as error:
    print("updates:", error.code, file=sys.stderr)
print("environment:", os.environ["OPENAI_API_KEY"], os.environ["CRM_TOKEN"], file=sys.stderr)
print(text)
'''

MODEL = '''\
"""Asks for a refund first, and says what came of it then. Knows the one key, and tells it to whoever asks."""
import json, os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        print("asked with", self.headers["Authorization"], flush=True)
        if self.headers["Authorization"] != "Bearer " + os.environ["OPENAI_API_KEY"]:
            self.send_response(401); self.send_header("Content-Length", "0"); self.end_headers(); return
        last = body["messages"][-1]
        if last["role"] == "tool":
            amount = json.loads(last["content"])["amount"]
            deltas = [{"content": "You get "}, {"content": f"{amount} euros."}]
        else:
            deltas = [
                {"tool_calls": [{"index": 0, "id": "call_1", "type": "function",
                    "function": {"name": "refund", "arguments": ""}}]},
                {"tool_calls": [{"index": 0, "function": {"arguments": "{\\"order\\": 1042}"}}]}]
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("X-Seen", self.headers["Authorization"])
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        base = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-5-mini"}
        for delta in deltas:
            self.event({**base, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
        self.event({**base, "choices": [], "usage": usage})
        self.piece(b"data: [DONE]\\n\\n")
        self.piece(b"")

    def event(self, value):
        self.piece(f"data: {json.dumps(value)}\\n\\n".encode())

    def piece(self, data):
        self.wfile.write(b"%x\\r\\n%s\\r\\n" % (len(data), data))

    def log_message(self, *args):
        pass

ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
'''

CRM = '''\
"""Pays each order once: what one trial did must not be seen by another."""
import json, os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

paid = set()

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        order = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["order"]
        known = self.headers["Authorization"] == "Bearer " + os.environ["CRM_TOKEN"]
        status = 403 if not known else 409 if order in paid else 200
        paid.add(order)
        body = json.dumps({"amount": 42, "token": self.headers["Authorization"]}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass

ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
'''


def write(folder: Folder, suite: str = SUITE, **files: str) -> None:
    """The project's files; `files` (`crm=…`) replace the programs of these names."""
    folder.suite("net", suite.replace("PYTHON", sys.executable))
    for name, content in {"agent": AGENT, "model": MODEL, "crm": CRM, **files}.items():
        (folder.path / f"{name}.py").write_text(content)
