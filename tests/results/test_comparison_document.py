"""The comparison document's schema and page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from aegis.errors import LedgerError
from aegis.results.comparisons import schema, validate

PAGE = (Path(__file__).parents[2] / "docs" / "comparison-document.md").read_text("utf-8")
(EXAMPLE,) = (json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL))
_NAMES = {"": "", "detail": "case.", "items": "value."}


def objects(node: Any, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(node, dict):
        if "properties" in node and "type" in node:
            yield place.rpartition("/")[2], node
        for key, value in node.items():
            if key != "allOf":
                yield from objects(value, f"{place}/{key}")


def test_schema_is_one_and_strict() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    for place, node in objects(schema()):
        assert node["additionalProperties"] is False, place
        assert sorted(node["required"]) == sorted(node["properties"]), place


def test_every_property_is_documented_and_nothing_else() -> None:
    documented = re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)
    names = {
        f"{_NAMES.get(place, f'{place}.')}{name}"
        for place, node in objects(schema())
        for name in node["properties"]
    }
    assert sorted(documented) == sorted(names)


def test_the_example_is_valid() -> None:
    validate(EXAMPLE)
    assert EXAMPLE["case"]["look"]


@pytest.mark.parametrize(
    ("path", "value", "place"),
    [
        (("verdict",), "BELOW_THRESHOLD", "verdict"),
        (("exit_code",), 3, "exit_code"),
        (("surprise",), 1, "document"),
        (("base", "run_id"), 1, "base/run_id"),
        (("cases", 0, "status"), "worse", "cases/0/status"),
        (("case", "aspects", 0, "before", "trials"), -1, "case"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(path: tuple[Any, ...], value: Any, place: str) -> None:
    document = json.loads(json.dumps(EXAMPLE))
    target = document
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    with pytest.raises(LedgerError, match=f"the comparison document does not fit .*(: |; ){place}: "):
        validate(document)
