"""`aegis ci comment`: one comment on the pull request, kept up to date."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aegis.errors import UsageError

if TYPE_CHECKING:
    from aegis.ci.comment import Place


@click.command(name="comment", short_help="Keep one comment on the pull request up to date.")
@click.option(
    "--body", metavar="FILE", required=True, help="The text, as `aegis ci report --comment` wrote it."
)
@click.option(
    "--provider",
    type=click.Choice(["github", "gitlab"]),
    help="Whose pull request. Default: gitlab in GitLab CI, else github.",
)
@click.option(
    "--pr", "number", type=click.IntRange(1), metavar="N", help="Its number. Default: the job's own."
)
@click.option(
    "--token-env",
    metavar="NAME",
    help="Variable with the token. Default: GITHUB_TOKEN, or GITLAB_TOKEN.",
)
def comment(body: str, provider: str | None, number: int | None, token_env: str | None) -> int:
    """Write the text as a comment on the pull request that this job runs for, or replace the one of an earlier run.

    The comment is found again by the hidden line that the text begins with; each suite has its own. Nothing that goes
    wrong with it changes the exit code, which is 0 unless the command line is wrong: a comment is no verdict.

    \b
    Examples:
      aegis ci comment --body comment.md
      aegis ci comment --body comment.md --pr 42 --token-env BOT_TOKEN
      aegis ci comment --provider gitlab --body comment.md
    """
    from aegis.ci.comment import NoPlaceError, marker_of, post
    from aegis.ci.service import ServiceError

    text = _text(body)
    if marker_of(text) is None:
        raise UsageError(
            f"{body} is no comment of Aegis: its first line is no hidden marker",
            fix="aegis ci report DOCUMENT --comment FILE",
        )
    try:
        posted = post(_place(provider, token_env, number), text)
    except NoPlaceError as none:
        click.echo(f"no comment: {_shown(str(none))}")
        return 0
    except ServiceError as error:
        _warn(f"the comment could not be written: {_shown(str(error))}")
        return 0
    where = f": {_shown(posted.url)}" if posted.url else ""
    click.echo(f"comment {'written' if posted.created else 'updated'}{where}")
    return 0


def _place(provider: str | None, token_env: str | None, number: int | None) -> Place:
    from aegis.ci import github, gitlab

    if provider is None:
        provider = "gitlab" if os.environ.get("GITLAB_CI") else "github"
    if provider == "gitlab":
        return gitlab.merge_request(os.environ, token_env or gitlab.TOKEN_VARIABLE, number)
    return github.pull_request(os.environ, token_env or github.TOKEN_VARIABLE, number)


def _text(body: str) -> str:
    try:
        return Path(body).read_text("utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise UsageError(
            f"cannot read {body}: {reason}", fix="aegis ci report DOCUMENT --comment FILE writes it"
        ) from None


def _warn(text: str) -> None:
    from aegis.ci import outputs

    click.echo(f"warning: {text}", err=True)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        click.echo(outputs.command("warning", text))


def _shown(text: str) -> str:
    from aegis.report.text import one_line

    return one_line(text, 500)
