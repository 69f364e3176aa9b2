"""Runs whose agents reach something: real programs behind a real gateway, on this host's loopback."""

from __future__ import annotations

import base64
import dataclasses
import json
import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import quote

import network_project
import pytest
import zstandard
from cli_project import Folder, Ran, outcomes

import aegis
from aegis.results import BlobStore, Ledger
from aegis.results.document import validate
from aegis.trace import Trace

VALUES = {
    "OPENAI_API_KEY": "sk-proj-7Hq2/vN+8xW0pLc4ZtRy5Bd9",
    "CRM_TOKEN": "crm-5f1d8a6b-0c77-4e92",
}


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in VALUES.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def net(folder: Folder, secrets: None) -> Folder:
    network_project.write(folder)
    return folder


def run(folder: Folder, *args: str) -> tuple[Ran, dict[str, Any]]:
    ran = folder.run("--json", str(folder.path / "out.json"), "--seed", "1", *args)
    assert (folder.path / "out.json").exists(), ran.stderr
    document: dict[str, Any] = json.loads((folder.path / "out.json").read_text())
    validate(document)
    return ran, document


def trace_of(folder: Folder, entry: dict[str, Any]) -> Trace:
    blobs = BlobStore(folder.path / ".aegis" / "blobs")
    return Trace.from_json(json.loads(blobs.get(entry["trace"])))


def test_a_streamed_chat_with_a_tool(net: Folder) -> None:
    ran, document = run(net)
    assert outcomes(document) == {"refund": ["passed", "passed"]}, ran.stderr
    for entry in document["trials"]:
        assert entry["exchanges"] == 4
        assert entry["usage"]["model_calls"] == 2
        assert (entry["usage"]["input_tokens"], entry["usage"]["output_tokens"]) == (200, 20)
        assert entry["usage"]["tool_calls"] == 1
        assert entry["usage"]["usd"] > 0
    assert document["prices"]["package"] == "genai-prices"
    assert (document["judge"], document["replay_of"], document["recorded"]) == (None, None, False)
    trace = trace_of(net, document["trials"][0])
    assert [call.streamed for call in trace.model_calls] == [True, True]
    assert [(call.name, call.arguments) for call in trace.tool_calls] == [("refund", {"order": 1042})]
    assert trace.denied_hosts == ("updates.example:80",)
    assert "updates: 403" in trace.stderr_tail
    assert "agents: 4 model calls, 400 + 40 tokens, $" in ran.stdout


def test_denied_hosts_are_told(net: Folder) -> None:
    ran, document = run(net)
    assert document["denied"] == [
        {
            "host": "updates.example",
            "port": 80,
            "reason": "denied: updates.example:80 is not in network.allow",
            "count": 2,
            "trials": 2,
        }
    ]
    told = "not allowed: updates.example:80 (2 times in 2 trials) — add it to network.allow"
    assert told in ran.stdout
    assert told in net("eval", "show", "latest").stdout


def test_the_timeline_of_a_stored_trial(net: Folder) -> None:
    _, document = run(net, "--trials", "1")
    shown = net("trace", "show", "latest/refund/1")
    assert shown.code == 0
    for words in (
        "gpt-5-mini at api.openai.com",
        "100 + 10 tokens; $",
        'asks for: refund {"order": 1042}',
        'tool    refund {"order": 1042}',
        "POST https://crm.example/refunds",
        "by refund",
        "DENIED  updates.example:80",
        "2 model calls; 1 tool calls; 200 input tokens; 20 output tokens; $",
    ):
        assert words in shown.stdout, shown.stdout
    net("trace", "show", "latest/refund/1", "--har", "out.har")
    entries = json.loads((net.path / "out.har").read_text())["log"]["entries"]
    assert [entry["request"]["url"] for entry in entries] == [
        "https://api.openai.com/v1/chat/completions",
        "https://crm.example/refunds",
        "https://api.openai.com/v1/chat/completions",
    ]
    assert document["started_at"] < entries[0]["startedDateTime"]


