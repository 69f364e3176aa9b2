"""docs/cli.md names every command and every option."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from aegis import eval as api
from aegis.cli.root import cli

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
TEXT = PAGE.read_text()
SECTIONS = re.split(r"^## ", TEXT, flags=re.MULTILINE)


def commands(
    command: click.Command, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from commands(found, (*path, name))


ALL = dict(commands(cli, ("aegis",)))


def section(path: tuple[str, ...]) -> str:
    """The section of a command: its own, or the one that it shares with the others of its group."""
    own = [text for text in SECTIONS if re.match(rf"`{' '.join(path)}\b", text)]
    shared = [
        text
        for text in SECTIONS
        if (head := re.match(rf"`{' '.join(path[:-1])} (\S+)`", text)) and path[-1] in head[1].split("|")
    ]
    (found,) = own or shared
    return found


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_a_command_is_documented_with_all_its_options(path: tuple[str, ...]) -> None:
    text = section(path)
    options = [name for param in ALL[path].params for name in param.opts if name.startswith("--")]
    assert [
        name for name in options if name != "--help" and f"`{name}" not in text and f" {name} " not in text
    ] == []


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_a_command_describes_itself_and_its_options(path: tuple[str, ...]) -> None:
    command = ALL[path]
    assert command.help
    assert [
        param.name for param in command.params if isinstance(param, click.Option) and not param.help
    ] == []


def test_every_argument_of_run_is_documented() -> None:
    assert [name for name in inspect.signature(api.run).parameters if f"`{name}`" not in TEXT] == []


def test_run_and_arun_take_the_same_arguments() -> None:
    run, arun = inspect.signature(api.run).parameters, dict(inspect.signature(api.arun).parameters)
    assert arun.pop("handle_signals").default is False
    assert dict(run) == arun
