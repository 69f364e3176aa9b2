"""The example project as plain processes of this host: the whole way through the gateway, without a machine."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from e2e_command import Aegis, Ran, outcomes, read_json

pytestmark = pytest.mark.e2e

RUN = ("eval", "run", "--suite", "production-v2", "--isolation=none", "--trials", "1", "--json", "out.json")
CASES = 24

CARELESS = {
    "partial-responses": "truncation: GET shop.example/customers/ada/orders",
    "slow-chain": "no-duplicate-writes: POST shop.example/refunds",
    "token-expires-mid-run": "token-refresh: POST shop.example/refunds got 401",
    "login-revoked": "token-refresh: POST shop.example/oauth/token was refused with invalid_grant",
    "rate-limits": "retry-after: POST api.openai.com/v1/chat/completions got 429",
    "answer-lost": "no-duplicate-writes: POST shop.example/refunds",
}
"""Case → a rule that the careless client breaks in it, as its reason begins."""
TIME = re.compile(r"at \d+\.\d\d s \(exchange \d+\)")


def resilience(folder: Path) -> dict[str, Any]:
    """Case → what the scorer said of its trial, where the agent came so far that it was scored."""
    trials = read_json(folder / "out.json")["trials"]
    return {
        trial["case"]: score
        for trial in trials
        for score in trial["scores"]
        if score["scorer"] == "resilience"
    }


@pytest.mark.slow
def test_it_passes_and_its_trace_tells_what_it_did(aegis: Aegis, example: Path) -> None:
    ran = aegis(*RUN, cwd=example)
    assert ran.code == 0, ran
    document = read_json(example / "out.json")
    assert len(outcomes(document)) == CASES
    assert [fault for trial in document["trials"] for fault in trial["faults"] if not fault["fired"]] == []
    shown = aegis("trace", "show", "latest/refund-within-policy/1", cwd=example)
    assert shown.code == 0, shown
    for words in ('lookup_order {"order": 1042}', "POST https://shop.example/refunds", "gpt-5-mini", "$0.00"):
        assert words in shown.stdout


@pytest.mark.slow
def test_with_the_defect_exactly_one_case_fails(aegis: Aegis, example: Path) -> None:
    ran = aegis(*RUN, "--env", "REFUND_BUG=1", cwd=example)
    assert ran.code == 1, ran
    by_case = outcomes(read_json(example / "out.json"))
    assert [case for case, trials in by_case.items() if trials != ["passed"]] == ["already-refunded"]


def test_a_careless_client_is_told_by_the_rule_that_it_breaks_and_when(aegis: Aegis, example: Path) -> None:
    ran = aegis(*RUN, "-k", "weather", "--env", "HASTY=1", cwd=example)
    assert ran.code == 1, ran
    said = resilience(example)
    assert {case for case, score in said.items() if not score["passed"]} == CARELESS.keys()
    for case, rule in CARELESS.items():
        assert rule in said[case]["reason"]
        assert TIME.search(said[case]["reason"]), said[case]
        assert f"FAILED {case}#1: resilience: " in ran.stderr


@pytest.mark.slow
def test_a_careless_client_passes_on_a_good_day(aegis: Aegis, example: Path) -> None:
    ran = aegis(*RUN, "-k", "not weather", "--env", "HASTY=1", cwd=example)
    assert ran.code == 0, ran


@pytest.mark.slow
def test_on_a_bad_day_everything_passes(aegis: Aegis, example: Path) -> None:
    ran = aegis(*RUN, "--faults", "flaky-production", cwd=example)
    assert ran.code == 0, ran
    trials = read_json(example / "out.json")["trials"]
    assert len(trials) == CASES
    hit = [trial["case"] for trial in trials if any(fault["fired"] for fault in trial["faults"])]
    # The one case that takes a single model call may have fair weather.
    assert set(outcomes(read_json(example / "out.json"))) - set(hit) <= {"malformed-order-number"}


@pytest.mark.slow
def test_on_a_bad_day_a_careless_client_fails_wherever_it_asks_the_shop(aegis: Aegis, example: Path) -> None:
    ran = aegis(*RUN, "--faults", "flaky-production", "--env", "HASTY=1", cwd=example)
    assert ran.code == 1, ran
    by_case = outcomes(read_json(example / "out.json"))
    assert [case for case, trials in by_case.items() if trials == ["passed"]] == ["malformed-order-number"]
    reason = resilience(example)["refund-within-policy"]["reason"]
    assert "retry-after: GET shop.example/orders/1042 got 429 with Retry-After 1 s" in reason
    assert TIME.search(reason), reason


@pytest.mark.slow
@pytest.mark.parametrize("hasty", ["0", "1"])
def test_a_token_that_the_gateway_issues_does_as_well(aegis: Aegis, example: Path, hasty: str) -> None:
    few = ("-k", "conversation-about-three-orders", "--faults", "token-expiry", "--env", f"HASTY={hasty}")
    ran = aegis(*RUN, *few, cwd=example)
    assert ran.code == int(hasty), ran
    (said,) = resilience(example).values()
    assert "token-refresh: " in said["reason"]
    assert ("refreshed 2 times" in said["reason"]) is (hasty == "1")


@pytest.mark.slow
def test_the_same_weather_comes_however_many_trials_run_at_once(aegis: Aegis, example: Path) -> None:
    few = ("-k", "conversation or partial or rate-limits", "--faults", "flaky-production", "--seed", "7")
    ran = aegis(*RUN, *few, "--jobs", "1", cwd=example)
    assert ran.code == 0, ran
    one_by_one = weather(aegis, example)
    ran = aegis(*RUN, *few, "--jobs", "4", cwd=example)
    assert ran.code == 0, ran
    assert weather(aegis, example) == one_by_one
    assert all(len(hits) >= 3 for hits in one_by_one.values())


def weather(aegis: Aegis, folder: Path) -> dict[str, list[Any]]:
    """Case → every exchange that a fault hit in the latest run, as the agent saw it, in order."""
    found = {}
    for case in outcomes(read_json(folder / "out.json")):
        shown: Ran = aegis("trace", "show", f"latest/{case}/1", "--json", cwd=folder)
        assert shown.code == 0, shown
        trace = json.loads(shown.stdout)["trace"]
        found[case] = [[report["id"], report["matched"], report["hits"]] for report in trace["faults"]] + [
            as_seen(exchange) for exchange in trace["exchanges"] if exchange["faults"]
        ]
    return found


def as_seen(exchange: dict[str, Any]) -> list[Any]:
    """Without what is of the moment: Date, and the time at which the model says that it answered."""
    headers = [header for header in exchange["response_headers"] if header[0].lower() != "date"]
    body = exchange["response_body"] or {}
    text = re.sub(r'"created": \d+', "", body.get("text") or "")
    asked = [exchange[key] for key in ("method", "host", "path", "faults", "status", "error")]
    return [*asked, headers, body.get("size_bytes"), text]
