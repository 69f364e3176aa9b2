"""`aegis trial shell`: a kept machine of a trial, restored to look around in."""

from __future__ import annotations

import click


@click.command(
    short_help="Open a shell in a kept machine.",
    epilog="""\b
Examples:
  aegis trial shell latest/refund-within-policy/1
  aegis trial shell latest/refund-within-policy/1 -- sh -c "ls; ps ax"
  aegis trial shell latest/long-conversation/1 --turn 40""",
)
@click.argument("trial", metavar="RUN/CASE/NUMBER")
@click.option(
    "--turn", type=click.IntRange(1), metavar="N", help="As it was before turn N (needs --checkpoints)."
)
@click.option(
    "--variant", metavar="NAME", help="Of the case. Default: the case as written, where it has run."
)
@click.option("--quiet", "-q", is_flag=True, help="Say nothing about the machine.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def shell(
    context: click.Context,
    trial: str,
    turn: int | None,
    variant: str | None,
    quiet: bool,
    command: tuple[str, ...],
) -> None:
    """Restore the machine of a trial as it was at the trial's end, and open a shell in it (or run COMMAND).

    Needs a run with --keep failed (or all). The machine's clock goes on from where it was, its network refuses
    everything, and what is changed in it is gone with the shell: the kept machine stays as it is. The exit code is the
    command's.
    """
    import asyncio

    from aegis._eval.reopen import open_trial
    from aegis.cli.terminal import interact
    from aegis.sandbox.kept import Reopening

    def say(text: str) -> None:
        if not quiet:
            click.echo(text, err=True)

    with open_trial(trial, variant=variant) as found:
        machine = found.machine(turn)

        async def main() -> int:
            async with found.driver() as driver:
                assert isinstance(driver, Reopening)
                sandbox = await driver.reopen(machine.folder, progress=say)
                try:
                    say(f"{machine.name}; no network; changes are gone with the shell")
                    return await interact(sandbox, command or ("/bin/sh", "-l"))
                finally:
                    await sandbox.stop()

        context.exit(asyncio.run(main()))
