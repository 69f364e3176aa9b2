"""What can be read about faults and profiles, made from themselves: their docstrings, parameters and rules. Pure."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from aegis.faults import registry
from aegis.faults.base import GROUPS, Fault, Layer
from aegis.faults.examples import EXAMPLES
from aegis.faults.plan import match as matching
from aegis.faults.plan import profiles, when
from aegis.faults.plan.keys import HostGlob, Method, OneOrMore
from aegis.faults.plan.profiles import Profile
from aegis.faults.plan.reading import rules_of
from aegis.suite.kinds import Anything, Choice, Duration, Flag, Integer, Key, Kind, Number, Section, Size
from aegis.suite.model import FaultRule
from aegis.suite.units import format_duration, format_size

GROUP_TITLES = {
    "time": "Time: the answer comes late",
    "connection": "Connection: it does not come about, or breaks",
    "partial": "Partial: the answer is not whole, or not right",
    "status": "Status: the service says no",
    "auth": "Auth: the credential is not good any more",
    "semantic": "Semantic: it looks right and is not",
}
LAYERS: dict[Layer, str] = {
    "http": "HTTP",
    "tcp": "connections that are carried unread (plain TCP, TLS that is not opened)",
    "mcp": "what an MCP server is asked, over HTTP or standard input and output",
}


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    """`refresh.path` for a key of a parameter that is a mapping."""
    takes: str
    default: str
    """As the file would write it; "" when there is none."""
    text: str


def text(kind: type[Fault]) -> str:
    """The docstring of a fault."""
    return inspect.cleandoc(kind.__doc__ or "")


def summary(kind: type[Fault]) -> str:
    """The first sentence of it, on one line."""
    return first_sentence(text(kind))


def first_sentence(content: str) -> str:
    """The first sentence of a docstring, on one line."""
    first = " ".join(content.split("\n\n")[0].split())
    return re.split(r"(?<=\.) (?=[A-Z`])", first)[0]


def layers(kind: type[Fault]) -> str:
    """What it acts on, in words."""
    return "; ".join(words for layer, words in LAYERS.items() if layer in kind.layers)


def parameters(kind: type[Fault]) -> list[Parameter]:
    """A fault's own keys, in their order."""
    return parameters_of(kind.keys)


def parameters_of(keys: Iterable[Key]) -> list[Parameter]:
    """The keys, in their order, those of a mapping after it."""
    return [found for key in keys for found in _parameters(key, "")]


def _parameters(key: Key, above: str) -> Iterator[Parameter]:
    name = above + key.name
    yield Parameter(name, takes(key.kind), "" if key.default is None else written(key.default), key.text)
    if isinstance(key.kind, Section):
        for inner in key.kind.keys:
            yield from _parameters(inner, f"{name}.")


def takes(kind: Kind) -> str:
    """What a key of this kind takes, in words."""
    match kind:
        case Duration():
            return f"time, {format_duration(kind.low_s)} to {format_duration(kind.high_s)}"
        case Size():
            return f"size, {format_size(kind.low)} to {format_size(kind.high)}"
        case Integer():
            return f"whole number, {kind.low} to {kind.high}"
        case Number():
            return f"number above 0, at most {kind.high:g}"
        case Choice():
            return f"one of {', '.join(kind.words)}"
        case Flag():
            return "true or false"
        case Section():
            return f"mapping with {', '.join(key.name for key in kind.keys)}"
        case OneOrMore():
            return f"{takes(kind.item)}; or a list"
        case HostGlob():
            return "host; `*` stands for any characters"
        case Method():
            return "HTTP method"
        case Anything():
            return "any value"
        case _ if values := kind.schema().get("enum"):
            return f"one of {', '.join(map(written, values))}"
        case _:
            return str(getattr(kind, "expected", "see its text"))


def written(value: Any) -> str:
    """A value as YAML in one line: what JSON would write, with as few quotes as YAML needs."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {written(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(written, value)) + "]"
    if isinstance(value, str) and _is_plain(value):
        return value
    return json.dumps(value, ensure_ascii=False)


def _is_plain(value: str) -> bool:
    """Whether YAML reads it as this text without quotes, also inside brackets."""
    word = re.fullmatch(
        r"[A-Za-z_$/][^,\[\]{}#&*!|>'\"%@`:]*|[0-9]+(?:\.[0-9]+)?(?:ms|[smhB]|[KMGT]iB)", value
    )
    return word is not None and value == value.strip() and value.lower() not in ("true", "false", "null")


def in_words(rule: FaultRule) -> str:
    """`rate-limit on model calls, on match 2; retry_after: 3s`."""
    found = f"{rule.inject} on {matching.describe(rule.match)}, {when.describe(rule)}"
    given = ", ".join(f"{name}: {written(value)}" for name, value in rule.params.items())
    return f"{found}; {given}" if given else found


def reference() -> str:
    """The generated part of docs/faults.md."""
    lines = ["## Reference", ""]
    for group in GROUPS:
        lines += [f"### {GROUP_TITLES[group]}", ""]
        for name in registry.names():
            if registry.get(name).group == group:
                lines += _entry(registry.get(name))
    lines += ["## Built-in profiles", ""]
    for name in profiles.names():
        lines += _profile(profiles.load(name))
    return "\n".join(lines).rstrip() + "\n"


def _entry(kind: type[Fault]) -> Iterator[str]:
    yield f"#### `{kind.name}`"
    yield ""
    yield text(kind)
    yield ""
    if kind.keys:
        yield "| parameter | takes | default | meaning |"
        yield "|---|---|---|---|"
        for item in parameters(kind):
            default = f"`{item.default}`" if item.default else ""
            yield f"| `{item.name}` | {_cell(item.takes)} | {_cell(default)} | {_cell(item.text)} |"
    else:
        yield "It has no parameters."
    yield ""
    yield f"Acts on: {layers(kind)}."
    yield ""
    yield "```yaml"
    yield f"faults:\n{_indented(EXAMPLES[kind.name])}"
    yield "```"
    yield ""


def _profile(profile: Profile) -> Iterator[str]:
    yield f"### `{profile.name}`"
    yield ""
    yield profile.description
    yield ""
    for rule in rules_of(profile, None):
        yield f"- `{rule.id}`: {in_words(rule)}"
    yield ""
    if profile.checked:
        yield f"Checked {profile.checked} with: {', '.join(f'<{source}>' for source in profile.sources)}"
        yield ""


def _indented(example: str) -> str:
    return "\n".join(f"  {line}" for line in example.rstrip().split("\n"))


def _cell(content: str) -> str:
    return content.replace("|", "\\|")
