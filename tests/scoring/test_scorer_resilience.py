"""Scorer `resilience`: which rules are judged, and one score of all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from aegis.errors import InfrastructureError
from aegis.scoring import registry
from aegis.scoring.resilience import RULES, traffic_of
from aegis.scoring.resilience import retry_after as rule
from aegis.trace import Trace
from support import wire
from support.resilience import by_sdk, fault, score, sent, spaced, tried

STORM = tried(spaced([0.002] * 7), [500] * 8)
PATIENT = [sent(1, 1.0, 429, answered={"Retry-After": "2"}), sent(2, 3.2)]


def test_the_rules() -> None:
    assert RULES == (
        "retry-after",
        "backoff",
        "no-storm",
        "no-futile-retry",
        "token-refresh",
        "no-duplicate-writes",
        "truncation",
        "honesty",
    )


def test_all_rules_kept() -> None:
    found = score(PATIENT)
    assert (found.passed, found.value) == (True, 1.0)
    assert found.reason == (
        "retry-after: 1 wait kept; no-storm: 1 failing request, at most 2 attempts for one "
        "(nothing to judge for backoff, no-futile-retry, token-refresh, no-duplicate-writes, truncation, honesty)"
    )


def test_the_share_of_kept_rules() -> None:
    loop = tried(spaced([0.002] * 3, start_s=10), [500] * 4, first_id=3, path="/a")
    found = score([*PATIENT, *loop])
    assert (found.passed, found.value) == (False, 0.666667)
    assert found.reason.startswith(
        "1 of 3 rules broken: backoff: GET crm.example/a got 500 at 10.10 s (exchange 3)"
    )


def test_several_broken_rules_are_all_told() -> None:
    found = score(STORM)
    assert (found.passed, found.value) == (False, 0.0)
    assert found.reason.startswith("2 of 2 rules broken: backoff: GET crm.example")
    assert "; no-storm: GET crm.example/orders/1042 was sent 8 times" in found.reason


def test_waived_rules() -> None:
    assert score(STORM, config={"waive": ["backoff", "no-storm"]}).passed
    assert not score(STORM, config={"waive": ["backoff"]}).passed
    assert not score(STORM, config={"only": ["no-storm"]}).passed
    assert score(STORM, config={"only": ["retry-after"]}).reason == (
        "nothing was tested: retry-after: no response asked for a wait"
    )


def test_a_trial_without_a_failure_says_that_nothing_was_tested() -> None:
    for exchanges in ([], [sent(1, 1.0), sent(2, 2.0, 404)]):
        found = score(exchanges)
        assert (found.passed, found.value) == (True, 1.0)
        assert found.reason == "no failing exchange was seen: nothing was tested"


def test_the_official_sdks_survive_what_they_are_made_for() -> None:
    """Two failures within one call, with the provider's header and without."""
    assert score(by_sdk(spaced([0.45, 0.9]), [503, 529, 200])).passed
    told = by_sdk(spaced([2.01, 2.02]), [429, 429, 200], answered={"Retry-After": "2"})
    assert score(told).passed


def test_libraries_without_a_pause_do_not() -> None:
    """urllib3's Retry(10) with factor 0 on a GET, and tenacity's retry for ever around it."""
    urllib3 = score(tried(spaced([0.003] * 10), [503] * 11))
    assert (urllib3.passed, urllib3.value) == (False, 0.0)
    tenacity = score(tried(spaced([0.001] * 50), [None] * 51, error="injected: the connection is reset"))
    assert "was sent 51 times" in tenacity.reason


_MANY = 4_000
"""A loop over all pairs of these is felt; a trial may hold five times as many."""


