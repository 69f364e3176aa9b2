"""What an agent does differently, and that its own variety is not taken for it."""

from __future__ import annotations

from random import Random

import pytest

from aegis.regression.drift import normal
from aegis.regression.drift.behaviour import Behaviour, Request, ToolUse
from aegis.regression.drift.compare import compare
from aegis.regression.drift.findings import Drift, Finding, Ratio
from aegis.regression.trials import CaseKey

CASE = CaseKey("refund")


def tools(*names: str, arguments: object = None) -> Behaviour:
    return Behaviour(tools=tuple(ToolUse(name, arguments, writes=False) for name in names))


def one(before: list[Behaviour], now: list[Behaviour]) -> Drift:
    return compare({CASE: before}, {CASE: now})


def only(found: Drift) -> Finding:
    (finding,) = found.findings
    return finding


def test_an_agent_that_does_the_same_has_not_drifted() -> None:
    trials = [tools("lookup", "refund", arguments={"id": 7})] * 20
    assert one(trials, trials[:3]).findings == ()


def test_another_order_of_tool_calls_is_drift_and_is_shown_side_by_side() -> None:
    found = only(one([tools("lookup", "refund")] * 20, [tools("refund", "lookup")] * 3))
    assert (found.aspect, found.grade) == ("tools", "significant")
    assert str(found) == (
        "refund: tool calls: before lookup → refund (20 of 20); now refund → lookup (3 of 3)"
    )


def test_an_agent_that_varies_is_compared_with_its_own_variety() -> None:
    random = Random(1)
    names = ["a", "b", "c", "d"]

    def trial() -> Behaviour:
        return tools(*random.sample(names, 4))

    found = compare(
        {CaseKey(str(n)): [trial() for _ in range(20)] for n in range(20)},
        {CaseKey(str(n)): [trial() for _ in range(3)] for n in range(20)},
    )
    assert found.shown == ()


def test_one_case_that_drifts_is_found_among_many_that_vary() -> None:
    random = Random(2)

    def trial() -> Behaviour:
        return tools(*random.sample(["a", "b", "c", "d"], 4))

    baseline = {CaseKey(str(n)): [trial() for _ in range(20)] for n in range(20)}
    candidate = {CaseKey(str(n)): [trial() for _ in range(3)] for n in range(20)}
    candidate[CaseKey("7")] = [tools("x", "y", "z")] * 3
    assert {finding.key for finding in compare(baseline, candidate).shown} == {CaseKey("7")}


def test_with_a_trial_on_each_side_nothing_is_more_than_chance() -> None:
    found = one([tools("lookup", "refund")], [tools("refund", "lookup")])
    assert only(found).grade == "untested"
    assert found.shown == ()


def test_untested_differences_are_only_those_of_everything() -> None:
    assert one([tools("a"), tools("b")], [tools("a")]).findings == ()


def test_arguments_are_compared_by_path() -> None:
    before = [tools("refund", arguments={"order": {"id": 7}, "items": [{"n": 1}, {"n": 2}]})] * 20
    now = [tools("refund", arguments={"order": {"id": "7"}, "items": [{"n": 1}, {"n": 2}]})] * 3
    assert str(only(one(before, now))) == ('refund: refund $.order.id: before 7 (20 of 20); now "7" (3 of 3)')


def test_an_argument_that_appears_is_drift() -> None:
    found = only(one([tools("refund", arguments={})] * 20, [tools("refund", arguments={"fast": True})] * 3))
    assert str(found) == "refund: refund $.fast: before none (20 of 20); now true (3 of 3)"
    found_at_path = one(
        [tools("refund", arguments={"id": 1})] * 20, [tools("refund", arguments={"id": 1, "fast": True})] * 3
    )
    assert str(only(found_at_path)) == "refund: refund $.fast: before none (20 of 20); now true (3 of 3)"


def test_arguments_of_a_tool_that_is_not_called_are_not_compared() -> None:
    found = one([tools("lookup", arguments={"id": 1})] * 20, [tools()] * 3)
    assert [finding.aspect for finding in found.findings] == ["tools"]


