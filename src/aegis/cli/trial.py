"""`aegis trial`: one trial of a run, looked at from near."""

from __future__ import annotations

import importlib

import click

_COMMANDS: dict[str, tuple[str, str]] = {
    "diff": ("aegis.cli.trialdiff:diff", "What the agent changed in its machine."),
    "collected": ("aegis.cli.trialcollected:collected", "The files that were kept with it."),
    "shell": ("aegis.cli.trialshell:shell", "Open a shell in a kept machine."),
    "fork": ("aegis.cli.trialfork:fork", "Go on with a trial from a checkpoint."),
    "kept": ("aegis.cli.trialkept:kept", "List the machines that are kept."),
    "prune": ("aegis.cli.trialkept:prune", "Remove kept machines."),
}
"""Name → (module:object, short help): each is imported when it is used."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, short) for name, (_, short) in _COMMANDS.items()])


@click.group(cls=_Commands)
def trial() -> None:
    """One trial of a run: what it changed in its machine, what was kept of it, and the machine itself."""
