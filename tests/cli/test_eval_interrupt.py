"""Ctrl-C during `aegis eval run`, as a terminal sends it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from cli_project import Folder

from aegis.results import Ledger

DEADLINE_S = 120.0

# Each trial waits until the test lets it go; the second one and later wait for good.
SLOW = """\
suite: slow
trials: 4
agent: {command: "echo x >> %(log)s; while ! test -e %(go)s; do sleep 0.05; done; cat"}
cases:
  - {id: patient, input: hello, expect: [{answer: {contains: hello}}]}
"""


# The agent waits for an answer that never comes, and says by the log that it asked.
HANGING = """\
suite: slow
agent: {command: "%(python)s agent.py"}
timeout: %(timeout)s
sandbox: {files: {agent.py: /workspace/}}
network: {routes: {crm.example: {upstream: crm}}, upstreams: {crm: "%(python)s crm.py"}}
cases: [{id: hangs, input: hello, expect: [{answer: {contains: hello}}]}]
"""
HANGING_AGENT = """\
import urllib.request
print(urllib.request.urlopen("http://crm.example/orders", timeout=600).read())
"""
SILENT = """\
import os, pathlib, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        pathlib.Path(%(log)r).touch()
        time.sleep(600)
ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


class Running:
    """`aegis eval run --jobs 1` in a process of its own."""

    def __init__(self, project: Folder, suite: str = SLOW, **words: str) -> None:
        self.project = project
        self.log, self.go = project.path / "log", project.path / "go"
        told = {"log": str(self.log), "go": str(self.go), "python": sys.executable, **words}
        project.suite("slow", suite % told)
        (project.path / "agent.py").write_text(HANGING_AGENT)
        (project.path / "crm.py").write_text(SILENT % told)
        self.stderr = (project.path / "stderr").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "aegis", "eval", "run", "--isolation=none", "--jobs=1", "--json=out.json"],
            cwd=project.path,
            stdout=subprocess.DEVNULL,
            stderr=self.stderr,
        )
        self.wait_for(self.log.exists, "the first trial")

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + DEADLINE_S
        while not condition():
            assert self.process.poll() is None, self.errors()
            assert time.monotonic() < end, f"still waiting for {what}: {self.errors()}"
            time.sleep(0.02)

    def errors(self) -> str:
        return (self.project.path / "stderr").read_text()

    def send(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)

    def end(self) -> int:
        try:
            return self.process.wait(DEADLINE_S)
        finally:
            self.process.kill()
            self.stderr.close()


@pytest.fixture
def running(folder: Folder) -> Running:
    return Running(folder)


def finished_trials(path: Path) -> list[str | None]:
    with closing(Ledger(path / ".aegis")) as ledger:
        (run,) = ledger.runs()
        assert run.status == "interrupted"
        return [trial.outcome for trial in ledger.trials(run.run_id)]


def test_once_lets_the_running_trial_finish_and_resume_does_the_rest(running: Running) -> None:
    running.send(signal.SIGINT)
    running.wait_for(lambda: "Ctrl-C again" in running.errors(), "the answer to Ctrl-C")
    running.go.touch()
    assert running.end() == 130
    assert finished_trials(running.project.path).count("passed") == 1
    last = running.errors().rstrip().rpartition("\n")[2]
    document = json.loads((running.project.path / "out.json").read_text())
    assert last.startswith("RESULT: INCONCLUSIVE 1/4 trials")
    assert last.endswith(f"interrupted; resume with: aegis eval resume {document['run_id']}")
    assert document["counts"] == {
        "planned": 4,
        "passed": 1,
        "failed": 0,
        "timeout": 0,
        "error": 0,
        "cancelled": 3,
    }
    resumed = running.project("eval", "resume", document["run_id"])
    assert resumed.code == 0, resumed
    assert resumed.last_line.startswith("RESULT: PASS 4/4")
    assert running.log.read_text().count("x") == 4


@pytest.mark.parametrize(
    "signals", [[signal.SIGINT, signal.SIGINT], [signal.SIGTERM]], ids=["twice", "sigterm"]
)
def test_twice_stops_at_once(running: Running, signals: list[signal.Signals]) -> None:
    *before, last = signals
    for number in before:
        running.send(number)
        # Two signals of a kind that arrive together are one.
        running.wait_for(lambda: "Ctrl-C again" in running.errors(), "the answer to Ctrl-C")
    running.send(last)
    assert running.end() == 130
    assert finished_trials(running.project.path) == [None] * 4
    assert "Traceback" not in running.errors()
    assert "resume with" in running.errors().rstrip().rpartition("\n")[2]


@pytest.mark.parametrize(
    ("signals", "timeout", "outcome"),
    [([signal.SIGINT] * 2, "600s", None), ([signal.SIGTERM], "600s", None), ([], "3s", "timeout")],
    ids=["twice", "sigterm", "timeout"],
)
def test_a_request_that_the_end_cuts_off_leaves_no_traceback(
    folder: Folder, signals: list[signal.Signals], timeout: str, outcome: str | None
) -> None:
    running = Running(folder, HANGING, timeout=timeout)
    for number, sent in enumerate(signals):
        running.send(sent)
        if number + 1 < len(signals):
            running.wait_for(lambda: "Ctrl-C again" in running.errors(), "the answer to Ctrl-C")
    assert running.end() == (1 if outcome else 130)
    assert "Traceback" not in running.errors()
    assert "Exception" not in running.errors()
    document = json.loads((running.project.path / "out.json").read_text())
    assert [trial["outcome"] for trial in document["trials"]] == [outcome or "cancelled"]
