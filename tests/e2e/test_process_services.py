"""Services as a suite has them: up for the agent, heard in the trace, and what it looks like when they fail."""

from __future__ import annotations

from pathlib import Path

import pytest
from e2e_command import Aegis, outcomes, read_json

pytestmark = pytest.mark.e2e

AGENT = """
import os, sys, urllib.request
text = sys.stdin.read()
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
try:
    print(opener.open(f"http://127.0.0.1:{os.environ['NOTES_PORT']}/{text.strip()}").read().decode())
except OSError as error:
    print("nobody there")
"""

NOTES = """
import http.server, os
notes = []
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/crash":
            print("out of paper", flush=True)
            os._exit(1)
        notes.append(self.path)
        body = f"{len(notes)} notes, key {os.environ.get('NOTES_KEY', 'none')}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        print("noted", self.path, flush=True)
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""

SUITE = """\
suite: notes
agent:
  command: python3 agent.py
  secrets: {{NOTES_KEY: {{hosts: [notes.example], optional: true}}}}
sandbox:
  files: {{agent.py: /workspace/agent.py, notes.py: /workspace/notes.py}}
  services:
    - {{name: notes, command: "{command}", port: 8090{more}}}
network: {{allow: [notes.example]}}
trials: 2
cases:
  - {{id: note, input: milk, expect: [{{answer: {{contains: 1 notes}}}}]}}
  - {{id: crash, input: crash, expect: [{{answer: {{contains: nobody}}}}]}}
"""

RUN = ("eval", "run", "--suite", "notes", "--isolation=none", "--json", "out.json")
COMMAND = 'exec python3 \\"$HOME/notes.py\\"'


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    (tmp_path / "aegis.toml").touch()
    (tmp_path / "evals").mkdir()
    (tmp_path / "agent.py").write_text(AGENT)
    (tmp_path / "notes.py").write_text(NOTES)
    write(tmp_path)
    return tmp_path


def write(project: Path, command: str = COMMAND, more: str = "") -> None:
    (project / "evals" / "notes.yaml").write_text(SUITE.format(command=command, more=more))


def test_each_trial_has_its_own_and_its_log_is_in_the_trace(aegis: Aegis, notes: Path) -> None:
    ran = aegis(*RUN, "-k", "note", cwd=notes)
    assert ran.code == 0, ran
    told = aegis("trace", "show", "latest/note/2", cwd=notes)
    assert "service notes" in told.stdout
    assert "noted /milk" in told.stdout


def test_one_that_ends_is_no_failure_of_the_agent(aegis: Aegis, notes: Path) -> None:
    ran = aegis(*RUN, "-k", "crash", "--retries", "0", cwd=notes)
    assert ran.code == 3, ran
    document = read_json(notes / "out.json")
    assert outcomes(document) == {"crash": ["error", "error"]}
    reasons = {trial["reason"] for trial in document["trials"]}
    assert reasons == {"service 'notes' ended with exit code 1 during the trial: out of paper"}


def test_one_that_never_comes_up_ends_the_run_with_what_it_said(aegis: Aegis, notes: Path) -> None:
    write(notes, "echo no disk >&2; exit 2")
    ran = aegis(*RUN, cwd=notes)
    assert ran.code == 3, ran
    assert "service 'notes' ended with exit code 2 before it was ready: echo no disk" in ran.stderr
    assert "    no disk" in ran.stderr
    assert "fix: correct `sandbox.services` in the suite" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_one_of_the_trial_has_the_placeholders_of_secrets(aegis: Aegis, notes: Path) -> None:
    write(notes, more=", start: trial")
    ran = aegis(*RUN, "-k", "note", cwd=notes, env={"NOTES_KEY": "the real one"})
    assert ran.code == 0, ran
    (answer,) = {
        trial["answer"].split("key ")[1][:3] != "non" for trial in read_json(notes / "out.json")["trials"]
    }
    assert answer
    assert "the real one" not in str(read_json(notes / "out.json"))


def test_a_mistake_is_shown_with_its_line(aegis: Aegis, notes: Path) -> None:
    write(notes, more=", redy: {}")
    ran = aegis("suite", "check", "notes", cwd=notes)
    assert ran.code == 2, ran
    assert "evals/notes.yaml:8: unknown key 'redy'" in ran.stderr + ran.stdout
    assert "did you mean 'ready'?" in ran.stderr + ran.stdout
