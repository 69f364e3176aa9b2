"""`network` and `agent.secrets`: what they mean, and every message about wrong ones."""

# Tables of one-line snippets and messages read better unbroken.
# ruff: noqa: E501

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from suite_files import CASE, load, problems

from aegis.gateway import Authority, entries
from aegis.suite import Network, Secret, Suite

AGENT = "agent:\n  command: python3 agent.py\n"
FULL = f"""\
suite: s
{AGENT}  secrets: [OPENAI_API_KEY, {{CRM_TOKEN: crm.example}}, {{GH: {{hosts: [api.github.com], optional: true}}}}, {{DB: [db.example, "*.r.example"]}}]
network:
  allow: [api.github.com, "*.crm.example:443", "db.example:5432", "10.0.0.5:5432", pinned.example, "*.r.example"]
  routes:
    crm.example: http://127.0.0.1:9001
    other.example: {{to: "127.0.0.1:9002"}}
    orders.example: {{upstream: orders}}
    api.openai.com: {{upstream: model, unless: OPENAI_API_KEY}}
  upstreams:
    orders: python3 upstream/orders.py
    model: {{command: python3 upstream/model.py, scope: run, env: {{A: b}}, ready_timeout: 1.5s}}
  passthrough: [pinned.example]
  limits: {{api.openai.com: {{requests_per_minute: 60, tokens_per_minute: 100000}}}}
  ca_bundle: certs/staging.pem
{CASE}"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "aegis.toml").touch()
    (tmp_path / "certs").mkdir()
    (tmp_path / "certs" / "staging.pem").write_text(Authority().pem)
    (tmp_path / "certs" / "none.pem").write_text("nothing\n")
    (tmp_path / "certs" / "empty.pem").touch()
    return tmp_path


def read(root: Path, text: str, name: str = "s.yaml") -> Suite:
    return load(root, text, name, host_rules=entries)


def wrong(root: Path, text: str) -> list[str]:
    """Problems without the file's name: `line: text`."""
    found = problems(root, text, host_rules=entries)
    return [problem.removeprefix("evals/s.yaml:") for problem in found]


def suite_with(network: str = "{}", secrets: str = "[]", env: str = "{}") -> str:
    """Secrets stand on line 4, the network on line 5."""
    return (
        f"suite: s\nagent:\n  {{command: x, env: {env},\n  secrets: {secrets}}}\nnetwork: {network}\n{CASE}"
    )


def test_a_whole_network(root: Path) -> None:
    suite = read(root, FULL)
    assert suite.network.model_dump() == {
        "allow": ("api.github.com", "*.crm.example:443", "db.example:5432", "10.0.0.5:5432", "pinned.example", "*.r.example"),
        "routes": {
            "crm.example": {"to": "http://127.0.0.1:9001", "upstream": None, "unless": None},
            "other.example": {"to": "127.0.0.1:9002", "upstream": None, "unless": None},
            "orders.example": {"to": None, "upstream": "orders", "unless": None},
            "api.openai.com": {"to": None, "upstream": "model", "unless": "OPENAI_API_KEY"},
        },
        "upstreams": {
            "orders": {"command": "python3 upstream/orders.py", "scope": "trial", "env": {}, "ready_timeout": 30.0},
            "model": {"command": "python3 upstream/model.py", "scope": "run", "env": {"A": "b"}, "ready_timeout": 1.5},
        },
        "passthrough": ("pinned.example",),
        "limits": {"api.openai.com": {"requests_per_minute": 60.0, "tokens_per_minute": 100000.0}},
        "ca_bundle": "certs/staging.pem",
    }  # fmt: skip
    assert suite.agent.secrets == {
        "OPENAI_API_KEY": Secret(hosts=("api.openai.com",), optional=True),
        "CRM_TOKEN": Secret(hosts=("crm.example",)),
        "GH": Secret(hosts=("api.github.com",), optional=True),
        "DB": Secret(hosts=("db.example", "*.r.example")),
    }
    assert Suite.model_validate_json(suite.model_dump_json()) == suite


def test_without_the_key_nothing_is_allowed(root: Path) -> None:
    suite = read(root, f"suite: s\n{AGENT}{CASE}")
    assert suite.network == Network()
    assert suite.agent.secrets == {}


