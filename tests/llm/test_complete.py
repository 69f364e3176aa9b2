"""Asking models through the real client libraries, at local servers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aegis.errors import HostNeedsError, InfrastructureError
from aegis.llm import Completion, FolderCache, Message, complete
from aegis.llm.base import Endpoint, endpoint
from aegis.llm.cache import key_of
from aegis.llm.client import parse_object, problem
from support import wire
from support.recorder import Recorder, Reply, Request

pytest.importorskip("openai")
pytest.importorskip("anthropic")

SCHEMA = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}},
    "required": ["ok"],
    "additionalProperties": False,
}
KEY = "sk-very-secret-0123456789"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("THEIR_KEY", KEY)


def at(recorder: Recorder, provider: str = "openai", model: str = "gpt-5-mini") -> Endpoint:
    url = f"{recorder.url}/v1" if provider == "openai" else recorder.url
    return endpoint(model, provider=provider, base_url=url, key_variable="THEIR_KEY")  # type: ignore[arg-type]


def ask(
    script: Callable[[Request], Reply], provider: str = "openai", **more: Any
) -> tuple[Completion, list[dict[str, Any]]]:
    """The completion, and the JSON bodies that were sent for it."""
    with Recorder(script) as recorder:
        work = complete(at(recorder, provider), "Be brief.", [Message("user", "Hi")], retries=0, **more)
        answer = asyncio.run(work)
        bodies = [
            json.loads(item.request_body.text or "") for item in recorder.exchanges if item.request_body
        ]
    return answer, bodies


def test_openai() -> None:
    seen: list[Request] = []

    def script(request: Request) -> Reply:
        seen.append(request)
        return wire.plain(wire.chat("Hello."))

    answer, [body] = ask(script)
    assert answer == Completion("Hello.", "gpt-5-mini-2025-08-07", None, 1000, 100, 0.000405)
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
    ]
    assert (body["temperature"], body["max_tokens"], "seed" in body) == (0.0, 4096, False)
    assert (
        dict(seen[0].headers).get("authorization", dict(seen[0].headers).get("Authorization"))
        == f"Bearer {KEY}"
    )


def test_openai_with_a_schema() -> None:
    answer, [body] = ask(lambda request: wire.plain(wire.chat('{"ok": true}')), schema=SCHEMA)
    assert answer.data == {"ok": True}
    assert body["response_format"]["json_schema"] == {"name": "answer", "schema": SCHEMA, "strict": True}
    assert json.dumps(SCHEMA) in body["messages"][0]["content"]


def test_a_server_that_takes_neither_schema_nor_temperature_nor_a_limit() -> None:
    def script(request: Request) -> Reply:
        body = json.loads(request.body)
        for name in ("response_format", "max_tokens", "temperature", "seed"):
            if name in body:
                return wire.plain(
                    {"error": {"message": f"Unsupported parameter: '{name}'", "code": "x"}}, 400
                )
        return wire.plain(wire.chat('Sure:\n```json\n{"ok": false}\n```'))

    answer, bodies = ask(script, schema=SCHEMA, seed=7)
    assert answer.data == {"ok": False}
    assert len(bodies) == 5
    assert [body.get("seed") for body in bodies] == [7, 7, 7, 7, None]


def test_anthropic_with_a_schema() -> None:
    use = {"type": "tool_use", "id": "toolu_1", "name": "answer", "input": {"ok": True}}
    answer, [body] = ask(
        lambda request: wire.plain(wire.message([use], "tool_use")), "anthropic", schema=SCHEMA
    )
    assert answer.data == {"ok": True}
    assert (answer.input_tokens, answer.output_tokens) == (1000, 100)
    assert answer.usd is not None
    assert body["tool_choice"] == {"type": "tool", "name": "answer"}
    assert body["system"].startswith("Be brief.")


def test_anthropic_as_text() -> None:
    reply = wire.plain(wire.message([{"type": "text", "text": "Hello."}]))
    answer, [body] = ask(lambda request: reply, "anthropic", temperature=None)
    assert (answer.text, answer.data) == ("Hello.", None)
    assert "temperature" not in body
    assert "tools" not in body


def test_an_unknown_model_has_no_price() -> None:
    answer, _ = ask(lambda request: wire.plain(wire.chat("x", model="ours-7b")))
    assert answer.usd == pytest.approx(0.000405)  # the model that was asked for has one
    with Recorder(lambda request: wire.plain(wire.chat("x", model="ours-7b"))) as recorder:
        done = asyncio.run(complete(at(recorder, model="ours"), "", [Message("user", "Hi")]))
    assert done.usd is None


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_what_a_server_refuses_is_told_without_the_key(provider: str, status: int) -> None:
    error = {"error": {"type": "x", "message": f"the key {KEY} is wrong"}}
    with pytest.raises(InfrastructureError) as caught:
        ask(lambda request: wire.plain(error, status), provider)
    assert "the key (key) is wrong" in str(caught.value)
    assert KEY not in repr(caught.value.__dict__)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"choices": [], "content": null}'])
def test_an_answer_that_is_none(provider: str, body: bytes) -> None:
    kind = "text/html" if body == b"<html>" else "application/json"
    with pytest.raises(InfrastructureError, match="gpt-5-mini"):
        ask(lambda request: Reply([body], content_type=kind), provider)


def test_nobody_there() -> None:
    nobody = endpoint("m", base_url="http://127.0.0.1:9/v1")
    with pytest.raises(InfrastructureError, match="no answer from the model 'm' at http://127"):
        asyncio.run(complete(nobody, "", [Message("user", "Hi")], retries=0))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"model": "gpt-5"}, Endpoint("gpt-5", "openai", None, "OPENAI_API_KEY")),
        ({"model": "claude-x"}, Endpoint("claude-x", "anthropic", None, "ANTHROPIC_API_KEY")),
        ({"model": "anthropic/claude-x"}, Endpoint("claude-x", "anthropic", None, "ANTHROPIC_API_KEY")),
        ({"model": "openai/gpt-5"}, Endpoint("gpt-5", "openai", None, "OPENAI_API_KEY")),
        ({"model": "claude-x", "provider": "openai"}, Endpoint("claude-x", "openai", None, "OPENAI_API_KEY")),
        ({"model": "gpt-5", "key_variable": "K"}, Endpoint("gpt-5", "openai", None, "K")),
        # An address of one's own gets no key that was not named for it.
        (
            {"model": "openai/gpt-5", "base_url": "http://h/v1"},
            Endpoint("openai/gpt-5", "openai", "http://h/v1", None),
        ),
        (
            {"model": "m", "base_url": "http://h", "provider": "anthropic", "key_variable": "K"},
            Endpoint("m", "anthropic", "http://h", "K"),
        ),
    ],
)
def test_where_a_model_is_asked(given: dict[str, Any], expected: Endpoint) -> None:
    assert endpoint(**given) == expected


def test_a_missing_key_or_library_is_told_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    assert problem(endpoint("gpt-5")) == "needs the environment variable OPENAI_API_KEY for the model 'gpt-5'"
    with pytest.raises(HostNeedsError, match="cannot be asked: it needs the environment variable"):
        asyncio.run(complete(endpoint("gpt-5"), "", [Message("user", "Hi")]))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install 'aegis-evals[judge]'" in (problem(endpoint("m", base_url="http://h")) or "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1}', {"a": 1}),
        ('Here:\n```json\n{"a": {"b": 2}}\n```\nDone.', {"a": {"b": 2}}),
        ('I think {"a": 1} it is', {"a": 1}),
        ("[1]", None),
        ("no", None),
        ("{" * 5000, None),
    ],
)
def test_objects_in_answers(text: str, expected: Any) -> None:
    assert parse_object(text) == expected


def test_kept_answers(tmp_path: Path) -> None:
    cache = FolderCache(tmp_path / "answers")
    key = key_of("judge", 1, {"rubric": "x"})
    assert key == key_of("judge", 1, {"rubric": "x"}) != key_of("judge", 2, {"rubric": "x"})
    assert cache.get(key) is None
    cache.put(key, {"score": 1, "text": "\ud800é"})
    assert cache.get(key) == {"score": 1, "text": "\ud800é"}
    [path] = (tmp_path / "answers").rglob("*.json")
    path.write_text("[1")
    assert cache.get(key) is None
    path.write_text("[1]")
    assert cache.get(key) is None


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = FolderCache(tmp_path / "file" / "answers")
    cache.put("k", {"a": 1})
    assert cache.get("k") is None
