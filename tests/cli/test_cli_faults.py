"""`aegis faults`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import network_project
import pytest
from cli_project import Folder
from jsonschema import Draft202012Validator

from aegis.faults import registry
from aegis.faults.plan import profiles
from aegis.results import Ledger
from aegis.trace import Body, Exchange, Trace, TurnRecord
from support import wire
from support.run_records import RUN_ID, result, run_record

SUITE = """\
suite: production-v2
agent: {command: cat, secrets: [{CRM_TOKEN: crm.example}]}
network: {allow: [api.openai.com, crm.example]}
faults:
  - {inject: overloaded, match: {call: model}, on: 2}
cases:
  - id: refund
    input: hello
    expect: [{answer: {contains: hello}}]
    faults:
      - {inject: rate-limit, id: crm-limit, match: {credential: CRM_TOKEN}, on: 1}
      - {inject: tool-error, match: {tool: lookup}}
  - {id: calm, input: hello, expect: [{answer: {contains: hello}}], faults: none}
"""

ASK = {"model": "gpt-5-mini", "messages": []}
TOKEN = (("Authorization", "Bearer [secret:CRM_TOKEN]"),)


def exchanges() -> tuple[Exchange, ...]:
    crm: dict[str, Any] = {"host": "crm.example", "method": "GET", "headers": TOKEN}
    return (
        wire.exchange("/v1/chat/completions", ASK, wire.chat("One."), id=1, started_s=0.5, connection=1),
        wire.exchange("/orders/1042?x=\x1b[2J", None, {"id": 1}, id=2, started_s=1.25, connection=2, **crm),
        wire.exchange(
            "/v1/chat/completions", ASK, wire.chat("Two."), id=3, started_s=2.0, connection=1, faults=("old",)
        ),
    )


def stored(project: Folder, *found: Exchange, case: str = "refund", recorded: bool = True) -> None:
    """A run of one trial with these exchanges."""
    trace = Trace(turns=(TurnRecord("Refund 1042", "Done.", 3.0),), recorded=recorded, exchanges=found)
    with Ledger(project.path / ".aegis") as ledger:
        ledger.create_run(run_record(), [(case, "baseline", 1)])
        epoch = ledger.begin_attempt(RUN_ID, case, "baseline", 1)
        digest = ledger.blobs.put(json.dumps(trace.to_json()).encode())
        key = (case, "baseline", 1, epoch)
        ledger.finish_attempt(RUN_ID, *key, outcome="passed", result=result(trace=digest), final=True)


@pytest.fixture
def trial(folder: Folder) -> str:
    folder.suite("production-v2", SUITE)
    stored(folder, *exchanges())
    return "latest/refund/1"


def own_profile(folder: Folder, name: str, text: str) -> None:
    (folder.path / "evals" / "faults").mkdir(parents=True, exist_ok=True)
    (folder.path / "evals" / "faults" / f"{name}.yaml").write_text(text)


OWN = "profile: own\ndescription: Of ours.\nrules:\n  - {inject: hang, match: crm.example, for: 3s, on: 1}\n"


# -- list ----------------------------------------------------------------------------------------------------------


def test_everything_is_listed_where_there_is_no_project(folder: Folder) -> None:
    ran = folder("faults", "list")
    assert (ran.code, ran.stderr) == (0, "")
    for name in (*registry.names(), *profiles.names()):
        assert f"\n  {name} " in ran.stdout
    assert "Auth: the credential is not good any more\n  token-expired" in ran.stdout
    assert max(map(len, ran.stdout.splitlines())) <= 100
    assert list(folder.path.iterdir()) == []


def test_the_list_for_programs(folder: Folder) -> None:
    document = json.loads(folder("faults", "list", "--json").stdout)
    assert [item["name"] for item in document["faults"]] == list(registry.names())
    assert {item["group"] for item in document["faults"]} == {
        *("time", "connection", "partial", "status", "auth", "semantic")
    }
    assert [item["name"] for item in document["profiles"]] == profiles.names()
    assert all(item["description"] and item["problem"] is None for item in document["profiles"])


def test_the_projects_own_profiles_are_listed(folder: Folder) -> None:
    folder.suite("production-v2", SUITE)
    own_profile(folder, "own", OWN)
    own_profile(folder, "broken", "profile: broken\nrules: [{inject: latancy}]\n")
    (folder.path / "elsewhere").mkdir()
    ran = folder("faults", "list")
    assert ran.code == 0
    assert "  own                Of ours." in ran.stdout
    assert "cannot be used: evals/faults/broken.yaml:2: rules[0].inject: unknown fault" in ran.stdout
    listed = {
        item["name"]: item for item in json.loads(folder("faults", "list", "--json").stdout)["profiles"]
    }
    assert listed["own"] == {"name": "own", "own": True, "description": "Of ours.", "problem": None}
    assert "latancy" in listed["broken"]["problem"]
    assert listed["mcp"]["own"] is False


# -- show ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", registry.names())
def test_a_fault(folder: Folder, name: str) -> None:
    ran = folder("faults", "show", name)
    assert (ran.code, ran.stderr) == (0, "")
    assert ran.stdout.startswith(f"{name}: a fault of ")
    assert f"    - inject: {name}\n" in ran.stdout
    for key in registry.get(name).keys:
        assert f"\n  {key.name}: " in ran.stdout
    shown = json.loads(folder("faults", "show", name, "--json").stdout)["fault"]
    assert shown["name"] == name
    assert [item["name"] for item in shown["parameters"]] == [key.name for key in registry.get(name).keys]
    for item in shown["parameters"]:
        Draft202012Validator.check_schema(item["schema"])


def test_bounds_units_and_defaults(folder: Folder) -> None:
    text = folder("faults", "show", "latency").stdout
    assert "  delay: time, 1ms to 10m\n" in text
    assert "  before: one of request, response (default response)\n" in text
    assert "  sigma: number above 0, at most 3\n" in text
    assert "  rate: size, 64B to 1TiB (default 64KiB)\n" in folder("faults", "show", "bandwidth").stdout
    assert "  refresh.path: " in folder("faults", "show", "token-expired").stdout


@pytest.mark.parametrize("name", profiles.names())
def test_a_profile(folder: Folder, name: str) -> None:
    ran = folder("faults", "show", name)
    assert (ran.code, ran.stderr) == (0, "")
    assert ran.stdout.startswith(f"{name}: a profile, built in\n")
    shown = json.loads(folder("faults", "show", name, "--json").stdout)["profile"]
    profile = profiles.load(name)
    assert len(shown["rules"]) == len(profile.rules)
    assert shown["sources"] == list(profile.sources)
    for rule in shown["rules"]:
        assert f"\n  {rule['id']} " in ran.stdout
    if profile.checked:
        assert f"checked {profile.checked} with:\n" in ran.stdout


def test_a_profile_of_the_project(folder: Folder) -> None:
    folder.suite("production-v2", SUITE)
    own_profile(folder, "own", OWN)
    text = folder("faults", "show", "own").stdout
    assert "own: a profile, in evals/faults/own.yaml" in text
    assert "  hang  hang on crm.example, on match 1; for: 3s\n" in text
    own_profile(folder, "own", OWN.replace("hang", "hung"))
    ran = folder("faults", "show", "own")
    assert ran.code == 2
    assert "error: evals/faults/own.yaml:4: rules[0].inject: unknown fault 'hung'" in ran.stderr


def test_a_name_that_both_have(folder: Folder) -> None:
    folder.suite("production-v2", SUITE)
    own_profile(folder, "hang", OWN.replace("own", "hang"))
    text = folder("faults", "show", "hang").stdout
    assert text.startswith("hang: a fault of time\n")
    assert "\nhang: a profile, in evals/faults/hang.yaml\n" in text
    assert set(json.loads(folder("faults", "show", "hang", "--json").stdout)) == {"fault", "profile"}


@pytest.mark.parametrize(
    ("name", "hint"),
    [("latancy", "'latency'"), ("flaky-prod", "'flaky-production'"), ("zzz", None), ("../x", None)],
)
def test_names_that_are_not_there(folder: Folder, name: str, hint: str | None) -> None:
    ran = folder("faults", "show", name)
    assert ran.code == 2
    assert f"error: there is no fault or profile {name!r}" in ran.stderr
    assert ("did you mean" in ran.stderr) is (hint is not None)
    assert hint is None or hint in ran.stderr
    assert "fix: aegis faults list" in ran.stderr


# -- preview -------------------------------------------------------------------------------------------------------


def test_what_would_hit_which_request(folder: Folder, trial: str) -> None:
    ran = folder("faults", "preview", trial)
    assert (ran.code, ran.stderr) == (0, "")
    lines = ran.stdout.splitlines()
    assert lines[0] == f"refund/1 of run {RUN_ID}: 3 exchanges, 2 of them would be hit"
    assert lines[1].split() == ["TIME", "EXCHANGE", "REQUEST", "FAULTS"]
    assert lines[2].split() == ["0.500s", "1", "POST", "https://api.openai.com/v1/chat/completions", "-"]
    assert lines[3].split()[0:2] == ["1.250s", "2"]
    assert lines[3].endswith("  crm-limit")
    assert lines[4].endswith("  overloaded (recorded with old)")
    assert "would never fire:\n  tool-error: nothing matched tool lookup\n" in ran.stdout
    assert "\x1b" not in ran.stdout
    assert folder("faults", "preview", f"{RUN_ID[:12]}/refund/1").stdout == ran.stdout


def test_the_preview_for_programs(folder: Folder, trial: str) -> None:
    document = json.loads(folder("faults", "preview", trial, "--json").stdout)
    assert (document["run_id"], document["case"], document["number"]) == (RUN_ID, "refund", 1)
    assert [item["faults"] for item in document["exchanges"]] == [[], ["crm-limit"], ["overloaded"]]
    assert [item["recorded_faults"] for item in document["exchanges"]] == [[], [], ["old"]]
    rules = {item["id"]: item for item in document["rules"]}
    assert rules["overloaded"] == {
        "id": "overloaded",
        "inject": "overloaded",
        "where": "model calls",
        "when": "on match 2",
        "source": "evals/production-v2.yaml:5",
        "matched": 2,
        "hits": 1,
        "why_not": None,
        "notes": [],
    }
    assert rules["tool-error"]["why_not"] == "nothing matched tool lookup"


def test_the_suite_as_it_is_now(folder: Folder, trial: str) -> None:
    folder.suite("production-v2", SUITE.replace("on: 2}", "on: 1}"))
    assert "0 of" not in (text := folder("faults", "preview", trial).stdout)
    assert text.splitlines()[2].endswith("  overloaded")
    folder.suite("production-v2", SUITE.replace("inject: overloaded", "inject: overlaoded"))
    ran = folder("faults", "preview", trial)
    assert ran.code == 2
    assert "evals/production-v2.yaml:5: faults[0].inject: unknown fault 'overlaoded'" in ran.stderr


def test_a_profile_stands_in_place_of_the_suites_faults(folder: Folder, trial: str) -> None:
    document = json.loads(folder("faults", "preview", trial, "--faults", "provider-outage", "--json").stdout)
    assert [item["faults"] for item in document["exchanges"]] == [
        [],
        ["crm-limit"],
        ["provider-outage/outage"],
    ]
    ran = folder("faults", "preview", trial, "--faults", "none")
    assert ran.code == 0
    assert "3 exchanges, none of them would be hit" in ran.stdout
    assert "case refund has no faults in the suite" in ran.stdout
    ran = folder("faults", "preview", trial, "--faults", "provider-outrage")
    assert ran.code == 2
    assert "did you mean 'provider-outage'" in ran.stderr


def test_the_rules_of_another_suite(folder: Folder, trial: str) -> None:
    folder.suite("other", SUITE.replace("suite: production-v2", "suite: other").replace("on: 2}", "from: 1}"))
    document = json.loads(folder("faults", "preview", trial, "-s", "other", "--json").stdout)
    assert document["suite"] == "other"
    assert [item["faults"] for item in document["exchanges"]] == [
        ["overloaded"],
        ["crm-limit"],
        ["overloaded"],
    ]


def test_a_body_that_is_stored_apart(folder: Folder) -> None:
    folder.suite("production-v2", SUITE)
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "lookup"}}
    content = json.dumps(message).encode()
    with Ledger(folder.path / ".aegis") as ledger:
        blob = ledger.blobs.put(content)
    call = wire.exchange("/mcp", None, {}, id=1, host="crm.example")
    stored(folder, replace(call, request_body=Body(len(content), blob=blob)))
    document = json.loads(folder("faults", "preview", "latest/refund/1", "--json").stdout)
    assert [item["faults"] for item in document["exchanges"]] == [["tool-error"]]


def test_trials_in_which_there_is_nothing_to_hit(folder: Folder) -> None:
    folder.suite("production-v2", SUITE)
    stored(folder)
    ran = folder("faults", "preview", "latest/refund/1")
    assert ran.code == 0
    assert "nothing was recorded: the agent sent no requests, and nothing can be hit" in ran.stdout


def test_trials_that_no_gateway_saw(folder: Folder) -> None:
    folder.suite("production-v2", SUITE)
    stored(folder, recorded=False)
    assert "no gateway recorded this trial" in folder("faults", "preview", "latest/refund/1").stdout


def test_a_case_without_faults(folder: Folder) -> None:
    folder.suite("production-v2", SUITE)
    stored(folder, *exchanges(), case="calm")
    text = folder("faults", "preview", "latest/calm/1").stdout
    assert "3 exchanges, none of them would be hit" in text
    assert "case calm has no faults in the suite" in text


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("latest", "'latest' is not RUN/CASE/NUMBER"),
        ("latest/refund/7", "has no trial 'refund/7'"),
        ("2019/refund/1", "2019"),
    ],
)
def test_trials_that_are_not_there(folder: Folder, trial: str, name: str, message: str) -> None:
    ran = folder("faults", "preview", name)
    assert ran.code == 2
    assert message in ran.stderr


def test_a_case_that_is_gone(folder: Folder, trial: str) -> None:
    folder.suite("production-v2", SUITE.replace("id: refund", "id: refunds"))
    ran = folder("faults", "preview", trial)
    assert ran.code == 2
    assert "suite production-v2 has no case 'refund' any more (did you mean 'refunds'?)" in ran.stderr


def test_without_any_run(folder: Folder) -> None:
    ran = folder("faults", "preview", "latest/refund/1")
    assert ran.code == 2
    assert "there are no runs" in ran.stderr
    assert not (folder.path / ".aegis").exists()


def test_what_is_foreseen_comes_true(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run in fair weather, its preview under a rule that slows things down only, and a run under that rule."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-proj-7Hq2/vN+8xW0pLc4ZtRy5Bd9")
    monkeypatch.setenv("CRM_TOKEN", "crm-5f1d8a6b-0c77-4e92")
    network_project.write(folder)
    assert folder.run().code == 0
    rules = "faults:\n" + "".join(
        f"  - {{inject: latency, id: slow-{number}, delay: 1ms, probability: 0.5}}\n" for number in range(6)
    )
    path = Path(folder.path / "evals" / "net.yaml")
    path.write_text(path.read_text() + rules)
    foreseen = {
        number: json.loads(folder("faults", "preview", f"latest/refund/{number}", "--json").stdout)
        for number in (1, 2)
    }
    assert folder.run().code == 0
    for number, document in foreseen.items():
        met = json.loads(folder("trace", "show", f"latest/refund/{number}", "--json").stdout)["trace"]
        assert [item["faults"] for item in document["exchanges"]] == [
            item["faults"] for item in met["exchanges"]
        ]
        assert any(item["faults"] for item in met["exchanges"])