def forms(value: str) -> set[bytes]:
    """How a value may be written down: as it is, escaped for a URL or JSON, in Base64 at any offset."""
    plain = {value, quote(value, safe=""), json.dumps(value)[1:-1], value.replace("/", "\\/")}
    found = {text.encode() for text in plain}
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + value.encode())
        found.add(encoded[before and before + 1 : -4])
    return found


def left_behind(folder: Folder, *, also: dict[str, bytes]) -> dict[str, bytes]:
    """Every byte that a run has left: files as they are, and what compressed ones hold."""
    found = dict(also)
    for path in sorted(folder.path.rglob("*")) + sorted((folder.path.parent / "cache").rglob("*")):
        if path.is_file():
            found[str(path)] = path.read_bytes()
            if path.suffix == ".zst":
                found[f"{path} unpacked"] = (
                    zstandard.ZstdDecompressor().decompressobj().decompress(found[str(path)])
                )
    with sqlite3.connect(folder.path / ".aegis" / "ledger.db") as ledger:
        for table in ("runs", "trials", "attempts"):
            for row in ledger.execute(f"select * from {table}").fetchall():
                for value in row:
                    if isinstance(value, bytes):
                        unpacked = zstandard.ZstdDecompressor().decompressobj().decompress(value)
                        found[f"{table} {len(found)}"] = unpacked
    return found


def holding(texts: dict[str, bytes], value: str) -> list[str]:
    return [name for name, data in texts.items() if any(form in data for form in forms(value))]


def test_no_byte_that_a_run_leaves_holds_a_secret(net: Folder) -> None:
    """The servers echo the values in headers and bodies, the model prints them, the agent prints what it was given."""
    ran, document = run(net, "--trials", "1", "--junit-xml", "out.xml", "--record")
    assert document["trials"][0]["outcome"] == "passed", ran.stderr
    out = {"stdout": ran.stdout.encode(), "stderr": ran.stderr.encode()}
    for shown in (
        ("eval", "show", "latest", "--trial", "refund/1"),
        ("trace", "show", "latest/refund/1", "--json"),
    ):
        out[" ".join(shown)] = net(*shown).stdout.encode()
    net("trace", "show", "latest/refund/1", "--har", "out.har")
    texts = left_behind(net, also=out)
    for name, value in VALUES.items():
        assert holding(texts, value) == []
        assert any(f"[secret:{name}]".encode() in data for data in texts.values())
    # The control: had it been written anywhere, in any of these ways, it would have been found.
    with Ledger(net.path / ".aegis") as ledger:
        digest = ledger.blobs.put(b"x" + base64.b64encode(b"k:" + VALUES["CRM_TOKEN"].encode()) + b"y")
    (net.path / "planted.txt").write_text(quote(VALUES["OPENAI_API_KEY"], safe=""))
    texts = left_behind(net, also={})
    assert holding(texts, VALUES["OPENAI_API_KEY"]) == [str(net.path / "planted.txt")]
    found = {name.partition(".zst")[0].rpartition("/")[2] for name in holding(texts, VALUES["CRM_TOKEN"])}
    assert found == {digest[2:]}


def test_the_agent_gets_placeholders(net: Folder) -> None:
    run(net, "--trials", "1")
    printed = net("eval", "show", "latest", "--trial", "refund/1").stdout
    given = next(line for line in printed.splitlines() if "environment:" in line).split()
    assert len(given[1]) == len(VALUES["OPENAI_API_KEY"])
    assert given[1].startswith("sk-proj-")
    assert given[1:] != list(VALUES.values())


