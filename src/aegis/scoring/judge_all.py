"""All expectations of a case, judged one after the other on the same machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from aegis.errors import InfrastructureError, SandboxLostError, UsageError
from aegis.scoring import registry, turns, usercode
from aegis.scoring.base import ConfigError, Score, ScoreContext, Scorer
from aegis.scoring.words import failed
from aegis.suite.model import Case, Expectation


def needed_files(case: Case) -> tuple[str, ...]:
    """Paths in the suite's folder whose contents `ScoreContext.check_files` must hold, each once, in
    order."""
    paths: dict[str, None] = {}
    for expectation in (*case.expect, *(entry for turn in case.turns for entry in turn.expect)):
        paths.update(dict.fromkeys(registry.get(expectation.scorer).files(expectation.config)))
    return tuple(paths)


def needs_processes(case: Case, *, get: Callable[[str], Scorer] = registry.get) -> bool:
    """Whether a scorer of the case asks for `ScoreContext.processes`."""
    return any(getattr(_found(entry, get), "needs_processes", False) for entry in case.expect)


async def look_before(
    case: Case, context: ScoreContext, *, get: Callable[[str], Scorer] = registry.get
) -> dict[int, Any]:
    """What each expectation of the case remembers of the machine before the agent starts, by its number in
    `case.expect`. Raises `InfrastructureError`."""
    found: dict[int, Any] = {}
    for number, expectation in enumerate(case.expect):
        look = getattr(_found(expectation, get), "before", None)
        if look is not None:
            try:
                found[number] = await look(expectation.config, context)
            except InfrastructureError:
                raise
            except Exception as error:
                raise InfrastructureError(
                    f"the scorer {expectation.scorer!r} is broken: {usercode.describe(error)}"
                ) from error
    return found


def _found(expectation: Expectation, get: Callable[[str], Scorer]) -> Scorer | None:
    """None for one that cannot be used, which is told when it is to judge."""
    try:
        return get(expectation.scorer)
    except (UsageError, KeyError):
        return None


async def score_all(
    case: Case,
    context: ScoreContext,
    *,
    get: Callable[[str], Scorer] = registry.get,
    keep: Callable[[Score], None] = lambda score: None,
    before: Mapping[int, Any] | None = None,
) -> tuple[Score, ...]:
    """One score for each expectation: first those of the case in the suite's order (a `command` may change what later
    ones see), then those of its turns.

    Every scorer is run, whatever the others do; `keep` is given each score at once. Raises the first
    `InfrastructureError` after the last one has run: then nobody can tell whether the trial passed. `get`
    finds a scorer by its name; `before` is what `look_before` found.
    """
    scores: list[Score] = []
    errors: list[InfrastructureError] = []
    for asked in turns.asked(case, context, before or {}):
        try:
            scores.append(await _judged(asked, get))
            keep(scores[-1])
        except InfrastructureError as error:
            errors.append(error)
    if errors:
        raise errors[0]
    return tuple(scores)


async def _judged(asked: turns.Asked, get: Callable[[str], Scorer]) -> Score:
    if asked.context is None:
        return failed(
            asked.expectation.scorer, f"{asked.where}there was no such turn: the simulated user said nothing"
        )
    try:
        score = await _score(asked.expectation, asked.context, get)
    except InfrastructureError as error:
        if not asked.where:
            raise
        raise InfrastructureError(f"{asked.where}{error}", fix=error.fix) from error
    return replace(score, reason=f"{asked.where}{score.reason}") if asked.where else score


async def _score(expectation: Expectation, context: ScoreContext, get: Callable[[str], Scorer]) -> Score:
    name = expectation.scorer
    try:
        score = await get(name).score(expectation.config, context)
    except SandboxLostError as lost:
        if not lost.by_guest:
            raise
        # The check ran what the agent left behind; nothing else in there shuts the machine down.
        return failed(name, "the machine was shut down from inside while it was judged")
    except InfrastructureError:
        raise
    except (UsageError, ConfigError) as error:
        raise InfrastructureError(f"the scorer {name!r} cannot be used: {error}") from error
    except Exception as error:
        raise InfrastructureError(f"the scorer {name!r} is broken: {usercode.describe(error)}") from error
    if not isinstance(score, Score):
        raise InfrastructureError(
            f"the scorer {name!r} is broken: it gave no Score but a {type(score).__name__}"
        )
    return score
