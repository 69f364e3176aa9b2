"""`aegis ci init`: the pipeline file of this project."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aegis.errors import UsageError

if TYPE_CHECKING:
    from aegis.ci.pipeline import Pipeline

GITHUB_FILE = ".github/workflows/aegis.yml"
GITLAB_FILE = ".gitlab-ci.yml"
GITLAB_INCLUDED = ".gitlab/aegis.yml"


@click.command(name="init", short_help="Write a GitHub workflow or a GitLab pipeline for this project.")
@click.argument("provider", metavar="github|gitlab", type=click.Choice(["github", "gitlab"]))
@click.option(
    "--suite", "-s", metavar="NAME", help="The suite. May be left out when the project has only one."
)
@click.option(
    "--fail-under",
    type=click.FloatRange(0, 100),
    default=95.0,
    show_default=True,
    metavar="P",
    help="Needed pass rate in percent.",
)
@click.option(
    "--branch", metavar="NAME", help="The default branch. Default: what origin/HEAD says, else main."
)
@click.option(
    "--package",
    metavar="REQUIREMENT",
    help="What pip installs. Default: the aegis-evals that writes this, by version or git commit.",
)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@click.option("--dry-run", is_flag=True, help="Print the file; write nothing.")
def init(
    provider: str,
    suite: str | None,
    fail_under: float,
    branch: str | None,
    package: str | None,
    force: bool,
    dry_run: bool,
) -> None:
    """Write .github/workflows/aegis.yml, or .gitlab-ci.yml, into the repository that the project is in.

    The pipeline runs the suite on every pull request, compares it with the default branch, reports, and keeps the
    default branch's results. A file that is there is left alone unless --force is given; beside a .gitlab-ci.yml the
    pipeline is written to .gitlab/aegis.yml.

    \b
    Examples:
      aegis ci init github
      aegis ci init github --suite production-v2 --fail-under 95
      aegis ci init gitlab --dry-run
    """
    from aegis.ci import pipeline as pipelines

    root, prefix = _repository()
    given = {} if package is None else {"package": package}
    pipeline = pipelines.Pipeline(
        suite=_suite(suite),
        fail_under=fail_under,
        branch=branch or _default_branch(root),
        prefix=prefix,
        **given,
    )
    if provider == "github":
        name, text = GITHUB_FILE, pipelines.github(pipeline)
    else:
        name, text = _gitlab_file(root), pipelines.gitlab(pipeline)
    if dry_run:
        click.echo(text, nl=False)
        return
    path = root / name
    _write(path, text, force=force)
    click.echo(f"wrote {os.path.relpath(path)}")
    for line in _next(name, pipeline):
        click.echo(line)


def _next(name: str, pipeline: Pipeline) -> Iterator[str]:
    yield f"it installs {pipeline.package}; --package names another source"
    if name == GITLAB_INCLUDED:
        yield from ("", f"Add to {GITLAB_FILE}:", "  include:", f"    - local: {GITLAB_INCLUDED}")
    yield ""
    yield f"Commit it to {pipeline.branch} first: that run's results are what pull requests are compared with."


def _suite(named: str | None) -> str:
    from aegis.suite import find_project, find_suite, list_suites

    project = find_project(Path.cwd())
    if named is not None:
        return find_suite(project, named).stem
    names = sorted({path.stem for path in list_suites(project)})
    if len(names) != 1:
        there = f"there are {len(names)} suites: {', '.join(names)}" if names else "there are no suites"
        raise UsageError(there, fix="--suite NAME" if names else "aegis init   (writes a small one)")
    return names[0]


def _repository() -> tuple[Path, str]:
    """The repository's folder, and the project's in it. Raises `UsageError` outside of one."""
    from aegis.engine.projectfiles import run_git
    from aegis.suite import find_project

    project = find_project(Path.cwd()).root
    top = run_git(project, "rev-parse", "--show-toplevel")
    prefix = run_git(project, "rev-parse", "--show-prefix")
    if top is None or prefix is None:
        raise UsageError(f"{project} is in no git repository", fix="git init")
    return Path(os.fsdecode(top.rstrip(b"\n"))), os.fsdecode(prefix.rstrip(b"\n"))


def _default_branch(root: Path) -> str:
    """What origin says, else `main` or `master` if one of them is there, else the only branch, else `main`."""
    from aegis.engine.projectfiles import run_git

    head = run_git(root, "symbolic-ref", "--quiet", "--short", "refs/remotes/origin/HEAD")
    if head is not None:
        return os.fsdecode(head).strip().removeprefix("origin/")
    listed = run_git(root, "for-each-ref", "--format=%(refname)", "refs/heads", "refs/remotes/origin") or b""
    names = {
        name.removeprefix("refs/heads/").removeprefix("refs/remotes/origin/")
        for name in os.fsdecode(listed).split("\n")
        if name
    }
    for usual in ("main", "master"):
        if usual in names:
            return usual
    current = run_git(root, "symbolic-ref", "--quiet", "--short", "HEAD")
    if not names and current is not None:  # before the first commit
        return os.fsdecode(current).strip()
    return names.pop() if len(names) == 1 else "main"


def _gitlab_file(root: Path) -> str:
    path = root / GITLAB_FILE
    if not os.path.lexists(path):
        return GITLAB_FILE
    try:
        ours = "aegis ci init gitlab" in path.read_text("utf-8", "replace").partition("\n")[0]
    except OSError:
        ours = False
    return GITLAB_FILE if ours else GITLAB_INCLUDED


def _write(path: Path, text: str, *, force: bool) -> None:
    from aegis.results.files import write_atomic

    if os.path.lexists(path) and not force:
        raise UsageError(
            f"{os.path.relpath(path)} is there already; nothing was written", fix="--force replaces it"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make {path.parent}: {error.strerror}") from None
    write_atomic(path, text.encode())
