"""Groups whose commands are imported when they are used: `--help` and every other command stay quick."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Mapping
from typing import Any

import click


class LazyGroup(click.Group):
    """`table`: name → (module:object, short help). The short help stands there so that `--help` loads no command."""

    def __init__(self, *args: Any, table: Mapping[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._table:
            return None
        module, _, name = self._table[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in self._table:
            ctx.fail(unknown_command(args[0], self._table))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, short) for name, (_, short) in self._table.items()])


def unknown_command(written: str, known: Iterable[str]) -> str:
    """The message for a command that is not there, with the nearest one that is."""
    names = list(known)
    near = difflib.get_close_matches(written, names, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else f"; there are: {', '.join(names)}"
    return f"no such command {written!r}{hint}"
