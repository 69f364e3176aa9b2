"""The comparison document: how one run compares with another (docs/comparison-document.md).

Its JSON Schema is `schema/comparison-1.json` in this package, which refers to definitions of `run-1.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

from aegis.results import document as runs

SCHEMA = "aegis.comparison/1"


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the document. Its references lead to `aegis.results.document.schema()`."""
    text = resources.files("aegis.results").joinpath("schema/comparison-1.json").read_text("utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def validate(document: Mapping[str, Any]) -> None:
    """Raise `LedgerError` that lists, with their places, up to ten departures from the schema."""
    import jsonschema
    from referencing import Registry, Resource

    run: Resource[Any] = Resource.from_contents(runs.schema())
    registry = Registry().with_resource(run.id() or "", run)
    runs.raise_problems(jsonschema.Draft202012Validator(schema(), registry=registry), document, SCHEMA)