def test_secrets_as_a_mapping_mean_the_same(root: Path) -> None:
    network = "{allow: [api.openai.com, crm.example, a.example, b.example]}"
    listed = "[{OPENAI_API_KEY: {optional: true}}, {C: crm.example}, {A: [a.example, b.example]}]"
    mapped = "{OPENAI_API_KEY: {optional: true}, C: crm.example, A: {hosts: [a.example, b.example]}}"
    one, other = (read(root, suite_with(network, secrets)) for secrets in (listed, mapped))
    assert one.agent.secrets == other.agent.secrets
    assert one.agent.secrets["OPENAI_API_KEY"] == Secret(hosts=("api.openai.com",), optional=True)


def test_a_secret_without_a_route_in_its_place_is_required(root: Path) -> None:
    suite = read(root, suite_with("{allow: [api.openai.com]}", "[OPENAI_API_KEY]"))
    assert suite.agent.secrets["OPENAI_API_KEY"].optional is False


def test_a_python_suite_takes_the_same(root: Path) -> None:
    whole = read(root, FULL)
    value = f"import json\nfrom aegis.suite import Suite\nsuite = Suite.model_validate(json.loads({whole.model_dump_json()!r}))\n"
    (root / "evals" / "s.yaml").unlink()
    again = read(root, value, "s.py")
    assert (again.network, again.agent) == (whole.network, whole.agent)
    plain = {
        "suite": "p",
        "agent": {"command": "x", "secrets": ("OPENAI_API_KEY", {"T": "a.example"})},
        "network": {"allow": ("a.example", "api.openai.com"), "upstreams": {}},
        "cases": [{"id": "a", "input": "x", "expect": [{"answer": "x"}]}],
    }
    suite = read(root, f"suite = {plain!r}", "p.py")
    assert suite.agent.secrets["T"] == Secret(hosts=("a.example",))
    assert suite.network.allow == ("a.example", "api.openai.com")


