"""What can be read about transforms, made from themselves: their docstrings, levels and parameters. Pure."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from aegis.faults import doc
from aegis.stress import registry
from aegis.stress.base import Transform
from aegis.stress.examples import EXAMPLES


def text(kind: type[Transform]) -> str:
    """The docstring of a transform."""
    return inspect.cleandoc(kind.__doc__ or "")


def summary(kind: type[Transform]) -> str:
    """The first sentence of it, on one line."""
    return doc.first_sentence(text(kind))


def levels(kind: type[Transform]) -> str:
    """`40, 100, 400; 40 unless others are named`, or that it has none."""
    named = [level for level in kind.levels if level]
    if not named:
        return "It has one level."
    usual = [level for level in kind.usual if level]
    every = "all of them" if usual == named else _codes(usual)
    return f"Levels: {_codes(named)}. Without a word about levels: {every}."


def reference() -> str:
    """The generated part of docs/stress.md."""
    lines = ["## The transforms", "", "| transform | levels (usual ones in bold) | |", "|---|---|---|"]
    for name in registry.NAMES:
        kind = registry.get(name)
        shown = [f"**`{level}`**" if level in kind.usual else f"`{level}`" for level in kind.levels if level]
        lines.append(f"| [`{name}`](#{name}) | {', '.join(shown)} | {_cell(summary(kind))} |")
    lines.append("")
    for name, members in registry.SETS.items():
        which = "every transform" if members == registry.NAMES else ", ".join(f"`{item}`" for item in members)
        lines += [f"The set `{name}` is {which}, each with its usual levels.", ""]
    for name in registry.NAMES:
        lines += _entry(registry.get(name))
    return "\n".join(lines).rstrip() + "\n"


def _entry(kind: type[Transform]) -> Iterator[str]:
    yield f"### `{kind.name}`"
    yield ""
    yield text(kind)
    yield ""
    yield levels(kind)
    yield ""
    if kind.keys:
        yield "| parameter | takes | default | meaning |"
        yield "|---|---|---|---|"
        for item in doc.parameters_of(kind.keys):
            default = f"`{item.default}`" if item.default else ""
            yield f"| `{item.name}` | {_cell(item.takes)} | {_cell(default)} | {_cell(item.text)} |"
        yield ""
    else:
        yield "It has no parameters."
        yield ""
    yield "```yaml"
    yield EXAMPLES[kind.name].rstrip()
    yield "```"
    yield ""


def _codes(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _cell(content: str) -> str:
    return content.replace("|", "\\|")
