"""`aegis ci`: what continuous integration needs beside a run."""

from __future__ import annotations

import click

from aegis.cli.lazygroup import LazyGroup

_COMMANDS = {
    "init": ("aegis.cli.ciinit:init", "Write a GitHub workflow or a GitLab pipeline for this project."),
    "report": ("aegis.cli.cireport:report", "A run as summary, comment, annotations and outputs."),
    "comment": ("aegis.cli.cicomment:comment", "Keep one comment on the pull request up to date."),
}


@click.group(name="ci", cls=LazyGroup, table=_COMMANDS, short_help="Pipelines, reports and comments for CI.")
def ci() -> None:
    """Put Aegis into continuous integration: docs/ci.md.

    \b
    Examples:
      aegis ci init github --suite production-v2 --fail-under 95
      aegis ci report run.json --annotations --comment comment.md
      aegis ci comment --body comment.md
    """