def test_a_python_suite_has_lines_too(root: Path) -> None:
    text = (
        'suite = {\n    "suite": "s",\n    "agent": {"command": "x"},\n    "network": {\n        "allow": [\n'
        '            "a..b",\n        ],\n    },\n    "cases": [{"id": "a", "input": "x", "expect": [{"answer": "x"}]}],\n}\n'
    )
    (problem,) = problems(root, text, "s.py", host_rules=entries)
    assert problem.startswith(
        "evals/s.py:6: network.allow[0]: not a host name: 'a..b'; expected a host such as"
    )


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        ("{alow: []}", "unknown key 'alow' in network (did you mean 'allow'?)"),
        ("[a.example]", "network: expected a mapping with keys such as allow, routes, upstreams, got a list"),
        ("{allow: a.example}", "network.allow: expected a list of hosts such as [api.example], got 'a.example' (write it as a list: [...])"),
        ("{allow: ['']}", "network.allow[0]: expected a host such as api.example, *.crm.example, db.example:5432 or 10.0.0.5:5432, got ''"),
        ("{allow: ['https://a.example/v1']}", "network.allow[0]: expected a host such as api.example, *.crm.example, db.example:5432 or 10.0.0.5:5432, got 'https://a.example/v1' (write a.example)"),
        ("{allow: ['http://a.example:8080/v1']}", "network.allow[0]: expected a host such as api.example, *.crm.example, db.example:5432 or 10.0.0.5:5432, got 'http://a.example:8080/v1' (write a.example:8080)"),
        ("{allow: ['a.example:0']}", "network.allow[0]: the port of 'a.example:0' is not from 1 to 65535; expected"),
        ("{allow: ['a.example:65536']}", "network.allow[0]: the port of 'a.example:65536' is not from 1 to 65535"),
        ("{allow: ['a.example:1234567']}", "network.allow[0]: the port of 'a.example:1234567' is not from 1 to 65535"),
        ("{allow: ['a.example:https']}", "network.allow[0]: what stands behind the colon of 'a.example:https' is no port"),
        ("{allow: ['a.*.example']}", "network.allow[0]: not a host name: 'a.*.example'"),
        ("{allow: ['*example']}", "network.allow[0]: a wildcard is written *.name, not '*example'"),
        ("{allow: ['*.10.0.0.5']}", "network.allow[0]: an address has no names below it"),
        ("{allow: ['1.2.3.999']}", "network.allow[0]: not an address: '1.2.3.999'"),
        ("{allow: [a.example, b.example, A.example.]}", "network.allow[2]: 'A.example.' is the same as 'a.example' above"),
        ("{allow: ['127.0.0.1:1', '0x7f.1:1']}", "network.allow[1]: '0x7f.1:1' is the same as '127.0.0.1:1' above"),
        ("{routes: {a.example: 'http://h:1', A.EXAMPLE: 'http://h:2'}}", "network.routes['A.EXAMPLE']: 'A.EXAMPLE' is the same as 'a.example' above"),
        ("{routes: {a..b: 'http://h:1'}}", "network.routes['a..b']: not a host name: 'a..b'"),
        ("{routes: {a.example: 'h'}}", "network.routes['a.example']: a port is missing; expected http://host:port, https://host:port or host:port"),
        ("{routes: {a.example: {to: 'http://h:99999'}}}", "network.routes['a.example'].to: not a port: 'h:99999'; expected http://host:port"),
        ("{routes: {a.example: 'http://h/path'}}", "network.routes['a.example']: expected http://host:port, https://host:port or host:port, got 'http://h/path'"),
        ("{routes: {a.example: 9001}}", "network.routes['a.example']: expected http://host:port, https://host:port or host:port, or a mapping such as {upstream: NAME}, got the number 9001"),
        ("{routes: {a.example: {}}}", "network.routes['a.example']: needs 'to' or 'upstream'"),
        ("{routes: {a.example: {upstream: ordres}}, upstreams: {orders: x}}", "network.routes['a.example'].upstream: there is no upstream 'ordres' (did you mean 'orders'?)"),
        ("{routes: {a.example: {upstream: orders}}}", "network.routes['a.example'].upstream: there is no upstream 'orders'"),
        ("{routes: {a.example: {to: 'h:1', unless: KEY}}}", "network.routes['a.example'].unless: 'KEY' is not in agent.secrets"),
        ("{upstreams: {orders: x}}", "network.upstreams.orders: no route leads to it: add one, or take it out"),
        ("{upstreams: {u: {command: x, env: {PORT: '1'}}}, routes: {a: {upstream: u}}}", "network.upstreams.u.env.PORT: names the port that is chosen for the program: take it out"),
        ("{upstreams: {u: {command: x, scope: trail}}, routes: {a: {upstream: u}}}", "network.upstreams.u.scope: unknown scope 'trail' (did you mean 'trial'?)"),
        ("{upstreams: {u: {command: x, ready_timeout: 2h}}, routes: {a: {upstream: u}}}", "network.upstreams.u.ready_timeout: expected a duration from 100ms to 1h, got '2h'"),
        ("{passthrough: [a.example]}", "network.passthrough[0]: a.example is neither allowed nor routed: add it to network.allow, or take it out"),
        ("{allow: ['*'], limits: {a.example: {}}}", "network.limits['a.example']: needs 'requests_per_minute' or 'tokens_per_minute'"),
        ("{allow: ['*'], limits: {'*.example': {tokens_per_minute: 1}}}", "network.limits['*.example']: a host by itself stands here, without *"),
        ("{allow: ['*'], limits: {'a.example:443': {tokens_per_minute: 1}}}", "network.limits['a.example:443']: a host by itself stands here, without a port"),
        ("{allow: ['*'], limits: {a.example: {tokens_per_minute: -1}}}", "network.limits['a.example'].tokens_per_minute: expected a number above 0, at most 1e+12, got the number -1"),
        ("{allow: [b.example], limits: {a.example: {tokens_per_minute: 1}}}", "network.limits['a.example']: a.example is neither allowed nor routed"),
        ("{ca_bundle: certs/gone.pem}", "network.ca_bundle: 'certs/gone.pem' does not exist (looked for certs/gone.pem)"),
        ("{ca_bundle: certs}", "network.ca_bundle: 'certs' is a folder, not a file"),
        ("{ca_bundle: ../x.pem}", "network.ca_bundle: '../x.pem' leads out of the project"),
        ("{ca_bundle: certs/none.pem}", "network.ca_bundle: 'certs/none.pem' holds no certificates in PEM form"),
        ("{ca_bundle: certs/empty.pem}", "network.ca_bundle: 'certs/empty.pem' holds no certificates in PEM form"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_network(root: Path, network: str, expected: str) -> None:
    (problem,) = wrong(root, suite_with(network))
    assert problem.startswith(f"5: {expected}")


@pytest.mark.parametrize(
    ("secrets", "expected"),
    [
        ("OPENAI_API_KEY", "agent.secrets: expected a list such as [OPENAI_API_KEY], got 'OPENAI_API_KEY'"),
        ("[MY_KEY]", "agent.secrets[0]: no host is known for the secret MY_KEY: write {MY_KEY: api.example} with the hosts that may see its value"),
        ("[OPEN_AI_API_KEY]", "agent.secrets[0]: no host is known for the secret OPEN_AI_API_KEY (did you mean 'OPENAI_API_KEY'?): write {OPEN_AI_API_KEY: api.example}"),
        ("{MY_KEY: {optional: true}}", "agent.secrets.MY_KEY: no host is known for the secret MY_KEY"),
        ("[1A]", "agent.secrets[0]: expected the name of an environment variable, got '1A'"),
        ("[{A: a, B: b}]", "agent.secrets[0]: expected one secret such as OPENAI_API_KEY or {CRM_TOKEN: crm.example}, got 2 keys"),
        ("[3]", "agent.secrets[0]: expected one secret such as OPENAI_API_KEY or {CRM_TOKEN: crm.example}, got the number 3"),
        ("[{A: 3}]", "agent.secrets[0].A: expected the hosts that may see the value, got the number 3"),
        ("[{A: []}]", "agent.secrets[0].A: expected a list of hosts such as [api.example], got an empty list"),
        ("[{A: {host: ok.example}}]", "unknown key 'host' in agent.secrets[0].A (did you mean 'hosts'?)"),
        ("{A: {hosts: [ok.example], optional: 1}}", "agent.secrets.A.optional: expected true or false, got the number 1"),
        ("[{A: 'https://ok.example'}]", "agent.secrets[0].A: expected a host such as api.example, *.crm.example, db.example:5432 or 10.0.0.5:5432, got 'https://ok.example' (write ok.example)"),
        ("[{A: [ok.example, a..b]}]", "agent.secrets[0].A[1]: not a host name: 'a..b'; expected a host such as"),
        ("{A: {hosts: [ok.example, OK.example]}}", "agent.secrets.A.hosts[1]: 'OK.example' is the same as 'ok.example' above"),
        ("[{A: ok.example}, {A: ok.example}]", "agent.secrets[1].A: the secret A stands twice"),
        ("[{IN_ENV: ok.example}]", "agent.secrets[0].IN_ENV: the secret IN_ENV is also in agent.env: keep one of the two"),
        ("[OPENAI_API_KEY]", "agent.secrets[0]: api.openai.com is neither allowed nor routed, so the secret OPENAI_API_KEY could never be used there: add it to network.allow"),
        ("{A: {hosts: [ok.example, nope.example]}}", "agent.secrets.A.hosts[1]: nope.example is neither allowed nor routed, so the secret A"),
        ("[{A: 'ok.example:8443'}]", "agent.secrets[0].A: ok.example:8443 is neither allowed nor routed"),
        ("[{A: pinned.example}]", "agent.secrets[0].A: the TLS of pinned.example is passed through unopened, so the secret A can't be put in"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_secrets(root: Path, secrets: str, expected: str) -> None:
    network = "{allow: [ok.example, pinned.example], passthrough: [pinned.example]}"
    (problem,) = wrong(root, suite_with(network, secrets, env="{IN_ENV: x}"))
    assert problem.startswith(f"4: {expected}")


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("a.example", "{allow: [a.example]}"),
        ("a.example", "{allow: ['*']}"),
        ("a.example", "{allow: ['a.example:8443']}"),
        ("a.example:443", "{allow: [a.example]}"),
        ("a.b.example", "{allow: ['*.example']}"),
        ("*.b.example", "{allow: [a.b.example]}"),
        ("*.b.example", "{allow: ['*.example']}"),
        ("*.example", "{allow: ['*.b.example']}"),
        ("a.example", "{routes: {a.example: 'http://h:1'}}"),
        ("a.example", "{routes: {'*.example': {upstream: u}}, upstreams: {u: x}}"),
        ("10.0.0.5:5432", "{allow: ['10.0.0.5:5432']}"),
        ("p.example", "{allow: [p.example, 'p.example:8443'], passthrough: ['p.example:8443']}"),
        ("p.example", "{routes: {p.example: 'http://h:1'}, passthrough: [p.example]}"),
    ],
)
def test_where_a_secret_can_be_used(root: Path, host: str, network: str) -> None:
    suite = read(root, suite_with(network, f"[{{A: '{host}'}}]"))
    assert suite.agent.secrets["A"].hosts == (host,)


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("a.example", "{allow: ['*.a.example']}"),
        ("a.example", "{allow: [ba.example]}"),
        ("*.b.example", "{allow: [b.example]}"),
        ("*.b.example", "{allow: ['*.bb.example']}"),
        ("a.example:5432", "{allow: [a.example]}"),
        ("10.0.0.5", "{allow: ['*']}"),
    ],
)
def test_where_a_secret_can_not_be_used(root: Path, host: str, network: str) -> None:
    (problem,) = wrong(root, suite_with(network, f"[{{A: '{host}'}}]"))
    assert f"{host} is neither allowed nor routed" in problem


