"""The profiles that come with Aegis."""

from __future__ import annotations

import datetime
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from plan_suites import load, profile, suite_of

from aegis.errors import UsageError
from aegis.faults import doc, registry
from aegis.faults.base import TrialKey
from aegis.faults.examples import EXAMPLES
from aegis.faults.plan import keys, profiles
from aegis.faults.plan.reading import rules_of
from aegis.scoring import registry as scorers
from aegis.suite import json_schema
from aegis.suite.yamltree import parse_yaml
from support.weather import Day

GENERIC = (
    "flaky-production",
    "rate-limited",
    "slow-dependencies",
    "token-expiry",
    "partial-responses",
    "provider-outage",
)
NAMES = profiles.names()
RULE = Draft202012Validator(keys.schema())


def test_all_that_should_be_there_are() -> None:
    assert {*GENERIC, "openai", "anthropic", "github", "stripe", "slack", "oauth2", "mcp"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_one_can_be_read(name: str) -> None:
    profile = profiles.load(name)
    rules = rules_of(profile, None)
    assert rules
    assert profile.description
    assert not profile.own
    # Ids stand in reports: said in the file, they stay when rules come and go.
    assert all("id" in rule for rule in profile.rules)
    if profile.checked:
        assert datetime.date.fromisoformat(profile.checked).year >= 2026
        assert all(source.startswith("https://") for source in profile.sources)
    assert bool(profile.checked) == bool(profile.sources)


@pytest.mark.parametrize("name", NAMES)
def test_its_rules_fit_the_schema_that_editors_use(name: str) -> None:
    for rule in profiles.load(name).rules:
        assert [error.message for error in RULE.iter_errors(rule)] == [], rule


@pytest.mark.parametrize("name", [*GENERIC, "mcp", "oauth2"])
def test_one_without_hosts_fits_any_suite(name: str, tmp_path: Path) -> None:
    rules = load(tmp_path, suite_of(name)).cases[0].faults
    assert len(rules) == len(profiles.load(name).rules)
    assert not any(rule.match.host for rule in rules)


TRIAL: list[tuple[str, str, Any]] = [
    # What a short trial sends: model calls, reads, a listing page by page, a write, calls of an MCP tool.
    ("POST", "/v1/chat/completions", {"stream": True}),
    ("GET", "/orders/1042", None),
    ("POST", "/v1/chat/completions", {"stream": True}),
    ("GET", "/orders?page=2", None),
    ("POST", "/mcp", {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "refund"}}),
    ("GET", "/customers/7", None),
    ("POST", "/v1/chat/completions", {"stream": True}),
    ("PUT", "/orders/1042", {"open": False}),
    ("POST", "/mcp", {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "refund"}}),
    ("POST", "/v1/chat/completions", {"stream": True}),
]


@pytest.mark.parametrize("name", [*GENERIC, "mcp", "oauth2"])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_it_meets_every_short_trial(name: str, number: int) -> None:
    day = Day(rules_of(profiles.load(name), None), key=TrialKey("s", "c", "baseline", number))
    found = set()
    for at_s, (method, target, body) in enumerate(TRIAL):
        day.at_s = float(at_s)
        sent = day.foresee(target, method, body=body, headers={"Authorization": "Bearer t"})
        found.update(sent)
    assert found


def test_an_outage_ends() -> None:
    day = Day(rules_of(profiles.load("provider-outage"), None))
    hit = []
    for at_s in (0.0, 1.0, 5.0, 15.0, 19.9, 20.1, 30.0):
        day.at_s = at_s
        hit.append(day.foresee("/v1/messages", "POST", body={}))
    assert hit[0] == ()
    assert all(found and "recovery" not in found for found in hit[1:5])
    assert hit[5:] == [("recovery",), ("recovery",)]