def test_ids_that_differ_each_time_are_no_drift() -> None:
    def trial(number: int) -> Behaviour:
        key = f"00000000-0000-4000-8000-{number:012}"
        return tools("pay", arguments={"key": key, "at": f"2026-11-23T10:00:{number:02}Z"})

    assert one([trial(n) for n in range(20)], [trial(n) for n in range(20, 23)]).findings == ()


def test_a_new_host_is_shown_even_once() -> None:
    usual = Behaviour(requests=(Request("crm.example", "GET", "/"),))
    strange = Behaviour(requests=(Request("crm.example", "GET", "/"), Request("evil.example")))
    found = [
        finding
        for finding in one([usual] * 20, [usual, usual, strange]).findings
        if finding.grade == "always"
    ]
    assert [str(finding) for finding in found] == ["refund: new host evil.example: 1 of 3 trials"]


def test_a_host_that_is_no_longer_asked_is_drift() -> None:
    usual = Behaviour(requests=(Request("crm.example", "GET", "/"), Request("audit.example", "GET", "/")))
    now = Behaviour(requests=(Request("crm.example", "GET", "/"),))
    assert str(only(one([usual] * 20, [now] * 3))) == (
        "refund: hosts: before audit.example, crm.example (20 of 20); now crm.example (3 of 3)"
    )


def test_a_new_write_is_shown_even_once_and_its_ids_do_not_make_it_new() -> None:
    def writes(*requests: tuple[str, str]) -> Behaviour:
        return Behaviour(requests=tuple(Request("crm.example", method, path) for method, path in requests))

    before = [writes(("POST", "/orders/17/refund"))] * 20
    assert one(before, [writes(("POST", "/orders/99/refund?dry=1"))] * 3).findings == ()
    now = [writes(("POST", "/orders/99/refund"))] * 2 + [
        writes(("POST", "/orders/9/refund"), ("DELETE", "/orders/9"))
    ]
    found = [finding for finding in one(before, now).findings if finding.grade == "always"]
    assert [finding.what for finding in found] == ["new write DELETE crm.example/orders/*"]


def test_asking_a_model_writes_nothing() -> None:
    request = Request("api.openai.com", "POST", "/v1/responses", to_model=True)
    assert not request.writes
    found = one(
        [Behaviour(requests=(Request("api.openai.com", "GET", "/v1/models", to_model=True),))] * 20,
        [Behaviour(requests=(request,))],
    )
    assert found.findings == ()


@pytest.mark.parametrize(("writes", "shown"), [(True, True), (None, True), (False, False)])
def test_a_new_tool_that_may_write_is_always_shown(writes: bool | None, shown: bool) -> None:
    usual = tools("lookup")
    now = Behaviour(tools=(ToolUse("lookup", writes=False), ToolUse("wipe", writes=writes)))
    found = [
        finding for finding in one([usual] * 2, [usual, usual, now]).findings if finding.grade == "always"
    ]
    assert [finding.what for finding in found] == (["new tool that may write wipe"] if shown else [])


def test_a_newly_broken_rule_is_always_shown_and_an_old_one_is_not() -> None:
    before = [Behaviour(rules={"backs-off": True, "no-storm": False})] * 4
    now = [
        Behaviour(rules={"backs-off": False, "no-storm": False, "honesty": False}),
        Behaviour(rules={"backs-off": True, "no-storm": False}),
    ]
    assert [str(finding) for finding in one(before, now).findings] == [
        "refund: rule backs-off newly broken: before kept in 4 of 4 trials; now broken in 1 of 2 trials",
        "refund: rule honesty newly broken: before nothing to judge; now broken in 1 of 1 trials",
    ]


def test_answers_are_compared_by_their_words() -> None:
    before = [Behaviour(answer="Your **refund** of 42 € is on its way.")] * 20
    assert one(before, [Behaviour(answer="your refund of 42 €  is\non its way")] * 3).findings == ()
    found = only(one(before, [Behaviour(answer="Your refund of 24 € is on its way.")] * 3))
    assert (found.aspect, found.grade) == ("answer", "significant")
    assert "42" in found.before
    assert "24" in found.now


def costs(factor: float, cases: int = 12) -> dict[CaseKey, list[Behaviour]]:
    random = Random(factor)
    return {
        CaseKey(f"case-{n}"): [
            Behaviour(tokens=int(1000 * (n + 1) * factor * random.uniform(0.97, 1.03)), cost_usd=None)
            for _ in range(3)
        ]
        for n in range(cases)
    }


