"""Kinds of parameters that several faults take."""

from __future__ import annotations

from aegis.faults import jsonpath
from aegis.suite.kinds import Converted, ListOf

EXPECTED_PATH = "a JSON path such as $.items[0].price"


def _json_path(text: str) -> str:
    jsonpath.parse(text)
    return text


PATH = Converted(_json_path, EXPECTED_PATH, r"^(\$|[A-Za-z_\[*]).*$")
PATHS = ListOf(PATH, "a list of JSON paths such as [$.items[0].price]", min_items=1)
