"""`aegis trial`: one trial of a run, looked at from near."""

from __future__ import annotations

import click

from aegis.cli.lazygroup import LazyGroup

_COMMANDS: dict[str, tuple[str, str]] = {
    "diff": ("aegis.cli.trialdiff:diff", "What the agent changed in its machine."),
    "collected": ("aegis.cli.trialcollected:collected", "The files that were kept with it."),
    "shell": ("aegis.cli.trialshell:shell", "Open a shell in a kept machine."),
    "fork": ("aegis.cli.trialfork:fork", "Go on with a trial from a checkpoint."),
    "kept": ("aegis.cli.trialkept:kept", "List the machines that are kept."),
    "prune": ("aegis.cli.trialkept:prune", "Remove kept machines."),
}
"""Name → (module:object, short help): each is imported when it is used."""


@click.group(cls=LazyGroup, table=_COMMANDS)
def trial() -> None:
    """One trial of a run: what it changed in its machine, what was kept of it, and the machine itself."""
