"""Scorer `python`: the user's own function, from a file beside the suite or an importable module."""

from __future__ import annotations

import asyncio
import inspect
import math
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from aegis.errors import InfrastructureError
from aegis.scoring import configs, usercode
from aegis.scoring.base import Score, ScoreContext
from aegis.scoring.configs import Problem, refuse
from aegis.scoring.usercontext import MissingFileError, UserContext
from aegis.scoring.words import failed, plain, shown
from aegis.suite.units import describe, format_duration, parse_duration

DEFAULT_TIMEOUT_S = 60.0

_KEYS = ("function", "args", "threshold", "timeout")


class PythonScorer:
    """The function gets a `UserContext` and `args` as keywords, sync or async, in a thread of its own.

    It returns a bool, a number from 0 to 1 (passed from `threshold` on, 1 unless given), either of them with
    a reason as a tuple, or a `Score`. A failing `assert` and an uncaught `MissingFileError` are failed
    scores; any other exception means that nobody could tell, and the trial is an `error`."""

    name = "python"

    def check(self, config: Any) -> None:
        refuse(_problems(_mapping(config)))

    def files(self, config: Any) -> tuple[str, ...]:
        path = usercode.file_of(_mapping(config)["function"])
        return () if path is None else (path,)

    async def score(self, config: Any, context: ScoreContext) -> Score:
        config = _mapping(config)
        reference = config["function"]
        timeout_s = parse_duration(config["timeout"]) if "timeout" in config else DEFAULT_TIMEOUT_S
        user = UserContext(context, asyncio.get_running_loop())

        def judge() -> Any:
            function = usercode.load(reference, context.check_files)
            result = function(user, **config.get("args", {}))
            return asyncio.run(_finish(result)) if inspect.isawaitable(result) else result

        try:
            async with asyncio.timeout(timeout_s) as clock:
                result = await _in_thread(judge)
        except TimeoutError as error:
            if clock.expired():
                limit = format_duration(timeout_s)
                raise InfrastructureError(f"the scorer {reference} did not end within {limit}") from None
            raise _broken(reference, error) from error
        except (AssertionError, MissingFileError) as error:
            return failed(self.name, f"{reference}: {_claim(error)}")
        except InfrastructureError:
            raise
        except Exception as error:
            raise _broken(reference, error) from error
        finally:
            user.close()
        return _as_score(self.name, reference, result, config.get("threshold", 1))


def _mapping(config: Any) -> Any:
    return {"function": config} if isinstance(config, str) else config


async def _finish(result: Awaitable[Any]) -> Any:
    return await result


async def _in_thread(work: Callable[[], Any]) -> Any:
    """As `asyncio.to_thread`, in a daemon thread: a function that never ends must not hold up the run's
    end."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(result)
        else:
            done.set_exception(error)

    def body() -> None:
        result: Any = None
        failure: BaseException | None = None
        try:
            result = work()
        except Exception as error:
            # A future refuses StopIteration.
            failure = _renamed(error) if isinstance(error, StopIteration) else error
        except (SystemExit, asyncio.CancelledError) as error:
            failure = _renamed(error)
        try:
            loop.call_soon_threadsafe(settle, result, failure)
        except RuntimeError:
            return  # the run has ended meanwhile

    threading.Thread(target=body, name="user-scorer", daemon=True).start()
    return await done


def _renamed(error: BaseException) -> RuntimeError:
    """An exception that would end more than the scorer, as one that doesn't."""
    return RuntimeError(f"{type(error).__name__}: {error}").with_traceback(error.__traceback__)


def _broken(reference: str, error: BaseException) -> InfrastructureError:
    return InfrastructureError(
        f"the scorer {reference} failed: {usercode.describe(error)}",
        fix="Mend the scorer, or let it return False for what the agent did wrong; the agent was not judged.",
    )


def _claim(error: BaseException) -> str:
    return usercode.describe(error) if isinstance(error, AssertionError) else plain(str(error))


def _as_score(name: str, reference: str, result: Any, threshold: float) -> Score:
    if isinstance(result, Score):
        return result
    reason = ""
    if isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], str):
        result, reason = result[0], plain(result[1], 400)
    if isinstance(result, bool):
        return Score(name, result, float(result), reason or f"{reference} returned {result}")
    if isinstance(result, int | float) and math.isfinite(result) and 0 <= result <= 1:
        told = f"{reference} returned {result:g}, passed from {threshold:g} on"
        return Score(name, result >= threshold, float(result), reason or told)
    kind = "nothing" if result is None else shown(result, 60)
    raise InfrastructureError(
        f"the scorer {reference} returned {kind}",
        fix="Return True or False, a number from 0 to 1, or (either, reason).",
    )


def _problems(config: Any) -> Iterator[Problem]:
    yield from configs.keys(config, _KEYS, required=("function",))
    if not isinstance(config, Mapping):
        return
    yield from _function_problems(config)
    yield from configs.duration(config, "timeout")
    args = config.get("args", {})
    if not isinstance(args, Mapping) or not all(isinstance(key, str) and key.isidentifier() for key in args):
        yield ("args",), f"expected a mapping of argument names to values, got {describe(args)}"
    threshold = config.get("threshold", 1)
    number = isinstance(threshold, int | float) and not isinstance(threshold, bool)
    if not number or not 0 < threshold <= 1:
        yield ("threshold",), f"expected a number above 0, at most 1, got {describe(threshold)}"


def _function_problems(config: Mapping[str, Any]) -> Iterator[Problem]:
    function = config.get("function")
    if "function" not in config:
        return
    if not isinstance(function, str) or not usercode.is_reference(function):
        yield ("function",), f"expected module:function or checks.py:function, got {describe(function)}"
    elif (path := usercode.file_of(function)) and (message := configs.suite_file(path)):
        yield ("function",), message


scorer = PythonScorer()