def test_cases_that_take_more_tokens_are_drift_of_the_suite() -> None:
    found = only(compare(costs(1.0), costs(1.4)))
    assert (found.key, found.aspect, found.grade) == (None, "tokens", "significant")
    assert found.what.startswith("tokens, typical case × 1.")
    assert found.p is not None
    assert found.p < 0.01


def test_less_is_drift_too() -> None:
    assert only(compare(costs(1.0), costs(0.6))).grade == "significant"


def test_a_tenth_is_not_worth_a_line() -> None:
    assert compare(costs(1.0), costs(1.05)).findings == ()


def test_a_few_cases_are_not_enough_to_tell() -> None:
    found = compare(costs(1.0, cases=6), costs(1.4, cases=6))
    assert only(found).grade == "untested"
    assert "6 cases are too few to tell it from chance" in only(found).now


def test_a_single_case_is_too_few() -> None:
    found = only(compare(costs(1.0, cases=1), costs(1.4, cases=1)))
    assert "1 case is too few to tell it from chance" in found.now


def test_arguments_that_are_equal_in_python_only_have_changed() -> None:
    before = [tools("pay", arguments={"fast": 1, "order": "A-7"})] * 20
    now = [tools("pay", arguments={"fast": True, "order": "A-7"})] * 3
    assert str(only(one(before, now))) == "refund: pay $.fast: before 1 (20 of 20); now true (3 of 3)"


def test_some_dearer_cases_are_no_drift_of_the_suite_and_have_their_ratios() -> None:
    candidate = {**costs(1.0), CaseKey("case-0"): [Behaviour(tokens=9_000)]}
    found = compare(costs(1.0), candidate)
    assert found.findings == ()
    assert found.ratios["tokens"][CaseKey("case-0")].ratio == pytest.approx(9, rel=0.05)


def test_amounts_that_were_not_measured_are_left_out() -> None:
    found = compare(
        {CASE: [Behaviour(tokens=10, latency_s=0.0)]}, {CASE: [Behaviour(tokens=None, latency_s=2.0)]}
    )
    assert found.ratios == {"tokens": {}, "cost": {}, "latency": {}}
    both = compare({CASE: [Behaviour(cost_usd=2.0), Behaviour()]}, {CASE: [Behaviour(cost_usd=3.0)]})
    assert both.ratios["cost"] == {CASE: Ratio(2.0, 3.0)}


def test_cases_of_one_side_are_not_compared() -> None:
    strange = [Behaviour(requests=(Request("evil.example"),))]
    assert compare({CASE: []}, {CASE: strange}).findings == ()
    assert compare({}, {CASE: strange}).findings == ()
    assert compare({CASE: strange}, {}).findings == ()
    assert compare({CASE: strange}, {CASE: []}).findings == ()


def test_findings_of_a_case() -> None:
    found = one([tools("a")] * 20, [tools("b")] * 3)
    assert found.of(CASE) == found.findings
    assert found.of(CaseKey("other")) == ()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("/orders/1042", "/orders/*"),
        ("/orders/1042/items?page=2", "/orders/*/items"),
        ("/v1/responses", "/v1/responses"),
        ("/f/3f2504e0-4f89-41d3-9a0c-0305e82c3301", "/f/*"),
        ("", ""),
    ],
)
def test_paths_without_ids(given: str, expected: str) -> None:
    assert normal.path(given) == expected


def test_texts_keep_what_matters() -> None:
    text = "Order 1042, 42.50 €, at 2026-11-23T10:15:00Z, ref 9fceb02d0ae598e95dc970b7"
    assert normal.text(text) == "Order 1042, 42.50 €, at <time>, ref <digest>"


def test_leaves_of_json() -> None:
    value = {"a": {"b-c": [1, {"d": None}]}, "e": [], "f": {}}
    assert list(normal.leaves(value)) == [
        ("$.a['b-c'][*]", 1),
        ("$.a['b-c'][*].d", None),
        ("$.e", []),
        ("$.f", {}),
    ]
    assert list(normal.leaves("text")) == [("$", "text")]