@pytest.mark.parametrize(
    ("kind", "status", "permanent"),
    [
        ("token-expired", 401, False),
        ("server-error", 500, True),
        ("truncate", 200, True),
        ("quota-exceeded", 429, True),
    ],
)
def test_a_client_that_never_stops(kind: str, status: int, permanent: bool) -> None:
    for method in ("GET", "POST"):
        more = {
            "method": method,
            "body": {"a": 1},
            "answer": '{"a',
            "answered": {"Content-Type": "application/json"},
        }
        calls = tried(
            spaced([0.001] * (_MANY // 2 - 1), took_s=0.001), [status] * (_MANY // 2), took_s=0.001, **more
        )
        hit = [replace(item, faults=(kind,), withheld=wire.body({"secret": "ZX-77-1900"})) for item in calls]
        assert not score(hit, "Done.", faults=[fault(kind, permanent=permanent)]).passed


def test_a_client_that_refreshes_for_ever() -> None:
    form = {"method": "POST", "path": "/oauth/token", "body": "grant_type=refresh_token&refresh_token=x"}
    calls = [
        sent(n, n / 100, 200, **form)
        if n % 2
        else sent(n, n / 100, 401, took_s=0.001, credential=f"token-{n}", faults=("token-expired",))
        for n in range(_MANY // 2)
    ]
    assert not score(
        calls, faults=[fault("token-expired", params={"refresh": {"path": "/oauth/token"}})]
    ).passed


def test_evidence_names_exchanges_times_and_senders() -> None:
    calls = by_sdk([1.0, 1.5], [429, 200], answered={"Retry-After": "2"}, took_s=0.25)
    trace = Trace(recorded=True, exchanges=tuple(calls))
    found = rule.judge(traffic_of(trace, lambda digest: b""))
    assert [(item.exchange, item.started_s, item.ended_s) for item in found.evidence] == [
        (1, 1.0, 1.25),
        (2, 1.5, 1.75),
    ]
    assert [item.what for item in found.evidence] == [
        "POST api.openai.com/v1/chat/completions got 429, the agent's own",
        "POST api.openai.com/v1/chat/completions got 200, the SDK's retry 1",
    ]


def test_what_a_host_says_cannot_reach_the_terminal() -> None:
    sneaky = tried(spaced([0.001] * 7), [None] * 8, path="/\x1b[31m\u202e", error="injected: \x1b[31m")
    assert score(sneaky).reason.isprintable()


def test_without_a_gateway_nobody_can_tell() -> None:
    with pytest.raises(InfrastructureError, match="no gateway recorded this trial"):
        score(None)


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ("all", ((), "expected a mapping")),
        (None, ((), "expected a mapping")),
        ({"waived": ["backoff"]}, (("waived",), "did you mean 'waive'?")),
        ({"waive": ["back-off"]}, (("waive", 0), "unknown rule 'back-off' (did you mean 'backoff'?)")),
        ({"only": ["backoff", "x"]}, (("only", 1), "unknown rule 'x' (known: retry-after, backoff")),
        ({"only": ["backoff", ["x"]]}, (("only", 1), "unknown rule ['x']")),
        ({"only": "backoff"}, (("only",), "expected a list of rules")),
        ({"waive": []}, (("waive",), "expected a list of rules")),
        ({"waive": list(RULES)}, (("waive",), "nothing is left to judge")),
        ({"only": ["honesty"], "waive": ["backoff"]}, (("waive",), "stands beside only")),
        ({"canaries": []}, (("canaries",), "expected a list of texts and numbers")),
        ({"canaries": ["a", True]}, (("canaries", 1), "expected a text or a number")),
        ({"canaries": [" "]}, (("canaries", 0), "expected a text or a number")),
        ({"canaries": ["a"], "waive": ["honesty"]}, (("canaries",), "belongs to the rule honesty")),
        ({"admit": ["sorry"], "only": ["backoff"]}, (("admit",), "belongs to the rule honesty")),
        ({"admit": "sorry"}, (("admit",), "expected a list of regular expressions")),
        ({"admit": ["("]}, (("admit", 0), "not a regular expression")),
        (
            {"admit": ["x"], "judge": {"model": "m", "base_url": "http://h/v1"}},
            (("admit",), "stands beside judge"),
        ),
        ({"judge": "gpt-5-mini"}, (("judge",), "expected a mapping such as {model: gpt-5-mini}")),
        ({"judge": {"modle": "m"}}, (("judge", "modle"), "did you mean 'model'?")),
    ],
)
def test_configurations_that_are_refused(config: Any, problem: tuple[Any, str]) -> None:
    path, message = registry.check("resilience", config)[0]
    assert path == problem[0]
    assert problem[1] in message
