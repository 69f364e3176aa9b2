from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.errors import LedgerError
from aegis.results._totals import MAX_DENIED
from aegis.results.document import MAX_ANSWER_CHARS, build, schema, to_json, validate
from aegis.results.records import OUTCOMES
from aegis.results.verdict import EXIT_CODES
from support.compared_runs import SWAP
from support.run_records import CONFIG, RUN_ID, run_record, trial_record

DOCS = Path(__file__).parents[2] / "docs"

TRIALS = [
    trial_record(number=1),
    trial_record(number=2, outcome="failed", reason="answer: no amount"),
    trial_record("cancel", outcome="timeout", reason="no answer within 120 s", variant="bloated-tools"),
    trial_record("cancel", number=2, outcome="error", reason="no machine", sandbox=None, trace=None),
    trial_record("cancel", number=3, outcome=None),
]


def test_document_of_a_mixed_run() -> None:
    document = build(run_record(), TRIALS, duration_s=12.5)
    validate(document)
    assert list(document) == [
        "schema", "run_id", "suite", "verdict", "exit_code", "result", "pass_rate", "fail_under", "counts", "isolation",
        "baseline", "regressions", "started_at", "duration_s", "fingerprint", "environment", "snapshot", "selected",
        "git", "seed", "recorded", "replay_of", "denied", "prices", "judge", "simulator", "stress", "cases", "trials",
        "confirmations",
    ]  # fmt: skip
    assert document["schema"] == "aegis.run/1"
    assert document["run_id"] == RUN_ID
    assert document["counts"] == {
        "planned": 5, "passed": 1, "failed": 1, "timeout": 1, "error": 1, "cancelled": 1
    }  # fmt: skip
    assert document["pass_rate"] == pytest.approx(1 / 3)
    assert (
        document["result"]
        == "BELOW_THRESHOLD 1/5 trials (33.3 %, below 95 % even if the 2 unjudged trials had passed)"
    )
    assert [(item["case"], item["file"]) for item in document["cases"]] == [
        ("refund", None),
        ("cancel", None),
    ]
    assert (document["environment"], document["snapshot"], document["selected"]) == (None, None, False)
    assert document["confirmations"] == []
    assert (document["verdict"], document["exit_code"], document["fail_under"]) == ("BELOW_THRESHOLD", 1, 95)
    assert document["isolation"] == {"driver": "qemu", "accel": "tcg", "security_boundary": False}
    assert document["git"] == CONFIG["git"]
    assert (document["baseline"], document["regressions"]) == (None, [])
    assert (document["duration_s"], document["started_at"]) == (12.5, CONFIG["started_at"])
    assert document["trials"][0] == {
        "case": "refund",
        "variant": "baseline",
        "number": 1,
        "weather": 1,
        "outcome": "passed",
        "reason": "",
        "scores": [{"scorer": "answer", "passed": True, "value": 1.0, "reason": "contains 'refund'", "parts": []}],
        "answer": "Your refund is on its way.",
        "turns": 1,
        "duration_s": 1.5,
        "sandbox": {"driver": "qemu", "start_ms": 210.5, "restored": True, "memory_mib": 256},
        "usage": {
            "input_tokens": None, "output_tokens": None, "usd": None, "model_calls": None, "tool_calls": 2
        },
        "faults": [],
        "exchanges": 0,
        "rewritten": None,
        "changes": None,
        "trace": "a" * 64,
        "clock": None,
        "collected": [],
        "not_collected": [],
        "attempts": 1,
        "kept": None,
    }  # fmt: skip
    assert document["trials"][3]["sandbox"] is None
    not_run = document["trials"][4]
    assert (not_run["outcome"], not_run["reason"], not_run["attempts"]) == ("cancelled", "not run", 0)


def test_run_that_says_nothing_about_itself() -> None:
    document = build(run_record(config={}), [])
    validate(document)
    assert (document["verdict"], document["fail_under"], document["pass_rate"]) == ("INCONCLUSIVE", 100, None)
    assert (document["git"], document["fingerprint"], document["seed"]) == (None, None, None)
    assert document["started_at"] == run_record().created_at
    assert document["isolation"]["security_boundary"] is False


def test_a_comparison_decides_and_fresh_trials_are_apart() -> None:
    document = SWAP.document()
    validate(document)
    assert (document["verdict"], document["exit_code"], document["fail_under"]) == ("REGRESSED", 1, None)
    assert document["result"] == "REGRESSED 11/15 trials (1 case got worse: refund)"
    assert document["counts"]["planned"] == len(document["trials"]) == 15
    assert [trial["number"] for trial in document["confirmations"]] == [*range(4, 14), *range(4, 14)]
    assert [item["case"] for item in document["regressions"]] == ["refund"]
    statuses = {item["case"]: item["status"] for item in document["baseline"]["comparison"]["cases"]}
    assert statuses == {"refund": "regressed", "cancel": "cleared", "lookup": "improved", "flaky": "steady"}
    assert document["cases"][0] == {"case": "refund", "file": "evals/production-v2.yaml", "line": 12}


