"""The JSON Schema, the documentation and the loader say the same."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from suite_files import SCORERS, load, write

from aegis.errors import SuiteError
from aegis.faults.plan import keys
from aegis.faults.plan.reading import read_faults
from aegis.gateway import Authority, entries
from aegis.scoring import registry
from aegis.suite import Suite, json_schema, load_suite
from aegis.suite.clockkeys import CLOCK, ClockKind
from aegis.suite.keys import SUITE, Cases
from aegis.suite.kinds import Kind, ListOf, MapOf, Section, Short
from aegis.suite.secretkeys import Secrets
from aegis.suite.servicekeys import SERVICE, Services
from aegis.suite.wellknown import WELL_KNOWN
from aegis.suite.worlds import CaseWorld
from aegis.suite.yamltree import parse_yaml

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "suite.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(yaml|jsonl|python)\n(.*?)^```", DOCS, re.M | re.S)
VALIDATOR = Draft202012Validator(json_schema(SCORERS))
BASE = {"suite": "s", "agent": {"command": "x"}}
GOOD_CASE = {"id": "a", "input": "hi", "expect": [{"answer": "x"}]}


def with_case(**changes: Any) -> dict[str, Any]:
    """A suite with one case; a change to None takes the key away."""
    case = {**GOOD_CASE, **changes}
    return {**BASE, "cases": [{key: value for key, value in case.items() if value is not None}]}


def with_keys(**changes: Any) -> dict[str, Any]:
    return {**BASE, "cases": [GOOD_CASE], **changes}


GOOD = [
    with_keys(),
    with_keys(world={"run": ["x"], "clock": "2028-02-29T23:50:00"}, collect=["outbox", "/var/log/**/*.log"]),
    with_case(world={"clock": {"at": "2028-02-29 23:50:00.5+01:00", "zone": "Europe/Berlin"}}),
    with_case(world={"clock": {"zone": "America/Argentina/Buenos_Aires"}}),
    with_case(world={"clock": "2028-02-29"}),
    with_case(world="none", collect=["a/*"]),
    with_keys(description="", trials=1000, timeout="1.5m"),
    with_keys(sandbox={}),
    with_keys(
        sandbox={"image": "oci:x", "memory": "64MiB", "cpus": 16, "files": {".": "/srv"}, "setup": ["x"]}
    ),
    with_keys(sandbox={"env": {"A_1": ""}, "setup": [], "files": {}}),
    with_keys(agent={"command": "m:f", "protocol": "python", "env": {"A": "b"}}),
    with_keys(cases={"jsonl": "cases.jsonl"}),
    with_keys(network={}),
    with_keys(network={"allow": ["a.example", "*", "*.b.example:443", "10.0.0.5:1", "[::1]:80"]}),
    with_keys(network={"routes": {"a.example": "http://h:1", "b": {"to": "h:1"}}, "upstreams": {}}),
    with_keys(
        network={
            "routes": {"a.example": {"upstream": "u", "unless": "XAI_API_KEY"}},
            "upstreams": {"u": {"command": "x", "scope": "run", "env": {"A": ""}, "ready_timeout": "1s"}},
        },
        agent={"command": "x", "secrets": ["XAI_API_KEY"]},
    ),
    with_keys(network={"routes": {"a": {"upstream": "u"}}, "upstreams": {"u": "x"}}),
    with_keys(network={"limits": {"a": {"requests_per_minute": 0.5, "tokens_per_minute": 1}}}),
    with_keys(network={"passthrough": ["a"]}),
    with_keys(agent={"command": "x", "secrets": []}),
    with_keys(agent={"command": "x", "secrets": {}}),
    with_keys(agent={"command": "x", "secrets": ["GH_TOKEN", {"A": "a"}, {"B": ["a", "b"]}]}),
    with_keys(agent={"command": "x", "secrets": [{"A": {"hosts": ["a"], "optional": True}}]}),
    with_keys(agent={"command": "x", "secrets": {"GH_TOKEN": {"optional": True}, "A": "a"}}),
    with_case(input=None, conversation=[{"user": "a"}, {"user": "b"}]),
    with_case(tags=["a", "b.c"], description="d", trials=1, timeout="24h"),
    with_case(world={"files": {"o.json": "o.json", "/etc/x": "o.json"}, "run": ["ls"]}),
    with_case(expect=[{"answer": "x"}, {"file": {"path": "x"}}, {"sql": {}}]),
]

BAD = [
    [],
    "text",
    {},
    {**BASE},
    with_keys(cases=[]),
    with_keys(cases={}),
    with_keys(cases={"jsonl": ""}),
    with_keys(cases={"jsonl": "cases.jsonl", "more": 1}),
    with_keys(cases=[GOOD_CASE, {"jsonl": "cases.jsonl"}]),
    with_keys(cases=["a"]),
    with_keys(nope=1),
    with_keys(network=None),
    with_keys(network=["a.example"]),
    with_keys(network={"deny": []}),
    with_keys(network={"tls": {"passthrough": ["a"]}}),
    with_keys(network={"allow": "a.example"}),
    with_keys(network={"allow": [""]}),
    with_keys(network={"allow": [443]}),
    with_keys(network={"allow": ["https://a.example"]}),
    with_keys(network={"allow": ["a.example/x"]}),
    with_keys(network={"allow": ["a b"]}),
    with_keys(network={"routes": ["a"]}),
    with_keys(network={"routes": {"": "http://h:1"}}),
    with_keys(network={"routes": {"a": ""}}),
    with_keys(network={"routes": {"a": "ftp://h"}}),
    with_keys(network={"routes": {"a": "http://h:1/path"}}),
    with_keys(network={"routes": {"a": "http://user@h:1"}}),
    with_keys(network={"routes": {"a": 9001}}),
    with_keys(network={"routes": {"a": {}}}),
    with_keys(network={"routes": {"a": {"unless": "A"}}}),
    with_keys(network={"routes": {"a": {"to": "h:1", "upstream": "u"}}, "upstreams": {"u": "x"}}),
    with_keys(network={"upstreams": {"u": ""}}),
    with_keys(network={"upstreams": {"u": 1}}),
    with_keys(network={"upstreams": {"u": {}}}),
    with_keys(network={"upstreams": {"u v": "x"}}),
    with_keys(network={"upstreams": {"u": {"command": "x", "scope": "suite"}}}),
    with_keys(network={"upstreams": {"u": {"command": "x", "ready_timeout": 30}}}),
    with_keys(network={"upstreams": {"u": {"command": "x", "env": {"A": 1}}}}),
    with_keys(network={"limits": {"a": {}}}),
    with_keys(network={"limits": {"a": 60}}),
    with_keys(network={"limits": {"a": {"requests_per_minute": 0}}}),
    with_keys(network={"limits": {"a": {"requests_per_minute": True}}}),
    with_keys(network={"limits": {"a": {"requests_per_minute": "60"}}}),
    with_keys(network={"limits": {"a": {"requests": 1}}}),
    with_keys(network={"ca_bundle": ""}),
    with_keys(agent={"command": "x", "secrets": "OPENAI_API_KEY"}),
    with_keys(agent={"command": "x", "secrets": ["MY_KEY"]}),
    with_keys(agent={"command": "x", "secrets": [""]}),
    with_keys(agent={"command": "x", "secrets": ["1A"]}),
    with_keys(agent={"command": "x", "secrets": [{}]}),
    with_keys(agent={"command": "x", "secrets": [{"A": "a", "B": "b"}]}),
    with_keys(agent={"command": "x", "secrets": [{"A": None}]}),
    with_keys(agent={"command": "x", "secrets": [{"A": []}]}),
    with_keys(agent={"command": "x", "secrets": {"A": ""}}),
    with_keys(agent={"command": "x", "secrets": {"A": {"optional": True}}}),
    with_keys(agent={"command": "x", "secrets": {"A": {"hosts": "a"}}}),
    with_keys(agent={"command": "x", "secrets": {"A": {"hosts": ["a"], "optional": "yes"}}}),
    with_keys(agent={"command": "x", "secrets": {"A-B": "a"}}),
    with_keys(collect="x"),
    with_keys(collect=["../x"]),
    with_keys(world="none"),
    with_keys(world={"clock": {}}),
    with_keys(world={"clock": "tomorrow"}),
    with_keys(suite="a b"),
    with_keys(suite=1),
    with_keys(trials=0),
    with_keys(trials=1001),
    with_keys(trials="3"),
    with_keys(trials=True),
    with_keys(timeout=120),
    with_keys(timeout="120"),
    with_keys(timeout="fast"),
    with_keys(timeout="-1s"),
    with_keys(agent={}),
    with_keys(agent="x"),
    with_keys(agent={"command": ""}),
    with_keys(agent={"command": "a\0b"}),
    with_keys(agent={"command": "x", "protocol": "grpc"}),
    with_keys(agent={"command": "x", "env": {"1A": "x"}}),
    with_keys(agent={"command": "x", "env": {"A": 1}}),
    with_keys(agent={"command": "x", "env": []}),
    with_keys(sandbox=None),
    with_keys(sandbox={"memory": 512}),
    with_keys(sandbox={"memory": "512MB"}),
    with_keys(sandbox={"cpus": 0}),
    with_keys(sandbox={"files": {".": "../x"}}),
    with_keys(sandbox={"files": {".": "/"}}),
    with_keys(sandbox={"files": {".": ""}}),
    with_keys(sandbox={"files": {"": "/srv"}}),
    with_keys(sandbox={"setup": "make"}),
    with_keys(sandbox={"services": [{"name": "db"}]}),
    with_case(id=None),
    with_case(id="a/b"),
    with_case(id="x" * 101),
    with_case(input=None),
    with_case(input=""),
    with_case(input=1),
    with_case(conversation=[{"user": "x"}]),
    with_case(input=None, conversation=[]),
    with_case(input=None, conversation=["x"]),
    with_case(input=None, conversation=[{"simulate": {}}]),
    with_case(expect=None),
    with_case(expect=[]),
    with_case(expect={"answer": "x"}),
    with_case(expect=["answer"]),
    with_case(expect=[{}]),
    with_case(expect=[{"answer": "x", "file": "y"}]),
    with_case(expect=[{"anwser": "x"}]),
    with_case(expect=[{"processes": {}}]),
    with_case(tags="a"),
    with_case(tags=["a", "a"]),
    with_case(tags=["a b"]),
    with_case(trials=0),
    with_case(timeout=5),
    with_case(world={"clock": "x"}),
    with_case(world={"files": {"../x": "o.json"}}),
    with_case(world={"files": {"x": ""}}),
    with_case(world={"run": [1]}),
    with_case(collect=[1]),
    with_case(world="nothing"),
    with_case(world={"clock": {"zone": "Europe/Berlin", "offset": 1}}),
    with_case(world={"clock": 2028}),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with every file that the documentation's examples name."""
    for name in ("agent.py", "config/prod.toml", "evals/fixtures/orders.json", "evals/o.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "certs").mkdir()
    (tmp_path / "certs" / "staging.pem").write_text(Authority().pem)
    bulk = next((text for kind, text in BLOCKS if kind == "jsonl"), "")
    write(tmp_path, bulk, "cases.jsonl")
    return tmp_path


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(json_schema(SCORERS))


@pytest.mark.parametrize("document", GOOD, ids=repr)
def test_what_both_take(root: Path, document: Any) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(document)] == []
    assert isinstance(load(root, json.dumps(document)), Suite)


