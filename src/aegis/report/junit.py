"""JUnit XML, in the shape that Jenkins, GitLab and their like read: one test case for each trial.

`failed` and `timeout` are failures (the agent's), `error` is an error (the infrastructure's), `cancelled` is
skipped.

A comparison with a baseline is a suite of its own, one test case for each case that looked worse: a failure when it has
regressed, passed when trying it again cleared it, skipped when that could not be judged. Trials of confirmation are no
test cases, as they are in no count of the run: what came of them is told there.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aegis.report.changedlines import changed_line
from aegis.results.files import write_atomic
from aegis.results.show import BASELINE_VARIANT, reason

MAX_ANSWER_CHARS = 10_000
MAX_MESSAGE_CHARS = 500

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What is not a character of XML 1.0 (section 2.2)."""


def write(document: Mapping[str, Any], path: Path | str) -> None:
    """Write the run document as JUnit XML. Raises as `write_atomic`: `UsageError` when the path can't be
    written."""
    write_atomic(path, render(document))


def render(document: Mapping[str, Any]) -> bytes:
    """UTF-8 with an XML declaration. Characters that XML 1.0 forbids become U+FFFD."""
    totals, compared = _totals(document), _compared(document)
    root = ET.Element("testsuites", _sum(totals, compared))
    suite = ET.SubElement(root, "testsuite", totals | {"timestamp": document["started_at"]})
    _properties(suite, document)
    for trial in document["trials"]:
        _testcase(suite, document["suite"], trial)
    if compared is not None:
        _comparison(root, document, compared)
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _totals(document: Mapping[str, Any]) -> dict[str, str]:
    counts = document["counts"]
    return {
        "name": xml_safe(document["suite"]),
        "tests": str(counts["planned"]),
        "failures": str(counts["failed"] + counts["timeout"]),
        "errors": str(counts["error"]),
        "skipped": str(counts["cancelled"]),
        "time": _seconds(document["duration_s"]),
    }


def _properties(suite: ET.Element, document: Mapping[str, Any]) -> None:
    isolation, git = document["isolation"], document["git"] or {}
    values = {
        "run_id": document["run_id"],
        "verdict": document["verdict"],
        "result": document.get("result"),
        "fail_under": document["fail_under"],
        "isolation.driver": isolation["driver"],
        "isolation.accel": isolation["accel"],
        "isolation.security_boundary": str(isolation["security_boundary"]).lower(),
        "fingerprint": document["fingerprint"],
        "git.commit": git.get("commit"),
        "git.branch": git.get("branch"),
        "seed": document["seed"],
        **_baseline(document),
    }
    _write_properties(suite, values)


def _baseline(document: Mapping[str, Any]) -> dict[str, Any]:
    """What was compared with; nothing where no baseline was asked for."""
    baseline = document.get("baseline")
    if baseline is None:
        return {}
    base = (baseline["comparison"] or {}).get("base", {})
    cost = baseline["confirmed"] or {}
    return {
        "baseline.asked": baseline["asked"],
        "baseline.run_id": base.get("run_id"),
        "baseline.commit": base.get("commit"),
        "baseline.behind": baseline["behind"],
        "baseline.problem": baseline["problem"],
        "regressions": len(document["regressions"]),
        "confirmation.trials": cost.get("trials"),
    }


def _write_properties(suite: ET.Element, values: Mapping[str, Any]) -> None:
    element = ET.SubElement(suite, "properties")
    for name, value in values.items():
        if value is not None:
            ET.SubElement(element, "property", {"name": name, "value": xml_safe(str(value))})


def _compared(document: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]] | None:
    """(`failures`, `skipped` or "", the case) of each case that looked worse; None without a comparison."""
    comparison = (document.get("baseline") or {}).get("comparison")
    if comparison is None:
        return None
    found = [("failures", case) for case in document["regressions"]]
    for case in comparison["cases"]:
        if case["status"] in ("suspect", "cleared"):
            # Cleared although some fresh trials were lost is not cleared.
            judged = case["status"] == "cleared" and case["gap"] is None
            found.append(("" if judged else "skipped", case))
    return found