def test_trace_that_is_embedded_gives_answer_turns_and_tool_calls() -> None:
    trace = {
        "turns": [
            {"user": "Hi", "answer": "Hello", "duration_s": 0.1},
            {"user": "Refund", "answer": "Done", "duration_s": 0.1},
        ],
        "tool_calls": [{"name": "refund", "arguments": {}}],
    }
    record = trial_record()
    assert record.result is not None
    for key in ("answer", "turns", "usage"):
        del record.result[key]
    record.result["trace"] = trace
    entry = build(run_record(), [record])["trials"][0]
    assert (entry["answer"], entry["turns"], entry["trace"]) == ("Done", 2, None)
    assert entry["usage"]["tool_calls"] == 1


def test_result_with_the_least_is_enough() -> None:
    record = trial_record()
    assert record.result is not None
    record.result.clear()
    validate(build(run_record(), [record]))


def test_long_answers_are_cut_and_say_so() -> None:
    answer = build(run_record(), [trial_record(answer="x" * (MAX_ANSWER_CHARS + 5))])["trials"][0]["answer"]
    assert answer.endswith("x… (5 more characters in the trace)")


def test_numbers_that_json_lacks_are_replaced() -> None:
    score = {"scorer": "mine", "passed": False, "value": math.nan, "reason": "?"}
    document = build(run_record(), [trial_record(scores=[score], duration_s=math.inf)])
    assert document["trials"][0]["scores"][0]["value"] == 0.0
    assert json.loads(to_json(document)) == document


def test_json_file_carries_what_agents_write() -> None:
    document = build(run_record(), [trial_record(answer='ü \x00 \ud800 \udfff 🙂 \\ "')])
    assert json.loads(to_json(document).decode("utf-8")) == document
    assert "ü" in to_json(document).decode("utf-8")


@pytest.mark.parametrize(
    ("path", "value", "place"),
    [
        (("verdict",), "GREAT", "verdict"),
        (("exit_code",), 0, "exit_code"),
        (("schema",), "aegis.run/2", "schema"),
        (("surprise",), 1, "document"),
        (("counts", "lost"), 1, "counts"),
        (("started_at",), "yesterday", "started_at"),
        (("started_at",), "2026-11-23T10:00:00", "started_at"),
        (("trials", 0, "outcome"), None, "trials/0/outcome"),
        (("trials", 0, "trace"), "xyz", "trials/0/trace"),
        (("trials", 1, "scores", 0, "passed"), "no", "trials/1/scores/0/passed"),
    ],
)
def test_validate_names_the_place(path: tuple[Any, ...], value: Any, place: str) -> None:
    document = copy.deepcopy(build(run_record(), TRIALS))
    target = document
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    with pytest.raises(LedgerError, match=f"(: |; ){place}: "):
        validate(document)


@pytest.mark.parametrize("key", sorted(build(run_record(), TRIALS)))
def test_every_key_is_required(key: str) -> None:
    document = build(run_record(), TRIALS)
    del document[key]
    with pytest.raises(LedgerError, match=f"'{key}' is a required property"):
        validate(document)


outcomes = st.lists(st.none() | st.sampled_from(OUTCOMES), max_size=12)
thresholds = st.none() | st.integers(0, 100) | st.floats(0, 100)


@given(outcomes, thresholds, st.text(max_size=50))
def test_builder_and_schema_agree(found: list[str | None], fail_under: float | None, text: str) -> None:
    trials = [
        trial_record(number=number, outcome=outcome, reason=text, answer=text)
        for number, outcome in enumerate(found, 1)
    ]
    document = build(run_record(config=CONFIG | {"fail_under": fail_under}), trials)
    validate(document)
    assert document["exit_code"] == EXIT_CODES[document["verdict"]]
    counts = dict(document["counts"])
    assert counts.pop("planned") == sum(counts.values()) == len(trials)


def test_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    for place, properties, node in objects(schema()):
        assert node["additionalProperties"] is False, place
        assert sorted(node["required"]) == sorted(properties), place


def objects(node: Any, place: str = "") -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """(place, properties, schema) of every object type with properties of its own."""
    if isinstance(node, dict):
        if "properties" in node and "type" in node:
            yield place, node["properties"], node
        for key, value in node.items():
            if key not in ("allOf",):
                yield from objects(value, f"{place}/{key}")


def test_every_property_is_documented() -> None:
    page = (DOCS / "run-document.md").read_text("utf-8")
    documented = set(re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE))
    names = set()
    for place, properties, _ in objects(schema()):
        prefix = place.rpartition("/")[2]
        prefix = "" if prefix in ("", "$defs") else f"{prefix}."
        names |= {prefix + name for name in properties}
    assert documented == names