@pytest.mark.parametrize("document", BAD, ids=repr)
def test_what_both_refuse(root: Path, document: Any) -> None:
    assert not VALIDATOR.is_valid(document)
    with pytest.raises(SuiteError):
        load(root, json.dumps(document))


def sections(kind: Kind, name: str) -> dict[str, Section]:
    """Every section below a kind, by the key that holds it."""
    found: dict[str, Section] = {}
    if isinstance(kind, Section):
        found[name] = kind
        for key in kind.keys:
            found |= sections(key.kind, key.name)
    elif isinstance(kind, ListOf):
        found |= sections(kind.item, name)
    elif isinstance(kind, MapOf):
        found |= sections(kind.value, name)
    elif isinstance(kind, Secrets | Short | CaseWorld):
        found |= sections(kind.section, name)
    elif isinstance(kind, ClockKind):
        found |= sections(CLOCK, name)
    elif isinstance(kind, Cases):
        found |= sections(kind.case, name)
    elif isinstance(kind, Services):
        found |= sections(SERVICE, name)
    return found


SECTIONS = sections(SUITE, "suite")


def test_the_sections_are_all_found() -> None:
    assert set(SECTIONS) == {
        *("suite", "agent", "secrets", "sandbox", "cases", "conversation", "simulate", "budget", "world"),
        *("network", "routes", "upstreams", "limits", "services", "ready", "clock"),
    }


