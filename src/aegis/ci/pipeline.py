"""The pipeline files that `aegis ci init` writes, made from the templates of this package."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from importlib import metadata, resources

from aegis._version import __version__
from aegis.errors import UsageError

_PLAIN = re.compile(r"[A-Za-z0-9][\w./-]*", re.ASCII)
_PREFIX = re.compile(r"([\w.-][\w. -]*/)*", re.ASCII)
_PLACEHOLDER = re.compile(r"@@([A-Z_]+)@@")


@dataclass(frozen=True, slots=True)
class Pipeline:
    suite: str
    fail_under: float
    """Percent."""
    branch: str
    """The default branch."""
    prefix: str = ""
    """The project's folder in the repository: empty, or with a slash at its end."""
    package: str = f"aegis-evals=={__version__}"
    """What pip installs."""

    def check(self) -> None:
        """Refuse names that a pipeline file would take for something else. Raises `UsageError`."""
        for what, name in (("suite", self.suite), ("branch", self.branch)):
            if not _PLAIN.fullmatch(name):
                raise UsageError(
                    f"the {what} {name!r} can't stand in a pipeline file",
                    fix="use letters, digits and . _ - / only",
                )
        if not _PREFIX.fullmatch(self.prefix):
            raise UsageError(
                f"the project's folder {self.prefix!r} can't stand in a pipeline file",
                fix="rename the folder",
            )
        if not self.package.isprintable() or "${{" in self.package or not self.package.strip():
            raise UsageError(
                f"{self.package!r} is nothing that pip installs", fix=f"e.g. aegis-evals=={__version__}"
            )


def installed() -> str:
    """What pip would install to get this Aegis: the git commit that it was installed from, else its version."""
    try:
        told = metadata.distribution("aegis-evals").read_text("direct_url.json")
        origin = json.loads(told) if told else {}
    except (metadata.PackageNotFoundError, ValueError):
        origin = {}
    vcs = origin.get("vcs_info", {})
    if vcs.get("vcs") == "git" and "@" not in origin["url"]:  # a URL with a user in it may hold a password
        return f"aegis-evals @ git+{origin['url']}@{vcs['commit_id']}"
    return f"aegis-evals=={__version__}"


def github(pipeline: Pipeline) -> str:
    """`.github/workflows/aegis.yml`. Raises `UsageError`."""
    return _render("github.yml", pipeline)


def gitlab(pipeline: Pipeline) -> str:
    """`.gitlab-ci.yml`, or a file that it includes. Raises `UsageError`."""
    return _render("gitlab.yml", pipeline)


def _render(name: str, pipeline: Pipeline) -> str:
    pipeline.check()
    folder = pipeline.prefix.rstrip("/")
    values = {
        "BRANCH": pipeline.branch,
        "SUITE": shlex.quote(pipeline.suite),
        "FAIL_UNDER": str(pipeline.fail_under).removesuffix(".0"),
        "PREFIX": pipeline.prefix,
        "PACKAGE": shlex.quote(pipeline.package),
        "VERSION": __version__,
        "WORKING_DIRECTORY": f'    working-directory: "{folder}"' if folder else "",
        "PREPARE": _text("prepare-runner.sh"),
    }
    lines = []
    for line in _text(name).splitlines():
        filled = _PLACEHOLDER.sub(lambda found: values[found[1]], line)
        if filled.strip() or not line.strip():
            indent = line[: len(line) - len(line.lstrip())] if "@@PREPARE@@" in line else ""
            lines.append(filled.rstrip("\n").replace("\n", f"\n{indent}"))
    return "\n".join(lines) + "\n"


def _text(name: str) -> str:
    return (resources.files("aegis.ci") / "templates" / name).read_text("utf-8")
