"""JUnit XML, in the shape that Jenkins, GitLab and their like read: one test case for each trial.

`failed` and `timeout` are failures (the agent's), `error` is an error (the infrastructure's), `cancelled` is
skipped.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
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
    root = ET.Element("testsuites", _totals(document))
    suite = ET.SubElement(root, "testsuite", _totals(document) | {"timestamp": document["started_at"]})
    _properties(suite, document)
    for trial in document["trials"]:
        _testcase(suite, document["suite"], trial)
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
    }
    element = ET.SubElement(suite, "properties")
    for name, value in values.items():
        if value is not None:
            ET.SubElement(element, "property", {"name": name, "value": xml_safe(str(value))})


def _testcase(suite: ET.Element, suite_name: str, trial: Mapping[str, Any]) -> None:
    variant = "" if trial["variant"] == BASELINE_VARIANT else f" ({trial['variant']})"
    element = ET.SubElement(
        suite,
        "testcase",
        {
            "classname": xml_safe(f"{suite_name}.{trial['case']}"),
            "name": xml_safe(f"{trial['case']}{variant} #{trial['number']}"),
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