def test_profiles_that_are_not_there() -> None:
    with pytest.raises(UsageError, match=r"no profile 'flaky-prod' \(did you mean 'flaky-production'\?\)"):
        profiles.load("flaky-prod")
    with pytest.raises(UsageError, match="no profile"):
        profiles.load("../plan/keys")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "faults").mkdir()
    (tmp_path / "faults" / "latin.yaml").write_bytes(b"profile: latin\ndescription: \xe9\n")
    (tmp_path / "faults" / "big.yaml").write_bytes(b"#" * (profiles.MAX_FILE_BYTES + 1))
    assert profiles.own_names(tmp_path) == ["big", "latin"]
    assert {"big", "latin", "mcp"} <= set(profiles.names(tmp_path))
    with pytest.raises(UsageError, match="cannot be read"):
        profiles.load("latin", tmp_path)
    with pytest.raises(UsageError, match="larger than"):
        profiles.load("big", tmp_path)


PAGE = (Path(__file__).resolve().parents[2] / "docs" / "faults.md").read_text(encoding="utf-8")


def test_the_examples_of_the_page(tmp_path: Path) -> None:
    by_hand = PAGE.partition("<!--")[0]
    part, own, inside = re.findall(r"^```yaml\n(.*?)^```", by_hand, re.M | re.S)
    profile(tmp_path, "crm-maintenance", own)
    head = "suite: s\nagent: {command: x}\ncases: [{id: a, input: hi, expect: [{answer: x}]}]\n"
    found = load(tmp_path, head + part + "  - crm-maintenance\n").cases[0].faults
    assert {rule.source.partition(" ")[2] for rule in found} == {"flaky-production", "crm-maintenance", ""}
    found = load(tmp_path, head + inside).cases[0].faults
    assert [rule.inject for rule in found] == ["tool-error", "latency"]


# -- the faults themselves, as far as they are read ----------------------------------------------------------------


@pytest.mark.parametrize("name", registry.names())
def test_every_fault_has_an_example_that_can_be_pasted(name: str, tmp_path: Path) -> None:
    hosts = "crm.example, auth.example, api.example, files.example"
    text = suite_of().replace("network: {allow: [crm.example, ", f"network: {{allow: [{hosts}, ")
    (rule,) = (
        load(tmp_path, text + "".join(f"  {line}\n" for line in EXAMPLES[name].splitlines())).cases[0].faults
    )
    assert rule.inject == name
    ((written),) = parse_yaml(EXAMPLES[name], shown="x")[0].plain()
    assert [error.message for error in RULE.iter_errors(written)] == []


def test_there_are_no_other_examples() -> None:
    assert sorted(EXAMPLES) == sorted(registry.names())


@pytest.mark.parametrize("name", registry.names())
def test_every_fault_describes_itself(name: str) -> None:
    kind = registry.get(name)
    assert kind.name == name
    assert len(doc.text(kind)) > 200
    assert doc.summary(kind).endswith(".")
    assert kind.layers
    assert {key.name for key in kind.keys}.isdisjoint(keys.RULE_NAMES)
    for item in doc.parameters(kind):
        assert item.text
        assert item.takes != "see its text", item.name


def test_the_schema_of_suites_is_one_and_refuses_what_the_loader_refuses() -> None:
    schema = json_schema(scorers.names(), keys.schema())
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    suite: dict[str, Any] = {
        "suite": "s",
        "agent": {"command": "x"},
        "cases": [{"id": "a", "input": "hi", "expect": [{"answer": "x"}]}],
    }
    good: list[Any] = [
        "mcp",
        ["mcp", {"inject": "latency"}],
        [{"inject": "rate-limit", "match": "crm.example", "on": [1, 2], "until": {"path": "/x"}}],
        [],
    ]
    bad: list[Any] = [
        5,
        {"inject": "latency"},
        [{"inject": "latancy"}],
        [{"inject": "latency", "on": 0}],
        [{"inject": "latency", "dely": "2s"}],
        [{"inject": "latency", "retry_after": "2s"}],
        [{"inject": "latency", "match": {}}],
        [{"on": 1}],
    ]
    for value in good:
        assert validator.is_valid({**suite, "faults": value}), value
        case = {**suite["cases"][0], "faults": value}
        assert validator.is_valid({**suite, "cases": [case]}), value
    for value in bad:
        assert not validator.is_valid({**suite, "faults": value}), value