def test_a_misspelt_host_is_not_also_unreachable(root: Path) -> None:
    found = wrong(
        root, suite_with("{allow: ['api.openai.com:x'], passthrough: [a.example]}", "[OPENAI_API_KEY]")
    )
    assert [problem.split(":")[1].strip() for problem in found] == ["network.allow[0]"]
    found = wrong(root, suite_with("{routes: {'https://api.openai.com': 'http://h:1'}}", "[OPENAI_API_KEY]"))
    assert len(found) == 1


def test_a_misspelt_upstream_is_not_also_unused(root: Path) -> None:
    network = "{routes: {a.example: {upstream: ordres}}, upstreams: {orders: x}}"
    assert len(wrong(root, suite_with(network))) == 1


def test_a_route_in_place_of_a_required_secret_is_never_used(root: Path) -> None:
    network = "{routes: {a.example: {to: 'http://h:1', unless: A}}}"
    (problem,) = wrong(root, suite_with(network, "{A: {hosts: [a.example], optional: false}}"))
    assert problem == (
        "5: network.routes['a.example'].unless: the secret A is not optional, so this route would never be used: "
        "take out its 'optional: false'"
    )


def test_unless_names_a_secret_that_is_nearly_there(root: Path) -> None:
    network = "{routes: {api.x.ai: {to: 'http://h:1', unless: XAI_KEY}}}"
    (problem,) = wrong(root, suite_with(network, "[XAI_API_KEY]"))
    assert problem.endswith("'XAI_KEY' is not in agent.secrets (did you mean 'XAI_API_KEY'?)")