@pytest.mark.parametrize("name", SECTIONS)
def test_every_key_is_described_and_documented(name: str) -> None:
    for key in SECTIONS[name].keys:
        assert key.text
        assert f"| `{key.name}` |" in DOCS or f"`{{{key.name}:" in DOCS or f"`{key.name}`: " in DOCS


@pytest.mark.parametrize("text", [text for kind, text in BLOCKS if kind == "yaml"])
def test_the_examples_in_yaml(root: Path, text: str) -> None:
    """A block with `suite:` is a whole suite; any other is a part that replaces that of a small one."""
    document = parse_yaml(text, shown="docs/suite.md")[0].plain()
    document = {**with_keys(), **document}
    name = document["suite"]
    validator = Draft202012Validator(json_schema(registry.names(), keys.schema()))
    assert [error.message for error in validator.iter_errors(document)] == []
    rest = "".join(f"{key}: {json.dumps(with_keys()[key])}\n" for key in with_keys() if f"{key}:" not in text)
    path = write(root, text + "\n" + rest, f"{name}.yaml")
    suite = load_suite(path, check_expectation=registry.check, host_rules=entries, read_faults=read_faults)
    assert suite.suite == name
    for secret in suite.agent.secrets:
        assert f"- {secret}" in text or f"{secret}:" in text or f"[{secret}]" in text


def test_the_example_in_python(root: Path) -> None:
    ((text),) = [text for kind, text in BLOCKS if kind == "python"]
    suite = load_suite(write(root, text, "orders.py"), check_expectation=registry.check)
    assert [case.id for case in suite.cases] == ["order-1042", "order-1077"]


def test_the_examples_cover_all_kinds_of_file() -> None:
    assert {kind for kind, _ in BLOCKS} == {"yaml", "jsonl", "python"}


@pytest.mark.parametrize(("name", "host"), WELL_KNOWN.items())
def test_every_well_known_variable_is_documented_with_its_host(name: str, host: str) -> None:
    assert any(f"`{name}`" in line and f"`{host}`" in line for line in DOCS.splitlines())
    assert entries.name(host) == host
