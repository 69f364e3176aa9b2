"""Scorer `tool_calls`: which tools were called, in which order, with which arguments."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aegis.errors import InfrastructureError
from aegis.scoring import configs, jsonvalue, matcher
from aegis.scoring.base import Score, ScoreContext
from aegis.scoring.configs import Problem, refuse
from aegis.scoring.words import failed, passed, plain, shown
from aegis.suite.units import describe as kind_of
from aegis.trace import ToolCall

_KEYS = ("include", "exclude", "exact", "order", "arguments")
_ORDERS = ("any", "strict")


class ToolCallsScorer:
    """Reads the merged tool calls of the trace: reported by the agent, asked for by a model, run by an MCP server."""

    name = "tool_calls"

    def check(self, config: Any) -> None:
        refuse(_problems(config))

    def files(self, config: Any) -> tuple[str, ...]:
        return ()

    async def score(self, config: Any, context: ScoreContext) -> Score:
        trace = context.trace
        calls = trace.tool_calls
        if not calls and not trace.recorded:
            raise InfrastructureError(
                "tool calls are not known: the agent reported none and no gateway recorded this trial"
            )
        names = [call.name for call in calls]
        strict = config.get("order") == "strict"
        lack = (
            _exact_lack(config, names, strict)
            or _include_lack(config, names, strict)
            or _exclude_lack(config, names)
        )
        if lack is None:
            for tool, expected in config.get("arguments", {}).items():
                if lack := await _arguments_lack(tool, expected, calls):
                    break
        if lack is not None:
            return failed(self.name, f"{lack}; called: {_listed(names)}")
        return passed(self.name, f"called: {_listed(names)}")


def _listed(names: Sequence[str]) -> str:
    if not names:
        return "no tool"
    told = ", ".join(plain(name, 60) for name in names[:20])
    return told + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _exact_lack(config: Mapping[str, Any], names: Sequence[str], strict: bool) -> str | None:
    if "exact" not in config:
        return None
    expected = _as_list(config["exact"])
    same = list(names) == expected if strict else Counter(names) == Counter(expected)
    order = ", in this order" if strict else ""
    return None if same else f"expected exactly {_listed(expected)}{order}"


def _include_lack(config: Mapping[str, Any], names: Sequence[str], strict: bool) -> str | None:
    expected = _as_list(config.get("include", ()))
    if missing := Counter(expected) - Counter(names):
        told = [
            f"{name} (twice)" if n == 2 else f"{name} ({n} times)" if n > 2 else name
            for name, n in missing.items()
        ]
        return f"expected a call of {', '.join(told)}" + (
            " more" if any(name in names for name in missing) else ""
        )
    if not strict:
        return None
    left = iter(names)
    for index, name in enumerate(expected):
        if name not in left:
            return f"expected {name} after {expected[index - 1]}"
    return None


def _exclude_lack(config: Mapping[str, Any], names: Sequence[str]) -> str | None:
    called = [name for name in _as_list(config.get("exclude", ())) if name in names]
    return f"expected no call of {', '.join(called)}" if called else None


async def _arguments_lack(tool: str, expected: Any, calls: Sequence[ToolCall]) -> str | None:
    """None when at least one call of the tool has the arguments."""
    own = [call for call in calls if call.name == tool]
    lack = ""
    for call in own:
        lack = await _difference(expected, call.arguments)
        if not lack:
            return None
    if not own:
        return f"expected a call of {tool} with {_wanted(expected)}"
    many = f"none of {len(own)} calls has it; the last: " if len(own) > 1 else ""
    return f"expected {tool} with {_wanted(expected)}: {many}{lack}"


async def _difference(expected: Any, arguments: Any) -> str:
    if _is_matcher(expected):
        text = (
            arguments
            if isinstance(arguments, str)
            else json.dumps(arguments, ensure_ascii=False, sort_keys=True)
        )
        judgement = await matcher.judge(expected, text, "the arguments")
        return "" if judgement.ok else judgement.reason
    return jsonvalue.difference(expected, arguments, "$") or ""


def _is_matcher(expected: Any) -> bool:
    """A text, or a mapping of nothing but a matcher's keys; any other mapping is a part of the arguments."""
    if isinstance(expected, str):
        return True
    return (
        isinstance(expected, Mapping)
        and bool(expected)
        and all(key in matcher.KEYS for key in expected)
        and matcher.has_conditions(expected)
    )


def _wanted(expected: Any) -> str:
    return f"arguments that should {matcher.describe(expected)}" if _is_matcher(expected) else shown(expected)


def _as_list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _problems(config: Any) -> Iterator[Problem]:
    yield from configs.keys(config, _KEYS)
    if not isinstance(config, Mapping):
        return
    if not any(key in config for key in ("include", "exclude", "exact", "arguments")):
        yield (), "expected include, exclude, exact or arguments"
    for key in ("include", "exclude", "exact"):
        if key in config:
            yield from _names_problems(config[key], key)
    if config.get("order", "any") not in _ORDERS:
        yield ("order",), f"expected any or strict, got {kind_of(config['order'])}"
    if "order" in config and not ("include" in config or "exact" in config):
        yield ("order",), "there is nothing to order: name the tools in include or exact"
    both = set(_texts(config.get("include"))) & set(_texts(config.get("exclude")))
    if both:
        yield ("exclude",), f"{sorted(both)[0]!r} is in include and in exclude"
    yield from _arguments_problems(config.get("arguments", {}))


def _texts(value: Any) -> list[str]:
    items = value if isinstance(value, list | tuple) else [value]
    return [item for item in items if isinstance(item, str)]


def _names_problems(value: Any, key: str) -> Iterator[Problem]:
    if isinstance(value, str) and value:
        return
    if not isinstance(value, list | tuple) or (not value and key != "exact"):
        yield (key,), f"expected the name of a tool or a list of names, got {kind_of(value)}"
        return
    for index, item in enumerate(value):
        if not isinstance(item, str) or not item:
            yield (key, index), f"expected the name of a tool, got {kind_of(item)}"


def _arguments_problems(arguments: Any) -> Iterator[Problem]:
    if not isinstance(arguments, Mapping):
        yield ("arguments",), f"expected a mapping of tools to arguments, got {kind_of(arguments)}"
        return
    for tool, expected in arguments.items():
        path = ("arguments", tool if isinstance(tool, str | int) else str(tool))
        if not isinstance(expected, Mapping | str):
            yield path, f"expected a mapping of arguments or a text, got {kind_of(expected)}"
        elif _is_matcher(expected):
            yield from matcher.problems(expected, path)
        elif isinstance(expected, Mapping) and (message := jsonvalue.problem(dict(expected))):
            yield path, message


scorer = ToolCallsScorer()
