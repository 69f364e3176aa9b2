from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import xmlschema
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.errors import UsageError
from aegis.report import junit
from aegis.results.document import build
from aegis.results.records import OUTCOMES, TrialRecord
from support.compared_runs import BASE_RUN, COMMIT, SWAP, Scenario, no_comparison
from support.fuzzing import examples
from support.run_records import CONFIG, run_record, trial_record

SCHEMA = xmlschema.XMLSchema10(str(Path(__file__).with_name("junit.xsd")))


anything = st.text(st.characters(categories=None), min_size=1, max_size=30)


def parsed(trials: Sequence[TrialRecord], **config: Any) -> ET.Element:
    """The document of these trials as JUnit XML, checked against the schema and parsed back."""
    data = junit.render(build(run_record(config=CONFIG | config), trials, duration_s=12.3456))
    SCHEMA.validate(data.decode("utf-8"))
    return ET.fromstring(data)


MIXED = [
    trial_record(number=1),
    trial_record(number=2, outcome="failed", reason="answer: no amount"),
    trial_record("cancel", 1, "timeout", "no answer within 120 s", "bloated-tools"),
    trial_record("cancel", 1, "error", "no machine", sandbox=None, answer=""),
    trial_record("cancel", 2, None),
]


def test_totals() -> None:
    root = parsed(MIXED)
    (suite,) = root.findall("testsuite")
    expected = {
        "name": "production-v2",
        "tests": "5",
        "failures": "2",
        "errors": "1",
        "skipped": "1",
        "time": "12.346",
    }
    assert root.attrib == expected
    assert suite.attrib == expected | {"timestamp": CONFIG["started_at"]}


def test_each_trial_is_a_test_case() -> None:
    cases = parsed(MIXED).findall(".//testcase")
    assert [(case.get("classname"), case.get("name"), case.get("time")) for case in cases] == [
        ("production-v2.refund", "refund #1", "1.500"),
        ("production-v2.refund", "refund #2", "1.500"),
        ("production-v2.cancel", "cancel (bloated-tools) #1", "1.500"),
        ("production-v2.cancel", "cancel #1", "1.500"),
        ("production-v2.cancel", "cancel #2", "0.000"),
    ]
    assert [[child.tag for child in case] for case in cases] == [
        [],
        ["failure", "system-out"],
        ["failure", "system-out"],
        ["error"],
        ["skipped"],
    ]
    failure, timeout, error, skipped = (case[0] for case in cases[1:])
    assert failure.attrib == {"message": "answer: no amount", "type": "failed"}
    assert failure.text == "answer: no amount\nanswer: answer: no amount"
    assert timeout.attrib == {"message": "timeout: no answer within 120 s", "type": "timeout"}
    assert error.attrib == {"message": "error: no machine", "type": "error"}
    assert skipped.attrib == {"message": "cancelled: not run"}
    assert cases[1].findtext("system-out") == "Your refund is on its way."


def test_properties() -> None:
    found = {item.get("name"): item.get("value") for item in parsed(MIXED).findall(".//property")}
    assert found["verdict"] == "BELOW_THRESHOLD"
    assert found["isolation.driver"] == "qemu"
    assert found["isolation.security_boundary"] == "false"
    assert found["git.commit"] == "0" * 40
    assert "BELOW_THRESHOLD 1/5 trials" in str(found["result"])
    bare = {item.get("name") for item in parsed(MIXED, git=None, seed=None).findall(".//property")}
    assert not bare & {"git.commit", "seed"}


def test_run_without_trials() -> None:
    assert parsed([]).findall(".//testcase") == []


def test_text_that_xml_cannot_carry() -> None:
    evil = 'nul \x00 esc \x1b[31m surrogate \ud800 \ufffe <a href="x">&amp;]]></a> \t\n 🙂'
    case = parsed([trial_record(evil, 1, "failed", evil, answer=evil)]).find(".//testcase")
    assert case is not None
    shown = 'nul \ufffd esc \ufffd[31m surrogate \ufffd \ufffd <a href="x">&amp;]]></a> \t\n 🙂'
    assert case.get("classname") == f"production-v2.{shown}"
    assert case[0].get("message") == shown
    assert case.findtext("system-out") == shown


def test_long_texts_are_cut() -> None:
    trials = [trial_record(outcome="failed", reason="r" * 100_000, answer="a" * 100_000, scores=[])]
    case = parsed(trials).find(".//testcase")
    assert case is not None
    assert len(case[0].get("message", "")) == junit.MAX_MESSAGE_CHARS
    assert len(case.findtext("system-out") or "") == junit.MAX_ANSWER_CHARS