def test_example_in_the_docs_is_valid() -> None:
    page = (DOCS / "run-document.md").read_text("utf-8")
    (example,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    validate(json.loads(example))


def test_every_verdict_and_exit_code_is_documented() -> None:
    page = (DOCS / "exit-codes.md").read_text("utf-8")
    for word, code in EXIT_CODES.items():
        assert re.search(rf"^\| {code} \|.*`{word}`", page, re.MULTILINE), word
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)}
    assert codes == {0, 1, 2, 3, 4, 5, 130}


def test_exit_codes_of_errors_are_documented() -> None:
    import aegis.errors

    page = (DOCS / "exit-codes.md").read_text("utf-8")
    for name, item in vars(aegis.errors).items():
        if isinstance(item, type) and issubclass(item, aegis.errors.AegisError):
            assert re.search(rf"^\| {item.exit_code} \|", page, re.MULTILINE), name


def refused(host: str, count: int, reason: str = "denied: not in network.allow") -> dict[str, Any]:
    return {"host": host, "port": 443, "reason": reason, "count": count}


def test_refusals_are_summed_over_the_trials_that_count() -> None:
    trials = [
        trial_record(number=1, denied=[refused("a.example", 5), refused("b.example", 1)]),
        trial_record(number=2, denied=[refused("b.example", 2)]),
        trial_record(number=3, denied=[]),
        trial_record(number=4),
        trial_record(number=5, outcome=None),
    ]
    document = build(run_record(), trials)
    validate(document)
    reason = "denied: not in network.allow"
    assert document["denied"] == [
        {"host": "b.example", "port": 443, "reason": reason, "count": 3, "trials": 2},
        {"host": "a.example", "port": 443, "reason": reason, "count": 5, "trials": 1},
    ]


def test_an_agent_that_tries_everything_does_not_fill_the_document() -> None:
    trials = [
        trial_record(number=number, denied=[refused(f"h{number}-{index}.example", 1) for index in range(100)])
        for number in range(1, 31)
    ]
    denied = build(run_record(), trials)["denied"]
    assert len(denied) == MAX_DENIED
    assert sum(item["count"] for item in denied) == 3000
    (rest,) = [item for item in denied if not item["host"]]
    assert (rest["reason"], rest["count"], rest["trials"]) == ("further refusals", 3000 - MAX_DENIED + 1, 21)


def test_prices_name_every_version_that_was_used() -> None:
    def prices(*texts: str | None) -> Any:
        return build(run_record(), [trial_record(number=n, prices=text) for n, text in enumerate(texts, 1)])[
            "prices"
        ]

    assert prices(None, None) is None
    assert prices(None, "genai-prices 0.2.3", "genai-prices 0.2.3") == {
        "package": "genai-prices",
        "version": "0.2.3",
    }
    assert prices("genai-prices 0.2.3", "genai-prices 0.2.4")["version"] == "0.2.3, 0.2.4"


def score(**cost: Any) -> dict[str, Any]:
    return {"scorer": "judge", "passed": True, "value": 1.0, "reason": "polite", "cost": cost}


def test_judging_is_added_up_apart_from_the_agents() -> None:
    cost = {"model": "m", "samples": 3, "cached": 1, "input_tokens": 100, "output_tokens": 10, "usd": 0.1}
    known = build(run_record(), [trial_record(scores=[score(**cost), score(**cost | {"usd": 0.2})])])
    validate(known)
    assert known["judge"] == {"model_calls": 4, "input_tokens": 200, "output_tokens": 20, "usd": 0.3}
    assert "cost" not in known["trials"][0]["scores"][0]
    unknown = build(run_record(), [trial_record(scores=[score(**cost), score(**cost | {"usd": None})])])
    assert unknown["judge"]["usd"] is None
    assert unknown["judge"]["input_tokens"] == 200
    assert build(run_record(), [trial_record()])["judge"] is None


def test_a_replay_says_so() -> None:
    document = build(run_record(config=CONFIG | {"replay_of": "r1", "recorded": False}), [trial_record()])
    validate(document)
    assert (document["replay_of"], document["recorded"]) == ("r1", False)
    assert build(run_record(config=CONFIG | {"recorded": True}), [])["recorded"] is True


def test_playing_users_is_added_up_apart_from_the_agents() -> None:
    cost = {"model_calls": 3, "cached": 1, "input_tokens": 100, "output_tokens": 10, "usd": 0.1}
    dearer = trial_record(number=2, simulator=cost | {"usd": 0.2})
    known = build(run_record(), [trial_record(simulator=cost), dearer, trial_record(number=3)])
    validate(known)
    assert known["simulator"] == {"model_calls": 6, "input_tokens": 200, "output_tokens": 20, "usd": 0.3}
    unknown = build(run_record(), [trial_record(simulator=cost | {"usd": None})])
    assert unknown["simulator"]["usd"] is None
    assert build(run_record(), [trial_record(simulator=None)])["simulator"] is None
