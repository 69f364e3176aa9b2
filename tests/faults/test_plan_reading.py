"""From the key `faults` to rules: what is taken, and every mistake with its file and line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from plan_suites import FIRST, HEAD, load, problems, profile, suite_of

from aegis.errors import UsageError
from aegis.suite.model import FaultMatch, FaultRule

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "suite.md").read_text(encoding="utf-8")


def rules(root: Path, *written: str) -> tuple[FaultRule, ...]:
    return load(root, suite_of(*written)).cases[0].faults


def wrong(root: Path, *written: str) -> list[str]:
    """Each problem without its place; all of them are of the last rule."""
    found = problems(root, suite_of(*written))
    place = f"evals/s.yaml:{FIRST + len(written) - 1}: "
    assert all(problem.startswith(place) for problem in found), found
    return [problem.removeprefix(place) for problem in found]


def test_every_key_of_a_rule(tmp_path: Path) -> None:
    (rule,) = rules(
        tmp_path,
        "{inject: rate-limit, id: limit/1, retry_after: 2s, require_fired: true, every: 2, from: 3, to: 9, after: 1, "
        "probability: 0.5, until: 4, match: {host: [CRM.example, '*.openai.com'], port: 443, method: [get, POST], "
        "path: '/orders/*', body: {$.order: 1042}, tool: ['a', 'b*'], call: tool, credential: CRM_TOKEN}}",
    )
    assert rule == FaultRule(
        id="limit/1",
        inject="rate-limit",
        match=FaultMatch(
            host=("crm.example", "*.openai.com"),
            port=443,
            method=("GET", "POST"),
            path=("/orders/*",),
            body={"$.order": 1042},
            tool=("a", "b*"),
            call="tool",
            credential="CRM_TOKEN",
        ),
        first=3,
        last=9,
        every=2,
        after=1,
        probability=0.5,
        until_hits=4,
        require_fired=True,
        params={"retry_after": "2s"},
        source=f"evals/s.yaml:{FIRST}",
    )


@pytest.mark.parametrize(
    ("written", "fields"),
    [
        ("on: 3", {"on": (3,)}),
        ("on: [1, 4]", {"on": (1, 4)}),
        ("after: 3", {"after": 3}),
        ("after: 1500ms", {"after_s": 1.5}),
        ("until: 3", {"until_hits": 3}),
        ("until: 1m", {"until_s": 60.0}),
        (
            "until: {path: /x, host: crm.example}",
            {"until_match": FaultMatch(path=("/x",), host=("crm.example",))},
        ),
        ("match: crm.example", {"match": FaultMatch(host=("crm.example",))}),
        ("match: {credential: none}", {"match": FaultMatch(credential="none")}),
        ("match: {host: db.example}", {"match": FaultMatch(host=("db.example",))}),
        ("match: {host: 'tools.mcp-stdio'}", {"match": FaultMatch(host=("tools.mcp-stdio",))}),
    ],
)
def test_the_ways_to_write_it(tmp_path: Path, written: str, fields: dict[str, Any]) -> None:
    (rule,) = rules(tmp_path, f"{{inject: latency, {written}}}")
    assert {name: getattr(rule, name) for name in fields} == fields


def test_ids_are_all_different(tmp_path: Path) -> None:
    text = suite_of("{inject: latency}", "{inject: latency, id: slow}", "{inject: latency}").replace(
        "{id: b,", "{id: b, faults: [{inject: latency}],"
    )
    suite = load(tmp_path, text)
    assert [rule.id for rule in suite.cases[0].faults] == ["latency", "slow", "latency-2"]
    assert [rule.id for rule in suite.cases[1].faults] == ["latency", "latency-2", "slow", "latency-2-2"]


def test_a_case_without_any(tmp_path: Path) -> None:
    text = suite_of("{inject: latency}").replace("{id: b,", "{id: b, faults: none,")
    assert [len(case.faults) for case in load(tmp_path, text).cases] == [1, 0]


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (["mcp"], [{"mcp"}, {"own", "mcp"}]),
        (["none"], [set(), set()]),
        (None, [{"latency"}, {"own", "latency"}]),
    ],
)
def test_what_the_command_line_names_stands_in_place_of_the_suites(
    tmp_path: Path, names: list[str] | None, ids: list[set[str]]
) -> None:
    text = suite_of("{inject: latency}").replace("{id: b,", "{id: b, faults: [{inject: hang, id: own}],")
    found = load(tmp_path, text, faults=names)
    assert [{rule.id.partition("/")[0] for rule in case.faults} for case in found.cases] == ids


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["flaky-prodution"], "there is no profile 'flaky-prodution' (did you mean 'flaky-production'?)"),
        (["none", "mcp"], "none stands alone"),
        (["stripe"], "the profile stripe is about hosts that are neither allowed nor routed: api.stripe.com"),
    ],
)
def test_what_the_command_line_cannot_name(tmp_path: Path, names: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(tmp_path, HEAD, faults=names)
    assert message in str(caught.value)
    assert "--faults" in str(caught.value)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        # the fault
        ("{inject: latancy}", "faults[0].inject: unknown fault 'latancy' (did you mean 'latency'?)"),
        ("{inject: qqq}", "faults[0].inject: unknown fault 'qqq' (aegis faults list shows them all)"),
        ("{inject: 5}", "faults[0].inject: expected the name of a fault, got the number 5"),
        ("{injekt: latency}",
            "faults[0]: key 'inject' is missing: the name of a fault (did you write 'injekt' for it?)"),
        ("{on: 3}", "faults[0]: key 'inject' is missing: the name of a fault (aegis faults list)"),
        ("5",
            "faults[0]: expected a rule such as {inject: rate-limit, on: 1} or the name of a profile, "
            "got the number 5"),
        ("none", "faults[0]: none stands alone: faults: none"),
        # its parameters
        ("{inject: latency, delay: 20m}", "faults[0].delay: expected a duration from 1ms to 10m, got '20m'"),
        ("{inject: latency, delay: 5}", "faults[0].delay: expected a duration such as 500ms, 2s or 5m, "
            "got the number 5 (write the unit: 5s)"),
        ("{inject: latency, dely: 2s}", "unknown key 'dely' in faults[0] (did you mean 'delay'?)"),
        ("{inject: rate-limit, window: 5s}",
            "faults[0]: window says how fast a bucket fills again: it needs requests, the bucket's size"),
        ("{inject: overloaded, status: 404}",
            "faults[0].status: expected a whole number from 500 to 599, got the number 404"),
        # which matches
        ("{inject: latency, on: 0}", "faults[0].on: expected a whole number from 1 to 1000000, got the number 0"),
        ("{inject: latency, on: []}", "faults[0].on: expected numbers of matches, got an empty list"),
        ("{inject: latency, on: 1, every: 2}", "faults[0].on: names its matches: take out 'from', 'to' and 'every'"),
        ("{inject: latency, on: 1, from: 2}", "faults[0].on: names its matches: take out 'from', 'to' and 'every'"),
        ("{inject: latency, on: [1, 2], after: 2}", "faults[0].on: is not after match 2: it could never hit"),
        ("{inject: latency, from: 5, to: 2}", "faults[0].to: is before the first match that it picks (5)"),
        ("{inject: latency, after: 5, to: 5}", "faults[0].to: is before the first match that it picks (6)"),
        ("{inject: latency, every: 4, from: 2, to: 3}", "faults[0].to: is before the first match that it picks (4)"),
        ("{inject: latency, after: 20s, until: 10s}", "faults[0].until: is over when 'after' begins (20s)"),
        ("{inject: latency, probability: 0}",
            "faults[0].probability: expected a number above 0, at most 1, got the number 0"),
        ("{inject: latency, after: soon}", "faults[0].after: expected a duration such as 500ms, 2s or 5m, got 'soon'"),
        ("{inject: latency, require_fired: 1}", "faults[0].require_fired: expected true or false, got the number 1"),
        ("{inject: latency, id: 'a b'}",
            "faults[0].id: expected a name of letters, digits, '.', '_', '-' and '/', got 'a b'"),
        # which exchanges
        ("{inject: latency, match: {hots: crm.example}}",
            "unknown key 'hots' in faults[0].match (did you mean 'host'?)"),
        ("{inject: latency, match: {}}", "faults[0].match: needs 'host' or 'port' or 'method' or 'path' or 'body' or "
            "'tool' or 'call' or 'credential'"),
        ("{inject: latency, match: 'crm.example:443'}", "faults[0].match: expected a host such as crm.example or "
            "*.example, got 'crm.example:443' (write port: 443 beside it)"),
        ("{inject: latency, match: {path: orders}}",
            "faults[0].match.path: expected a path that begins with / or *, got 'orders'"),
        ("{inject: latency, match: {method: 'GET POST'}}",
            "faults[0].match.method: expected a method such as GET, got 'GET POST'"),
        ("{inject: latency, match: {body: {'$.a b': 1}}}",
            "faults[0].match.body['$.a b']: expected a JSON path such as $.items[0].price, got '$.a b'"),
        ("{inject: latency, match: {body: {$.a: []}}}",
            "faults[0].match.body['$.a']: expected a text, a number, true, false or null, got an empty list"),
        ("{inject: latency, match: {call: llm}}", "faults[0].match.call: unknown call 'llm' (known: model, tool)"),
        ("{inject: latency, match: {credential: CRM_TOKN}}",
            "faults[0].match.credential: 'CRM_TOKN' is not in agent.secrets (did you mean 'CRM_TOKEN'?)"),
        ("{inject: latency, until: {credential: X}}", "faults[0].until.credential: 'X' is not in agent.secrets"),
        ("{inject: refuse, match: {method: GET}}",
            "faults[0].match: refuse comes before any request: only host and port can be matched"),
    ],
)  # fmt: skip
def test_mistakes_in_a_rule(tmp_path: Path, rule: str, expected: str) -> None:
    assert wrong(tmp_path, rule) == [expected]


NEVER = "neither allowed nor routed (network.allow)"


@pytest.mark.parametrize(
    ("rule", "where"),
    [
        ("{inject: latency, match: shop.example}", "faults[0].match: can never match: shop.example is"),
        ("{inject: latency, match: '*.shop.example'}", "faults[0].match: can never match: *.shop.example is"),
        ("{inject: latency, match: {host: crm.example, port: 8443}}",
            "faults[0].match: can never match: crm.example at port 8443 is"),
        ("{inject: latency, match: {host: db.example, port: 443}}",
            "faults[0].match: can never match: db.example at port 443 is"),
        ("{inject: latency, match: {host: shop.example, tool: pay}}",
            "faults[0].match: can never match: shop.example is"),
        # A server in the sandbox is not reached by HTTP, and its messages cannot be truncated.
        ("{inject: truncate, match: tools.mcp-stdio}", "faults[0].match: can never match: tools.mcp-stdio is"),
        ("{inject: latency, until: {host: shop.example}}", "faults[0].until: can never match: shop.example is"),
    ],
)  # fmt: skip
def test_matches_that_can_never_be(tmp_path: Path, rule: str, where: str) -> None:
    assert wrong(tmp_path, rule) == [f"{where} {NEVER}"]


def test_without_a_network_only_servers_in_the_sandbox_can_be_meant(tmp_path: Path) -> None:
    text = suite_of("{inject: tool-error}", "{inject: reset}").replace("network:", "description: ''\n#")
    text = text.replace(", secrets: [{CRM_TOKEN: crm.example}]", "")
    assert problems(tmp_path, text) == [
        f"evals/s.yaml:{FIRST + 2}: faults[1].match: can never match: any host is {NEVER}"
    ]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("{inject: overloaded, on: 1}", "{inject: server-error, on: 1}"),
        ("{inject: rate-limit, on: [1, 3]}", "{inject: forbidden, on: 3, probability: 0.5}"),
        ("{inject: overloaded, match: {call: model}}", "{inject: reset, from: 3, match: {call: model}}"),
        ("{inject: hang}", "{inject: overloaded, from: 3}"),
        ("{inject: reset, every: 2}", "{inject: overloaded, every: 4}"),
        ("{inject: truncate, match: crm.example}", "{inject: garbage, on: 2, match: {host: crm.example}}"),
        ("{inject: refuse}", "{inject: refuse, on: 4}"),
    ],
)
def test_faults_that_exclude_each_other(tmp_path: Path, first: str, second: str) -> None:
    (found,) = wrong(tmp_path, first, second)
    assert re.fullmatch(
        r"faults\[1\]: ([\w-]+) could never hit: ([\w-]+) takes every exchange that it picks .*", found
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("{inject: overloaded, on: 1}", "{inject: server-error, on: [1, 2]}"),
        ("{inject: overloaded, probability: 0.9}", "{inject: server-error}"),
        ("{inject: overloaded, until: 3}", "{inject: server-error}"),
        ("{inject: overloaded, match: crm.example}", "{inject: server-error}"),
        ("{inject: rate-limit, requests: 5}", "{inject: overloaded, on: 1}"),
        ("{inject: overloaded}", "{inject: truncate}"),
        ("{inject: latency}", "{inject: latency}"),
        # What the first can't act on is the second's.
        ("{inject: graphql-errors}", "{inject: overloaded}"),
        ("{inject: close-idle}", "{inject: overloaded}"),
        ("{inject: overloaded}", "{inject: tool-error}"),
        ("{inject: overloaded}", "{inject: reset}"),
        # A name that does not resolve leads to no connection that could be refused.
        ("{inject: refuse, on: 1}", "{inject: dns-failure, on: 1}"),
    ],
)
def test_faults_that_do_not(tmp_path: Path, first: str, second: str) -> None:
    assert len(rules(tmp_path, first, second)) == 2


def test_the_same_id_twice(tmp_path: Path) -> None:
    assert wrong(tmp_path, "{inject: latency, id: x}", "{inject: hang, id: x}") == [
        "faults[1].id: 'x' is the id of another rule too"
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("5", "expected the name of a profile such as flaky-production, or a list such as"),
        ("{inject: latency}", "expected the name of a profile such as flaky-production, or a list such as"),
        ("flaky", "there is no profile 'flaky'"),
    ],
)
def test_values_that_are_no_faults(tmp_path: Path, value: str, expected: str) -> None:
    (found,) = problems(tmp_path, f"{HEAD}faults: {value}\n")
    assert found.startswith(f"evals/s.yaml:7: faults: {expected}"), found


def test_mistakes_of_a_case_name_it(tmp_path: Path) -> None:
    text = HEAD.replace("{id: b,", "{id: b, faults: [{inject: latancy}],")
    assert problems(tmp_path, text) == [
        "evals/s.yaml:6: faults[0].inject of case 'b': unknown fault 'latancy' (did you mean 'latency'?)"
    ]


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    found = problems(tmp_path, suite_of("{inject: x}", "{inject: latency, on: 0}", "{inject: hang, for: 0s}"))
    assert [problem.split(":")[1] for problem in found] == ["8", "9", "10"]


PROFILE = "profile: own\nrules:\n  - {inject: latency, match: crm.example}\n"


def test_a_profile_of_the_projects_own(tmp_path: Path) -> None:
    profile(tmp_path, "own", PROFILE)
    (rule,) = rules(tmp_path, "own")
    assert (rule.id, rule.source) == ("own/latency", "profile own")


def test_it_wins_over_a_built_in_one(tmp_path: Path) -> None:
    profile(tmp_path, "mcp", PROFILE.replace("own", "mcp"))
    assert [rule.inject for rule in rules(tmp_path, "mcp")] == ["latency"]


def test_a_profile_may_name_another(tmp_path: Path) -> None:
    profile(tmp_path, "own", PROFILE)
    profile(tmp_path, "both", "profile: both\nrules: [own, {inject: hang}]\n")
    assert [rule.id for rule in rules(tmp_path, "both")] == ["both/own/latency", "both/hang"]


def test_rules_about_hosts_out_of_reach_are_left_out(tmp_path: Path) -> None:
    profile(tmp_path, "own", PROFILE + "  - {inject: hang, match: shop.example}\n")
    assert [rule.id for rule in rules(tmp_path, "own")] == ["own/latency"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PROFILE.replace("crm.example", "shop.example"), "evals/s.yaml:8: faults[0]: the profile own is about "
            "hosts that are neither allowed nor routed: shop.example"),
        (PROFILE.replace("latency", "latancy"), "evals/faults/own.yaml:3: rules[0].inject: unknown fault 'latancy' "
            "(did you mean 'latency'?)"),
        (PROFILE.replace("crm.example", "{credential: X}"),
            "evals/faults/own.yaml:3: rules[0].match.credential: 'X' is not in agent.secrets"),
        ("profile: own\nrules: [own]\n", "evals/faults/own.yaml:2: rules[0]: the profile own holds itself: own → own"),
        ("profile: own\nrules: []\n", "evals/s.yaml:8: faults[0]: evals/faults/own.yaml:2: rules: expected a list of "
            "rules such as [{inject: rate-limit}], got an empty list"),
        ("profile: other\nrules: [{inject: hang}]\n", "evals/s.yaml:8: faults[0]: evals/faults/own.yaml:1: profile: is "
            "'other', but its file is own.yaml: name both alike"),
        ("profile: own\nrule: [{inject: hang}]\n", "evals/s.yaml:8: faults[0]: evals/faults/own.yaml:2: unknown key "
            "'rule' in the suite (did you mean 'rules'?)"),
        ("profile: own\nrules: [\n", "evals/s.yaml:8: faults[0]: evals/faults/own.yaml:3: "),
        ("", "evals/s.yaml:8: faults[0]: evals/faults/own.yaml:1: the file holds no document"),
    ],
)  # fmt: skip
def test_profiles_that_are_wrong(tmp_path: Path, text: str, expected: str) -> None:
    profile(tmp_path, "own", text)
    (found,) = problems(tmp_path, suite_of("own"))
    assert found == expected or (expected.endswith(": ") and found.startswith(expected))


def test_profiles_that_hold_each_other(tmp_path: Path) -> None:
    profile(tmp_path, "one", "profile: one\nrules: [two]\n")
    profile(tmp_path, "two", "profile: two\nrules:\n  - one\n")
    assert problems(tmp_path, suite_of("one")) == [
        "evals/faults/two.yaml:3: rules[0]: the profile one holds itself: one → two → one"
    ]


DOCUMENTED = """\
suite: s
agent:
  command: python3 agent.py
  secrets: [{CRM_TOKEN: crm.example}]
