"""A suite whose cases take place on other days, in machines, from the file to what was kept of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from e2e_command import Aegis

pytestmark = [pytest.mark.e2e, pytest.mark.vm]

SUITE = """\
suite: days
agent: {command: "agent:answer", protocol: python}
sandbox: {files: {agent.py: /workspace/}}
network:
  routes: {crm.example: {upstream: crm}}
  upstreams: {crm: python3 crm.py}
world:
  run: ["date +%F > step.txt"]
  clock: {at: 2028-02-29T23:50:00, zone: America/New_York}
collect: ["*.txt", out/*.json]
cases:
  - {id: leap-day, input: hi, expect: [{answer: {contains: "2028-02-29 23 EST, asked 200"}}]}
  - id: last-century
    input: hi
    world: {clock: "1999-12-31T12:00:00+00:00", run: ["date +%Z >> step.txt"]}
    expect: [{answer: {contains: "1999-12-31 12 UTC, asked 200"}}, {command: {run: "date | grep 1999"}}]
  - {id: today, input: hi, world: none, expect: [{answer: {contains: "asked 200"}}]}
"""

AGENT = """\
import datetime, json, pathlib, time, urllib.request
LOADED = time.strftime("%Y-%m-%d %H %Z")  # when the module is imported
def answer(text):
    status = urllib.request.urlopen("https://crm.example/", timeout=60).status
    now = time.strftime("%Y-%m-%d %H %Z")
    pathlib.Path("out").mkdir()
    pathlib.Path("out/days.json").write_text(json.dumps([LOADED, now]))
    return f"{now}, asked {status}" if now == LOADED else f"loaded {LOADED}, now {now}"
"""

CRM = """\
import os
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *args):
        pass
HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def test_days_of_a_suite(aegis: Aegis, write_suite: Callable[..., Path], tmp_path: Path) -> None:
    folder = write_suite("days", SUITE)
    (folder / "agent.py").write_text(AGENT)
    (folder / "crm.py").write_text(CRM)
    ran = aegis("eval", "run", "--suite", "days", "--isolation=vm", "--jobs", "1", "--json", "out.json")
    assert ran.code == 0, ran
    document = json.loads((folder / "out.json").read_text())
    trials = {trial["case"]: trial for trial in document["trials"]}
    assert {case: trial["clock"] for case, trial in trials.items()} == {
        "leap-day": {"at": "2028-03-01T04:50:00+00:00", "zone": "America/New_York"},
        "last-century": {"at": "1999-12-31T12:00:00+00:00", "zone": None},
        "today": None,
    }
    assert datetime.now(UTC).strftime("%Y-%m") in trials["today"]["answer"]

    kept = {file["path"] for file in trials["leap-day"]["collected"]}
    assert kept == {"/workspace/step.txt", "/workspace/out/days.json"}
    wrote = aegis("trial", "collected", "latest/leap-day/1", "--to", "kept")
    assert wrote.code == 0, wrote
    # The world's steps saw the same day.
    assert (folder / "kept/workspace/step.txt").read_text() == "2028-02-29\n"
    assert aegis("trial", "collected", "latest/last-century/1", "--to", "other").code == 0
    assert (folder / "other/workspace/step.txt").read_text() == "1999-12-31\nUTC\n"

    templates = json.loads(aegis("template", "list", "--json").stdout)["templates"]
    ours = [each for each in templates if each["project"] == str(tmp_path)]
    assert [(each["suite"], each["in_use"], each["stale"]) for each in ours] == [("days", False, False)]
    assert 0 < ours[0]["disk_bytes"] < ours[0]["memory_bytes"]
    assert aegis("template", "prune", ours[0]["key"]).code == 0
