"""The root command: finds the command group, loads it, and turns whatever ends it into an exit code."""

from __future__ import annotations

import os
import sys

import click

from aegis._version import __version__
from aegis.cli.lazygroup import LazyGroup
from aegis.cli.output import close_quietly, report_failure, wants_result_line

COMPLETE_VARIABLE = "_AEGIS_COMPLETE"

_COMMANDS = {
    "init": ("aegis.cli.init:init", "Write a small suite and agent that run at once."),
    "suite": ("aegis.cli.suite:suite", "Check, list and describe suites."),
    "eval": ("aegis.cli.eval:eval_group", "Run suites, and look at what came of it."),
    "baseline": (
        "aegis.cli.baseline:baseline",
        "The results that runs are compared with: push, pull, list, pin.",
    ),
    "faults": ("aegis.cli.faults:faults", "List faults and profiles; preview them on a recorded trial."),
    "trace": ("aegis.cli.trace:trace", "What an agent did in a trial: model calls, tools, requests."),
    "trial": ("aegis.cli.trial:trial", "What a trial changed in its machine; open that machine again."),
    "audit": ("aegis.cli.audit:audit", "Whether results depend on what ran before."),
    "image": ("aegis.cli.image:image", "Build, list and remove images."),
    "template": ("aegis.cli.template:template", "List, show and remove saved templates."),
    "setup": ("aegis.cli.setup:setup", "Prepare this host: the built-in image and what boots it."),
    "sandbox": ("aegis.cli.sandbox:sandbox", "Open a shell in a fresh sandbox."),
    "doctor": ("aegis.cli.doctor:doctor", "Check what this host needs, with the fix beside each miss."),
}
"""Name → (module:object, short help). The short help stands here so that `aegis --help` loads no command."""


@click.group(
    cls=LazyGroup,
    table=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 pass, 1 below the threshold, 2 usage or suite error, 3 inconclusive, "
    "4 internal error, 5 nothing selected, 130 interrupted.",
)
@click.version_option(__version__, "-V", "--version", prog_name="aegis", message="%(prog)s %(version)s")
def cli() -> None:
    """Evaluate agents under production conditions: a fresh virtual machine for each trial.

    \b
    Examples:
      aegis init                                 write a first suite and agent here
      aegis eval run --suite first               run it
      aegis eval run --suite first --isolation=none   run it without virtual machines
      aegis doctor                               what this host still needs
    """


def invoke(args: list[str]) -> int:
    """Run a command. Every ending becomes an exit code; nothing but the command's own output and one clear
    message is printed."""
    if COMPLETE_VARIABLE in os.environ:
        cli.main(args=args, prog_name="aegis", complete_var=COMPLETE_VARIABLE)
    try:
        try:
            code = _run(args)
            sys.stdout.flush()
            return code
        except BaseException as error:
            if _is_broken_pipe(error):
                raise
            return report_failure(error, result_line=wants_result_line(args))
    except BrokenPipeError:
        return close_quietly()


def _run(args: list[str]) -> int:
    try:
        with cli.make_context("aegis", args) as context:
            returned = cli.invoke(context)
    except click.exceptions.Exit as ending:
        return ending.exit_code
    # Commands return their exit code, or None for 0.
    return returned if isinstance(returned, int) else 0


def _is_broken_pipe(error: BaseException) -> bool:
    return isinstance(error, BrokenPipeError)
