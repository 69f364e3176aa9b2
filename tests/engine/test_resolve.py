"""A suite's network on a host that has some of its secrets and not others."""

from __future__ import annotations

from typing import Any

import pytest

from aegis.engine.resolve import resolve
from aegis.errors import UsageError
from aegis.suite.model import Network, Secret

KEY = {"OPENAI_API_KEY": Secret(hosts=("api.openai.com",), optional=True)}
NETWORK: dict[str, Any] = {
    "routes": {
        "api.openai.com": {"upstream": "models", "unless": "OPENAI_API_KEY"},
        "crm.example": {"to": "http://staging.example:80"},
    },
    "upstreams": {"models": {"command": "python3 models.py", "scope": "run"}},
}


def test_without_the_key_the_route_applies() -> None:
    found = resolve(Network.model_validate(NETWORK), KEY, {})
    assert found.upstream_routes == {"api.openai.com": "models"}
    assert found.routes == {"crm.example": "http://staging.example:80"}
    assert (found.direct, found.missing, found.upstreams) == ((), ("OPENAI_API_KEY",), {"models"})


def test_with_the_key_the_name_itself_is_reached() -> None:
    found = resolve(Network.model_validate(NETWORK), KEY, {"OPENAI_API_KEY": "sk-12345678"})
    assert (found.upstream_routes, found.upstreams) == ({}, set())
    assert found.direct == ("api.openai.com",)
    assert found.values == {"OPENAI_API_KEY": "sk-12345678"}
    assert found.describe()["allow"] == ["api.openai.com"]


def test_a_value_is_nowhere_but_in_values() -> None:
    found = resolve(Network.model_validate(NETWORK), KEY, {"OPENAI_API_KEY": "sk-12345678"})
    assert "sk-12345678" not in repr(found)
    assert "sk-12345678" not in str(found.describe())


def test_an_empty_value_is_none() -> None:
    assert resolve(Network(), KEY, {"OPENAI_API_KEY": ""}).missing == ("OPENAI_API_KEY",)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["A"], "the secret A has no value in this environment"),
        (["A", "B"], "the secrets A, B have no value in this environment"),
    ],
)
def test_a_secret_that_is_needed(names: list[str], message: str) -> None:
    secrets = {name: Secret(hosts=("a.example",)) for name in names}
    with pytest.raises(UsageError) as caught:
        resolve(Network(), {**secrets, **KEY}, {})
    assert str(caught.value) == message
    assert "export A=…" in (caught.value.fix or "")
    assert "optional: true" in (caught.value.fix or "")


def test_a_replay_needs_no_value_and_reads_none() -> None:
    secrets = {"A": Secret(hosts=("a.example",)), **KEY}
    found = resolve(Network.model_validate(NETWORK), secrets, {"OPENAI_API_KEY": "sk-12345678"}, replay=True)
    assert found.values == {}
    assert found.upstream_routes == {"api.openai.com": "models"}
