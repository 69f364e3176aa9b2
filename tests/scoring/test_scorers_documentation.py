"""Every example of docs/scorers.md is a configuration that is taken."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from aegis.scoring import registry

DOCS = (Path(__file__).parents[2] / "docs" / "scorers.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", DOCS, re.M | re.S)
ENTRIES = [
    pytest.param(name, config, id=f"{name}-{number}")
    for block in BLOCKS
    for number, entry in enumerate(YAML(typ="safe").load(block)["expect"])
    for name, config in entry.items()
]
SERVICES = [
    {"name": "postgres", "preset": "postgres"},
    {"name": "mailbox", "preset": "mailbox"},
    {"name": "shop", "port": 8080},
]


@pytest.mark.parametrize(("name", "config"), ENTRIES)
def test_an_example(name: str, config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    if name == "judge" or (name == "resilience" and "judge" in config):
        pytest.importorskip("openai")
    assert registry.check(name, config) == []
    assert registry.check_services(name, config, SERVICES) == []


@pytest.mark.parametrize("name", registry.names())
def test_every_scorer_has_an_example(name: str) -> None:
    assert name in {entry.values[0] for entry in ENTRIES}