network:
  allow: [crm.example]
cases:
  - {id: a, input: hi, expect: [{answer: x}]}


faults:
  - inject: latancy
  - {inject: rate-limit, retry_afer: 2s}

  - {inject: latency, delay: 20m}


  - {inject: latency, match: shop.example}


  - {inject: latency, on: 1, every: 2}
  - {inject: rate-limit, on: 1}

  - {inject: overloaded, on: 1}


  - {inject: latency, match: {credential: CRM_KEY}}


  - flaky-prod
  - crm
"""


def test_the_messages_of_the_documentation(tmp_path: Path) -> None:
    shown = next(text for text in re.findall(r"^```text\n(.*?)^```", DOCS, re.M | re.S) if "latancy" in text)
    profile(
        tmp_path, "crm", "profile: crm\n\nrules:\n  - inject: latency\n    match: crm.example\n    from: 0\n"
    )
    found = [
        problem.replace("evals/s.yaml", "evals/support.yaml") for problem in problems(tmp_path, DOCUMENTED)
    ]
    for line in shown.splitlines():
        assert any(problem.startswith(line) for problem in found), (line, found)
    assert len(found) == len(shown.splitlines())


def test_of_expired_tokens_a_trial_has_its_own_rule_only() -> None:
    from aegis.suite.faultkeys import combined
    from support.storm import rule

    own = rule("token-expired", mint=False)
    shared = (rule("token-expired", id="profile/token-expired"), rule("latency", delay="1s"))
    assert [item.id for item in combined((own,), shared)] == ["token-expired", "latency"]
    assert [item.id for item in combined((), shared)] == ["profile/token-expired", "latency"]
    assert combined(None, shared) == ()
