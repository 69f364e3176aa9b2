"""How scorers are found, and how all expectations of a case are judged together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Any

import pytest

from aegis.errors import InfrastructureError, SandboxLostError, UsageError
from aegis.scoring import registry
from aegis.scoring.base import ConfigError, Score, ScoreContext
from aegis.scoring.judge_all import needed_files, score_all
from support.scoring import case, context

BUILT_IN = [
    "answer",
    "file",
    "sql",
    "command",
    "budget",
    "python",
    "request",
    "tool_calls",
    "judge",
    "resilience",
    "mail",
    "http",
    "processes",
    "unchanged",
]


class Custom:
    """A plug-in whose configuration is what it does: an exception to raise, or the score's reason."""

    name = "custom"

    def check(self, config: Any) -> None:
        if config == "bad":
            raise ConfigError("a bad one", ("where",), others=((("there",), "another"),))
        if config == "broken":
            raise KeyError("oops")

    def files(self, config: Any) -> tuple[str, ...]:
        return ("shared.txt", str(config))

    async def score(self, config: Any, context: ScoreContext) -> Any:
        if isinstance(config, Exception):
            raise config
        return Score(self.name, True, 1.0, config) if isinstance(config, str) else config


custom = Custom()
incomplete = object()


@pytest.fixture
def plug_ins(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Registers entry points for one test, given as name=value."""

    def install(*entries: tuple[str, str]) -> None:
        found = [metadata.EntryPoint(name, value, registry.GROUP) for name, value in entries]
        monkeypatch.setattr(metadata, "entry_points", lambda group: found)
        registry.get.cache_clear()
        registry._plug_ins.cache_clear()

    yield install
    monkeypatch.undo()
    registry.get.cache_clear()
    registry._plug_ins.cache_clear()


HERE = f"{__name__}:custom"


def test_the_built_in_scorers() -> None:
    assert registry.names()[: len(BUILT_IN)] == BUILT_IN
    assert [registry.get(name).name for name in BUILT_IN] == BUILT_IN


def test_an_unknown_scorer_gets_a_suggestion() -> None:
    [(path, message)] = registry.check("anwser", "x")
    assert (path, message) == ((), "unknown scorer 'anwser' (did you mean 'answer'?)")
    with pytest.raises(UsageError, match="anwser"):
        registry.get("anwser")


def test_a_plug_in_is_found_and_checked(plug_ins: Callable[..., None]) -> None:
    plug_ins(("custom", HERE))
    assert registry.names() == [*BUILT_IN, "custom"]
    assert registry.get("custom") is custom
    assert registry.check("custom", "good") == []
    assert registry.check("custom", "bad") == [(("where",), "a bad one"), (("there",), "another")]
    assert registry.check("custom", "broken") == [
        ((), "the scorer 'custom' failed to check its configuration: KeyError: 'oops'")
    ]


@pytest.mark.parametrize(
    ("entries", "name", "message"),
    [
        ([("mine", "no_such_module:scorer")], "mine", "'mine' .* cannot be loaded: ModuleNotFoundError"),
        ([("mine", f"{__name__}:nothing")], "mine", "cannot be loaded: AttributeError"),
        ([("mine", f"{__name__}:incomplete")], "mine", "lacks check, files, score"),
        ([("mine", f"{__name__}:Custom")], "mine", "is a class, not an instance"),
        ([("answer", HERE)], "other", "registers the scorer 'answer', a name that Aegis itself uses"),
        ([("judge", HERE)], "other", "registers the scorer 'judge'"),
        ([("mine", HERE), ("mine", "x:y")], "mine", "both register the scorer 'mine'"),
    ],
)
def test_a_broken_plug_in_is_one_clear_error(
    plug_ins: Callable[..., None], entries: list[tuple[str, str]], name: str, message: str
) -> None:
    plug_ins(*entries)
    with pytest.raises(UsageError, match=message) as caught:
        registry.get(name)
    assert caught.value.fix
    assert "\n" not in str(caught.value)
    assert len(registry.check(name, {})) == 1
    assert registry.check("answer", "x") == [], "the built-in scorers go on working"


def score(*expectations: tuple[str, Any], answer: str = "yes") -> tuple[Score, ...]:
    # Expectation.config is JSON in a suite; a test's plug-in may be given anything.
    whole = case(*expectations)
    return asyncio.run(score_all(whole, context(answer)))


def test_every_expectation_gets_its_score_in_order() -> None:
    scores = score(("answer", "no"), ("answer", "yes"), ("budget", {"steps": 5}))
    assert [(s.scorer, s.passed) for s in scores] == [("answer", False), ("answer", True), ("budget", True)]


def test_one_broken_scorer_does_not_stop_the_others(plug_ins: Callable[..., None]) -> None:
    plug_ins(("custom", HERE))
    seen: list[str] = []

    class Last(Custom):
        async def score(self, config: Any, context: ScoreContext) -> Any:
            seen.append("last")
            return Score("custom", True, 1.0, "")

    whole = case(
        ("custom", InfrastructureError("first")), ("custom", InfrastructureError("second")), ("answer", "yes")
    )
    kept: list[Score] = []
    with pytest.raises(InfrastructureError, match=r"^first$"):
        asyncio.run(
            score_all(
                whole,
                context(),
                get=lambda name: Last() if name == "answer" else registry.get(name),
                keep=kept.append,
            )
        )
    assert seen == ["last"]
    assert [(each.scorer, each.passed) for each in kept] == [("custom", True)]


@pytest.mark.parametrize(
    ("does", "message"),
    [
        (ValueError("bad sum"), "the scorer 'custom' is broken: ValueError: bad sum"),
        (ConfigError("odd"), "the scorer 'custom' cannot be used: odd"),
        (SandboxLostError("gone"), "^gone$"),
        (3, "it gave no Score but a int"),
    ],
)
def test_what_a_scorer_does_wrong_is_nobodys_failure(
    plug_ins: Callable[..., None], does: Any, message: str
) -> None:
    plug_ins(("custom", HERE))
    with pytest.raises(InfrastructureError, match=message):
        score(("custom", does))


def test_a_scorer_that_is_gone_is_nobodys_failure() -> None:
    with pytest.raises(InfrastructureError, match="unknown scorer 'gone'"):
        score(("gone", {}))


def test_a_machine_shut_down_from_inside_is_a_failed_score(plug_ins: Callable[..., None]) -> None:
    plug_ins(("custom", HERE))
    first, second = score(("custom", SandboxLostError("off", by_guest=True)), ("answer", "yes"))
    assert (first.passed, first.reason) == (
        False,
        "the machine was shut down from inside while it was judged",
    )
    assert second.passed


def test_needed_files_of_a_case_are_named_once(plug_ins: Callable[..., None]) -> None:
    plug_ins(("custom", HERE))
    whole = case(("custom", "a"), ("answer", "x"), ("custom", "b"), ("python", "checks.py:f"))
    assert needed_files(whole) == ("shared.txt", "a", "b", "checks.py")
