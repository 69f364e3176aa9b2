"""A suite file that reproduces one trial: its case alone, under few faults, as text to be saved and run."""

from __future__ import annotations

import io
from typing import Any

from aegis.suite.document import to_document
from aegis.suite.model import Case, FaultRule, Suite

_KEPT_EMPTY = frozenset({"input", "user"})


def reproduction(suite: Suite, case: Case, faults: tuple[FaultRule, ...], *, name: str, trials: int) -> Suite:
    """The suite of this name with this one case, which meets these faults and no others, `trials` times."""
    alone = case.model_copy(update={"faults": faults, "trials": None})
    return suite.model_copy(
        update={
            "suite": name,
            "description": f"The case {case.id} of {suite.suite} under the faults that break it.",
            "cases": (alone,),
            "faults": (),
            "trials": trials,
        }
    )


def suite_name(suite: Suite, case: Case) -> str:
    """`production-v2-refund-shrunk`: a name that a file can have, at most 100 characters long."""
    return f"{suite.suite}-{case.id}"[:93] + "-shrunk"


def as_yaml(suite: Suite) -> str:
    """The suite as a file, without what it need not say."""
    from ruamel.yaml import YAML

    document = to_document(suite)
    (case,) = document["cases"]
    if len(case["conversation"]) == 1:
        case = {**case, "input": case["conversation"][0]["user"]}
        del case["conversation"]
    order = ("id", "description", "tags", "input", "conversation", "world", "faults", "expect", "timeout")
    document["cases"] = [{key: case[key] for key in order if key in case}]
    writer = YAML()
    writer.width = 120
    writer.indent(mapping=2, sequence=4, offset=2)
    buffer = io.StringIO()
    writer.dump(_lean(document), buffer)
    return buffer.getvalue()


def _lean(value: Any) -> Any:
    """Without empty mappings, lists and texts, which say nothing in a suite; what a scorer was told stays as it is."""
    if isinstance(value, dict):
        lean = {key: item if key == "expect" else _lean(item) for key, item in value.items()}
        return {key: item for key, item in lean.items() if item not in ({}, [], "") or key in _KEPT_EMPTY}
    if isinstance(value, list | tuple):
        return [_lean(item) for item in value]
    return value
