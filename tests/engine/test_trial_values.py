"""Specs and results survive JSON unchanged: another executor must see the very same trial."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from aegis.engine.spec import DeniedHost, TemplateRecipe, TrialResult, TrialSpec
from aegis.sandbox.base import PreparedProcess, SandboxInfo
from aegis.scoring.base import Score
from aegis.suite.model import Agent, Case, Expectation, Limit, Network, Route, Secret, Turn, Upstream, World
from aegis.trace import Body, Exchange, ToolCall, Trace, TurnRecord

text = st.text(max_size=20)
whole = st.integers(0, 2**40)
number = st.floats(allow_nan=False, allow_infinity=False)
digest = st.text("0123456789abcdef", min_size=64, max_size=64)
texts = st.dictionaries(text, text, max_size=3)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | whole | number | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=5,
)


def many(items: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(items, max_size=3).map(tuple)


prepared = st.builds(PreparedProcess, name=text, argv=many(text), env=texts, cwd=text)
recipes = st.builds(
    TemplateRecipe,
    image=text,
    memory_bytes=whole,
    cpus=whole,
    files=st.none() | digest,
    setup=many(text),
    env=texts,
    prepared=many(prepared),
)
cases = st.builds(
    Case,
    id=text,
    tags=many(text),
    description=text,
    turns=many(st.builds(Turn, user=text)),
    world=st.builds(World, files=texts, run=many(text)),
    expect=many(st.builds(Expectation, scorer=text, config=json_values, line=st.none() | whole)),
    trials=st.none() | whole,
    timeout=st.none() | number,
    source_file=text,
    source_line=whole,
)
agents = st.builds(
    Agent,
    command=text,
    protocol=st.sampled_from(["text", "jsonl", "python"]),
    env=texts,
    secrets=st.dictionaries(text, st.builds(Secret, hosts=many(text), optional=st.booleans()), max_size=2),
)
networks = st.builds(
    Network,
    allow=many(text),
    routes=st.dictionaries(
        text,
        st.builds(Route, to=st.none() | text, upstream=st.none() | text, unless=st.none() | text),
        max_size=2,
    ),
    upstreams=st.dictionaries(
        text,
        st.builds(Upstream, command=text, scope=st.sampled_from(["trial", "run"]), env=texts),
        max_size=2,
    ),
    passthrough=many(text),
    limits=st.dictionaries(text, st.builds(Limit, requests_per_minute=st.none() | number), max_size=2),
    ca_bundle=st.none() | text,
)
specs = st.builds(
    TrialSpec,
    run_id=text,
    suite=text,
    case=cases,
    number=whole,
    epoch=whole,
    agent=agents,
    template=recipes,
    timeout_s=number,
    variant=text,
    world=st.none() | digest,
    check_files=st.dictionaries(text, digest, max_size=3),
    network=networks,
    ca_bundle=st.none() | digest,
)
traces = st.builds(
    Trace,
    turns=many(st.builds(TurnRecord, user=text, answer=text, duration_s=number)),
    tool_calls=many(st.builds(ToolCall, name=text, arguments=json_values, result=json_values, turn=whole)),
    stderr_tail=text,
    stdout_tail=text,
    exit=st.none() | text,
    duration_s=number,
)
sandboxes = st.builds(
    SandboxInfo,
    id=text,
    driver=text,
    start_ms=number,
    restored=st.booleans(),
    memory_mib=whole,
    pooled=st.booleans(),
)
bodies = st.builds(Body, size_bytes=whole, text=st.none() | text, blob=st.none() | digest)
exchanges = st.builds(
    Exchange,
    id=whole,
    kind=st.just("http"),
    scheme=text,
    host=text,
    port=whole,
    request_headers=many(st.tuples(text, text)),
    response_body=st.none() | bodies,
    chunks=many(st.tuples(number, whole)),
)
results = st.builds(
    TrialResult,
    run_id=text,
    case=text,
    variant=text,
    number=whole,
    epoch=whole,
    outcome=st.sampled_from(["passed", "failed", "timeout", "error", "cancelled"]),
    reason=text,
    scores=many(st.builds(Score, scorer=text, passed=st.booleans(), value=number, reason=text)),
    trace=st.none() | traces,
    sandbox=st.none() | sandboxes,
    duration_s=number,
    denied=many(st.builds(DeniedHost, host=text, port=whole, reason=text, count=whole)),
    agent_started_at=st.none() | text,
    setup=many(exchanges),
)


@given(specs)
def test_a_spec_survives_json(spec: TrialSpec) -> None:
    assert TrialSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


@given(results)
def test_a_result_survives_json(result: TrialResult) -> None:
    assert TrialResult.from_json(json.loads(json.dumps(result.to_json()))) == result


@given(recipes, st.binary(max_size=20))
def test_a_recipe_becomes_the_template_it_describes(recipe: TemplateRecipe, archive: bytes) -> None:
    spec = recipe.spec(archive)
    assert spec.files_tar == archive
    for name in ("image", "memory_bytes", "cpus", "setup", "env", "prepared"):
        assert getattr(spec, name) == getattr(recipe, name)