def test_all_problems_come_at_once_with_their_lines(root: Path) -> None:
    text = f"""\
suite: s
agent:
  command: x
  env: {{A: x}}
  secrets:
    - A: a.example
    - UNKNOWN
network:
  allow:
    - ok.example
    - ok.example:0
    - ok.example
  routes:
    b.example: {{upstream: u}}
    c.example: {{to: "h:1", unless: B}}
  limits:
    ok.example: {{requests_per_minute: 0}}
  ca_bundle: nope.pem
{CASE}"""
    assert [int(problem.split(":")[0]) for problem in wrong(root, text)] == [6, 7, 11, 12, 14, 15, 17, 18]


def test_without_rules_only_the_shape_is_checked(root: Path) -> None:
    assert load(root, suite_with("{allow: [a..b]}", "[OPENAI_API_KEY]")).network.allow == ("a..b",)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("[*.crm.example]", 'alias *.crm.example has no anchor &.crm.example before it (write text in quotes: "*.crm.example")'),
        ("[*]", "not valid YAML: a '*' that begins a value needs quotes"),
    ],
)  # fmt: skip
def test_a_wildcard_without_quotes(root: Path, written: str, expected: str) -> None:
    assert wrong(root, suite_with(f"{{allow: {written}}}")) == [f"5: {expected}"]


@pytest.mark.parametrize(
    "value", [None, True, 3, "x", [], {}, [None], {"a": None}, {"": []}, [{"a": {"b": [1]}}]]
)
@pytest.mark.parametrize(
    "key", ["secrets", "network", "allow", "routes", "upstreams", "passthrough", "limits", "ca_bundle"]
)
def test_any_value_anywhere_is_a_suite_or_a_suite_error(root: Path, key: str, value: Any) -> None:
    agent: dict[str, Any] = {"command": "x"}
    document: dict[str, Any] = {
        "suite": "p",
        "agent": agent,
        "cases": [{"id": "a", "input": "x", "expect": [{"answer": "x"}]}],
    }
    holder = {"secrets": agent, "network": document}.get(key)
    if holder is None:
        holder = document["network"] = {"allow": ["*"]}
    holder[key] = value
    empty = not value and isinstance(value, list | dict)
    fits = (key == "network" and value == {}) or (
        empty and isinstance(value, dict) == (key in ("routes", "upstreams", "limits")) and key != "ca_bundle"
    )
    fits = fits or (key == "secrets" and empty)
    text = f"suite = {document!r}"
    if fits and not (key == "network" and value == []):
        assert isinstance(read(root, text, "p.py"), Suite)
    else:
        assert problems(root, text, "p.py", host_rules=entries)