@settings(max_examples=examples(50))
@given(st.lists(st.tuples(st.none() | st.sampled_from(OUTCOMES), anything, anything), max_size=5))
def test_whatever_agents_write_it_is_valid(found: list[tuple[str | None, str, str]]) -> None:
    trials = [
        trial_record(case, number, outcome, text, answer=text)
        for number, (outcome, case, text) in enumerate(found, 1)
    ]
    root = parsed(trials)
    assert len(root.findall(".//testcase")) == len(trials)
    for kind, attribute in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        assert len(root.findall(f".//{kind}")) == int(root.get(attribute, ""))


def compared(scenario: Scenario) -> ET.Element:
    data = junit.render(scenario.document())
    SCHEMA.validate(data.decode("utf-8"))
    root = ET.fromstring(data)
    for kind in ("tests", "failures", "errors", "skipped"):
        assert int(root.get(kind, "")) == sum(int(suite.get(kind, "")) for suite in root)
    for suite in root:
        assert len(suite.findall("testcase")) == int(suite.get("tests", ""))
        for tag, kind in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
            assert len(suite.findall(f".//{tag}")) == int(suite.get(kind, ""))
    return root


def properties(suite: ET.Element) -> dict[str | None, str | None]:
    return {item.get("name"): item.get("value") for item in suite.findall(".//property")}


def test_a_comparison_is_a_suite_of_its_own() -> None:
    own, against = compared(SWAP).findall("testsuite")
    assert (own.get("tests"), against.get("name")) == ("15", "production-v2 compared with main")
    cases = [(case.get("classname"), case.get("name"), [child.tag for child in case]) for case in against[1:]]
    assert cases == [
        ("production-v2.refund", "regression: refund", ["failure"]),
        ("production-v2.cancel", "regression: cancel", []),
    ]
    failure = against[1][0]
    told = "refund: passed 20 of 20 before, 1 of 3 now, 2 of 10 when tried again (p < 0.0001)"
    assert failure.attrib == {"message": told, "type": "regression"}
    assert failure.text == f"{told}\nanswer: no amount"
    assert against.get("time") == "30.000"
    found = properties(own)
    assert found["verdict"] == "REGRESSED"
    assert found["result"] == "REGRESSED 11/15 trials (1 case got worse: refund)"
    assert (found["baseline.run_id"], found["baseline.commit"]) == (BASE_RUN, COMMIT)
    assert (found["regressions"], found["confirmation.trials"]) == ("1", "20")


def test_suspects_that_could_not_be_judged_are_skipped() -> None:
    lost = Scenario(
        {"refund": (20, 0), "cancel": (20, 0)}, {"refund": (1, 2), "cancel": (3, 0)}, {"refund": (4, 1)}
    )
    (case,) = compared(lost).findall("testsuite")[1].findall("testcase")
    (skipped,) = case
    assert "4 of 5 when tried again" in str(skipped.get("message"))
    waiting = compared(replace(lost, fresh={})).findall("testsuite")[1]
    assert waiting.find(".//skipped") is not None


def test_a_missing_baseline_is_a_property() -> None:
    missing = replace(SWAP, fresh={}, baseline=no_comparison("nothing is known of main"))
    (suite,) = compared(missing).findall("testsuite")
    assert properties(suite)["baseline.problem"] == "nothing is known of main"
    assert properties(suite)["verdict"] == "INCONCLUSIVE"


@settings(max_examples=examples(50), deadline=None)
@given(anything)
def test_a_comparison_is_valid_whatever_is_written(text: str) -> None:
    rates: Any = {text: (20, 0)}
    compared(
        Scenario(rates, {text: (0, 3)}, {text: (0, 10)}, reason=text, suite=text, baseline={"asked": text})
    )


def test_schema_is_strict() -> None:
    data = junit.render(build(run_record(), MIXED)).decode("utf-8")
    for good, bad in (
        ('tests="5"', 'tests="five"'),
        ("<failure ", '<failure more="x" '),
        ("skipped ", "skiped "),
    ):
        assert good in data
        with pytest.raises(xmlschema.XMLSchemaValidationError):
            SCHEMA.validate(data.replace(good, bad, 1))


def test_written_to_a_file(tmp_path: Path) -> None:
    document = build(run_record(), MIXED)
    junit.write(document, tmp_path / "out.xml")
    assert (tmp_path / "out.xml").read_bytes() == junit.render(document)
    with pytest.raises(UsageError, match="does not exist"):
        junit.write(document, tmp_path / "missing" / "out.xml")