def _sum(totals: Mapping[str, str], compared: Sequence[tuple[str, Any]] | None) -> dict[str, str]:
    added = _counts(compared or ())
    return {name: str(int(value) + added[name]) if name in added else value for name, value in totals.items()}


def _counts(compared: Sequence[tuple[str, Any]]) -> dict[str, int]:
    kinds = [kind for kind, _ in compared]
    return {"tests": len(kinds), "failures": kinds.count("failures"), "skipped": kinds.count("skipped")}


def _comparison(
    root: ET.Element, document: Mapping[str, Any], compared: Sequence[tuple[str, Mapping[str, Any]]]
) -> None:
    fresh: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for trial in document["confirmations"]:
        fresh.setdefault((trial["case"], trial["variant"]), []).append(trial)
    name = xml_safe(f"{document['suite']} compared with {document['baseline']['asked']}")
    counts = {key: str(value) for key, value in _counts(compared).items()}
    time = _seconds(sum(trial["duration_s"] for trial in document["confirmations"]))
    suite = ET.SubElement(
        root,
        "testsuite",
        {"name": name, **counts, "errors": "0", "time": time, "timestamp": document["started_at"]},
    )
    _write_properties(suite, {"run_id": document["run_id"], **_baseline(document)})
    for kind, case in compared:
        trials = fresh.get((case["case"], case["variant"]), [])
        element = ET.SubElement(
            suite,
            "testcase",
            {
                "classname": xml_safe(f"{document['suite']}.{case['case']}"),
                "name": xml_safe(f"regression: {case['case']}{_variant(case)}"),
                "time": _seconds(sum(trial["duration_s"] for trial in trials)),
            },
        )
        message = xml_safe(case["text"][:MAX_MESSAGE_CHARS])
        if kind == "failures":
            reasons = dict.fromkeys(reason(trial) for trial in trials if trial["outcome"] != "passed")
            problem = ET.SubElement(element, "failure", {"message": message, "type": "regression"})
            problem.text = xml_safe("\n".join([case["text"], *reasons]))
        elif kind == "skipped":
            why = case["gap"]["why"] if case["gap"] else "it waits for confirmation"
            ET.SubElement(
                element, "skipped", {"message": xml_safe(f"{case['text']}: {why}"[:MAX_MESSAGE_CHARS])}
            )


def _variant(entry: Mapping[str, Any]) -> str:
    return "" if entry["variant"] == BASELINE_VARIANT else f" ({entry['variant']})"


def _testcase(suite: ET.Element, suite_name: str, trial: Mapping[str, Any]) -> None:
    element = ET.SubElement(
        suite,
        "testcase",
        {
            "classname": xml_safe(f"{suite_name}.{trial['case']}"),
            "name": xml_safe(f"{trial['case']}{_variant(trial)} #{trial['number']}"),
            "time": _seconds(trial["duration_s"]),
        },
    )
    outcome = trial["outcome"]
    if outcome == "passed":
        return
    message = xml_safe(reason(trial)[:MAX_MESSAGE_CHARS])
    if outcome == "cancelled":
        ET.SubElement(element, "skipped", {"message": message})
        return
    kind = "error" if outcome == "error" else "failure"
    ET.SubElement(element, kind, {"message": message, "type": outcome}).text = xml_safe(_details(trial))
    if trial["answer"]:
        ET.SubElement(element, "system-out").text = xml_safe(trial["answer"][:MAX_ANSWER_CHARS])


def _details(trial: Mapping[str, Any]) -> str:
    lines = [reason(trial)]
    lines += [f"{score['scorer']}: {score['reason']}" for score in trial["scores"] if not score["passed"]]
    if line := changed_line(trial):
        lines.append(line)
    return "\n".join(dict.fromkeys(lines))


def _seconds(value: float) -> str:
    return f"{value:.3f}"


def xml_safe(text: str) -> str:
    """The text with what XML 1.0 cannot carry, escaped or not, replaced by U+FFFD."""
    return _FORBIDDEN.sub("\ufffd", text)