def test_a_secret_that_is_missing_stops_the_run_before_it_begins(
    net: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CRM_TOKEN")
    ran = net.run()
    assert ran.code == 2
    assert "error: the secret CRM_TOKEN has no value in this environment" in ran.stderr
    assert "fix: export CRM_TOKEN=…, or set `optional: true`" in ran.stderr
    assert not (net.path / ".aegis").exists()


def test_a_secret_is_never_passed_as_a_plain_variable(net: Folder) -> None:
    ran = net.run("--env", f"CRM_TOKEN={VALUES['CRM_TOKEN']}")
    assert ran.code == 2
    assert "--env CRM_TOKEN: it is a secret of suite net" in ran.stderr
    assert VALUES["CRM_TOKEN"] not in ran.stderr


def test_a_value_that_cannot_be_protected_is_refused(net: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRM_TOKEN", "short")
    ran = net.run()
    assert ran.code == 2
    assert "the secret CRM_TOKEN has fewer than 8 characters" in ran.stderr
    assert "short" not in ran.stderr.replace("short:", "")


@pytest.mark.parametrize("scope", ["trial", "run"])
def test_an_upstream_that_dies_is_an_error_of_the_host(folder: Folder, secrets: None, scope: str) -> None:
    dying = network_project.CRM.replace(
        "        order =", "        print('out of memory', flush=True); os._exit(3)\n        order ="
    )
    suite = network_project.SUITE.replace(
        "crm: PYTHON crm.py", f"crm: {{command: PYTHON crm.py, scope: {scope}}}"
    )
    network_project.write(folder, suite, crm=dying)
    ran, document = run(folder, "--trials", "1", "--retries", "0")
    (entry,) = document["trials"]
    assert entry["outcome"] == "error"
    assert entry["reason"] == (
        "the upstream crm ended in the middle (exit code 3); its last output: out of memory"
    )
    assert (ran.code, document["verdict"]) == (3, "INCONCLUSIVE")
    assert entry["exchanges"] >= 2


@pytest.mark.parametrize(("scope", "code"), [("trial", 3), ("run", 3)])
def test_an_upstream_that_never_starts_ends_the_run(
    folder: Folder, secrets: None, scope: str, code: int
) -> None:
    suite = network_project.SUITE.replace(
        "crm: PYTHON crm.py", f"crm: {{command: PYTHON crm.py, scope: {scope}}}"
    )
    network_project.write(folder, suite, crm="raise SystemExit('no such database')")
    ran = folder.run("--trials", "50")
    assert ran.code == code
    assert "the upstream crm ended before it was ready (exit code 1)" in ran.stderr
    assert "no such database" in ran.stderr
    assert "fix: try it by itself in" in ran.stderr


def test_the_output_of_an_upstream_is_told_without_secrets(folder: Folder, secrets: None) -> None:
    telling = "import os; print('bad token', os.environ['CRM_TOKEN']); raise SystemExit(1)"
    network_project.write(folder, crm=telling)
    ran = folder.run("--trials", "1")
    assert "bad token [secret:CRM_TOKEN]" in ran.stderr
    assert VALUES["CRM_TOKEN"] not in ran.stderr


# -- record and replay ---------------------------------------------------------------------------------------------


@pytest.fixture
def recorded(net: Folder) -> Folder:
    """A project with one recorded run whose servers and secrets are gone."""
    ran, document = run(net, "--record")
    assert outcomes(document) == {"refund": ["passed", "passed"]}, ran.stderr
    assert document["recorded"] is True
    assert "recording: responses are kept whole" in ran.stderr
    for name in ("model", "crm"):
        (net.path / f"{name}.py").write_text("raise SystemExit('must not be started')")
    return net


def test_a_replay_needs_neither_servers_nor_secrets(
    recorded: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in VALUES:
        monkeypatch.delenv(name)
    with Ledger(recorded.path / ".aegis") as ledger:
        first = ledger.run("latest").run_id
    ran, document = run(recorded, "--replay", first[:-2])
    assert outcomes(document) == {"refund": ["passed", "passed"]}, ran.stderr
    assert (document["replay_of"], document["recorded"]) == (first, False)
    assert f"REPLAY of run {first}" in ran.stderr
    assert f"REPLAY of run {first}" in ran.stdout
    assert "no baseline" in ran.stdout
    trace = trace_of(recorded, document["trials"][0])
    assert [item.replayed for item in trace.exchanges if item.kind == "http"] == [True, True, True]
    assert document["trials"][0]["usage"]["input_tokens"] == 200
    # What was refused before is refused again.
    assert [item["host"] for item in document["denied"]] == ["updates.example"]


def test_what_was_not_recorded_is_refused(recorded: Folder) -> None:
    agent = recorded.path / "agent.py"
    agent.write_text(agent.read_text().replace("Refund", "").replace('"gpt-5-mini"', '"gpt-5"'))
    _, document = run(recorded, "--replay", "latest", "--trials", "1")
    (entry,) = document["trials"]
    assert entry["outcome"] == "failed"
    errors = [item.error for item in trace_of(recorded, entry).exchanges]
    assert errors == ["not-recorded: POST api.openai.com/v1/chat/completions was not recorded"]


def test_trials_that_were_not_recorded_cannot_be_replayed(recorded: Folder) -> None:
    ran = recorded.run("--replay", "latest", "--trials", "3")
    assert ran.code == 2
    assert "has no recording of refund/3: it was not a part of it" in ran.stderr
    assert "--trials N" in ran.stderr
    with Ledger(recorded.path / ".aegis") as ledger:
        assert len(ledger.runs()) == 1


def test_a_run_of_another_suite_cannot_answer(recorded: Folder) -> None:
    recorded.suite(
        "echo",
        "suite: echo\nagent: {command: cat}\ncases:\n"
        "  - {id: same, input: hello, expect: [{answer: {contains: hello}}]}\n",
    )
    ran = recorded.run("--suite", "echo", "--replay", "latest")
    assert ran.code == 2
    assert "is one of suite net: it cannot answer for suite echo" in ran.stderr


def test_recording_a_replay_is_senseless(recorded: Folder) -> None:
    ran = recorded.run("--replay", "latest", "--record")
    assert ran.code == 2
    assert "a replay has nothing new to record" in ran.stderr


def test_from_python(recorded: Folder) -> None:
    result = aegis.eval.run("net", sandbox=False, replay="latest", trials=1)
    assert result.verdict == "PASS"
    assert result.document["replay_of"]


# -- the world's set-up ----------------------------------------------------------------------------------------------


def test_what_the_set_up_does_is_not_the_agents(folder: Folder, secrets: None, tmp_path: Path) -> None:
    """It reaches the same hosts, and is in no trace; what it was refused is told all the same."""
    suite = network_project.SUITE.replace(
        "    input: Refund",
        "    world: {run: [PYTHON seed.py], files: {seed.py: fixtures/seed.py}}\n    input: Refund",
    )
    network_project.write(folder, suite)
    (folder.path / "evals" / "fixtures").mkdir()
    (folder.path / "evals" / "fixtures" / "seed.py").write_text(
        "import json, os, urllib.error, urllib.request as r\n"
        "headers = {'Authorization': 'Bearer ' + os.environ['CRM_TOKEN']}\n"
        "r.urlopen(r.Request('https://crm.example/refunds', b'{\"order\": 7}', headers))\n"
        "try: r.urlopen('http://seeds.example/')\n"
        "except urllib.error.HTTPError: pass\n"
    )
    ran, document = run(folder, "--trials", "1")
    (entry,) = document["trials"]
    assert entry["outcome"] == "passed", (entry, ran.stderr)
    assert entry["exchanges"] == 4
    trace = trace_of(folder, entry)
    assert all(item.started_s >= 0 for item in trace.exchanges)
    assert trace.denied_hosts == ("updates.example:80",)
    assert {item["host"] for item in document["denied"]} == {"updates.example", "seeds.example"}
    for name in ("model", "crm"):
        (folder.path / f"{name}.py").write_text("raise SystemExit('must not be started')")
    _, replayed = run(folder, "--trials", "1", "--replay", "latest")
    assert outcomes(replayed) == {"refund": ["passed"]}


def test_a_dry_run_tells_what_would_be_reached(net: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CRM_TOKEN")
    suite = network_project.SUITE.replace("  routes:", '  allow: ["db.example:5432"]\n  routes:')
    network_project.write(
        net, suite.replace("{upstream: model}", "{upstream: model, unless: OPENAI_API_KEY}")
    )
    lines = net.run("--dry-run").stdout.splitlines()
    told = lines[lines.index("network:") + 1 :]
    assert told[0] == "  may reach db.example:5432"
    assert told[1] == "  may reach api.openai.com itself, since OPENAI_API_KEY has a value"
    assert told[2].startswith("  may reach crm.example at ")
    assert told[2].endswith(" crm.py (a process for each trial)")
    assert told[3] == "  secret OPENAI_API_KEY for api.openai.com: has a value here"
    assert told[4] == "  secret CRM_TOKEN for crm.example: has NO VALUE here: the run would not start"
    assert not (net.path / ".aegis").exists()


def test_without_the_key_the_stand_in_answers_and_the_run_says_so(
    net: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    network_project.write(
        net, network_project.SUITE.replace("{upstream: model}", "{upstream: model, unless: OPENAI_API_KEY}")
    )
    monkeypatch.delenv("OPENAI_API_KEY")
    stand_in = network_project.MODEL.replace(
        'os.environ["OPENAI_API_KEY"]', 'self.headers["Authorization"][7:]'
    )
    (net.path / "model.py").write_text(stand_in)
    ran, document = run(net, "--trials", "1")
    assert outcomes(document) == {"refund": ["passed"]}, ran.stderr
    assert "note: OPENAI_API_KEY has no value in this environment, so api.openai.com is routed" in ran.stderr


def test_a_secret_of_a_host_that_is_always_played_is_not_missed(
    net: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    optional = "{CRM_TOKEN: {hosts: [crm.example], optional: true}}"
    network_project.write(net, network_project.SUITE.replace("{CRM_TOKEN: crm.example}", optional))
    monkeypatch.delenv("CRM_TOKEN")
    (net.path / "crm.py").write_text(
        network_project.CRM.replace('os.environ["CRM_TOKEN"]', 'self.headers["Authorization"][7:]')
    )
    ran, document = run(net, "--trials", "1")
    assert outcomes(document) == {"refund": ["passed"]}, ran.stderr
    assert "CRM_TOKEN" not in ran.stderr


def test_a_run_is_resumed_with_the_routes_that_it_was_begun_with(
    net: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half against the model and half against its stand-in would be no run at all."""
    network_project.write(
        net, network_project.SUITE.replace("{upstream: model}", "{upstream: model, unless: OPENAI_API_KEY}")
    )
    monkeypatch.delenv("OPENAI_API_KEY")
    run(net, "--trials", "1")
    with Ledger(net.path / ".aegis") as ledger:
        record = ledger.run("latest")
        ledger.create_run(
            dataclasses.replace(record, run_id="again", status="interrupted", document=None),
            [("refund", "baseline", 1)],
        )
    monkeypatch.setenv("OPENAI_API_KEY", VALUES["OPENAI_API_KEY"])
    ran = net("eval", "resume", "again")
    assert ran.code == 2
    assert "was begun with other routes than this environment gives it (OPENAI_API_KEY)" in ran.stderr
    monkeypatch.delenv("OPENAI_API_KEY")
    stand_in = network_project.MODEL.replace(
        'os.environ["OPENAI_API_KEY"]', 'self.headers["Authorization"][7:]'
    )
    (net.path / "model.py").write_text(stand_in)
    assert net("eval", "resume", "again").code == 0
