"""`aegis suite`: check, list and describe suites without running them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aegis.cli.suitelint import lint
from aegis.cli.suitepreview import preview
from aegis.errors import SuiteError, UsageError
from aegis.report.text import counted

if TYPE_CHECKING:
    from aegis.suite import Project, Suite


@click.group(name="suite", short_help="Check, list and describe suites.")
def suite() -> None:
    """Check, list and describe suites without running them."""


@suite.command(name="check", short_help="Check suites and print every problem.")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def check(context: click.Context, names: tuple[str, ...], as_json: bool) -> None:
    """Load suites (all of the project's without NAME) and print every problem with its file and line.

    NAME is a suite's name or a path to its file. Exit code 0 when all are right, 2 when not.
    """
    checked = load_suites(find_suites(names))
    broken = [entry for entry in checked if entry.error is not None]
    if as_json:
        click.echo(json.dumps({"ok": not broken, "suites": [entry.to_json() for entry in checked]}, indent=2))
        context.exit(2 if broken else 0)
    for entry in checked:
        if entry.suite is not None:
            click.echo(f"{entry.name}: {_size(entry.suite)}, ok")
    if broken:
        raise joined(broken)


@suite.command(name="list", short_help="List the project's suites, or the cases of some.")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(names: tuple[str, ...], as_json: bool) -> None:
    """List the project's suites; with NAME, the cases of these suites.

    A suite with problems is listed as such; `aegis suite check` prints them.
    """
    project = _project()
    from aegis.suite import list_suites

    paths = find_suites(names) if names else list_suites(project)
    entries = load_suites(paths)
    if as_json:
        listed = [entry.to_json(cases=bool(names)) for entry in entries]
        click.echo(json.dumps({"suites": listed}, indent=2))
    elif not entries:
        click.echo(f"no suites in {project.evals_dir}\nbegin with: aegis init")
    elif names:
        _print_cases(entries)
    else:
        _print_table([(entry.name, entry.summary(), entry.file, entry.description()) for entry in entries])


@suite.command(name="schema", short_help="Print the JSON Schema of suite files.")
def schema() -> None:
    """Print the JSON Schema (draft 2020-12) of suite files, for completion in editors."""
    from aegis.faults.plan import keys
    from aegis.scoring import registry
    from aegis.stress import reading
    from aegis.suite import json_schema

    click.echo(
        json.dumps(
            json_schema(registry.names(), keys.schema(), reading.schema()), indent=2, ensure_ascii=False
        )
    )


@dataclass(frozen=True)
class Entry:
    """A suite file and what came of loading it: exactly one of `suite` and `error` is there."""

    path: Path
    file: str
    suite: Suite | None
    error: SuiteError | None

    @property
    def name(self) -> str:
        return self.path.stem

    def problems(self) -> tuple[str, ...]:
        return () if self.error is None else self.error.problems or (self.error.message,)

    def summary(self) -> str:
        if self.suite is not None:
            return _size(self.suite)
        return counted(len(self.problems()), "problem")

    def description(self) -> str:
        if self.suite is None:
            return f"(aegis suite check {self.name})"
        return self.suite.description.partition("\n")[0]

    def to_json(self, *, cases: bool = False) -> dict[str, Any]:
        loaded = self.suite
        document: dict[str, Any] = {
            "suite": self.name,
            "file": self.file,
            "ok": loaded is not None,
            "description": loaded.description if loaded else None,
            "cases": len(loaded.cases) if loaded else None,
            "trials": _trials(loaded) if loaded else None,
            "network": _network(loaded) if loaded else None,
            "problems": list(self.problems()),
        }
        if cases and loaded is not None:
            document["case_list"] = [
                {
                    "id": case.id,
                    "tags": list(case.tags),
                    "trials": loaded.trials_of(case),
                    "file": case.source_file,
                    "line": case.source_line,
                }
                for case in loaded.cases
            ]
        return document


def _project() -> Project:
    from aegis.suite import find_project

    return find_project(Path.cwd())


def find_suites(names: tuple[str, ...]) -> list[Path]:
    """The files of the named suites, or of all. Raises `UsageError` when there is none."""
    from aegis.suite import find_suite, list_suites

    project = _project()
    if names:
        return list(dict.fromkeys(find_suite(project, name) for name in names))
    paths = list_suites(project)
    if not paths:
        raise UsageError(
            f"there are no suites in {project.evals_dir}", fix="aegis init   (writes a small one)"
        )
    return paths


def load_suites(paths: Iterable[Path]) -> list[Entry]:
    """Each of them, or what is wrong with it."""
    from aegis._eval.loading import load
    from aegis.suite.paths import shown_path
    from aegis.suite.project import project_of

    root = _project().root
    entries = []
    for path in paths:
        file = shown_path(path, root)
        try:
            loaded = load(path, project_of(path))
        except SuiteError as error:
            entries.append(Entry(path, file, None, error))
        else:
            entries.append(Entry(path, loaded.source_file, loaded, None))
    return entries


def joined(broken: list[Entry]) -> SuiteError:
    """One error for all broken suites."""
    first = broken[0].error
    if len(broken) == 1 and first is not None:
        return first
    problems = tuple(problem for entry in broken for problem in entry.problems())
    return SuiteError(f"{len(broken)} suites have {counted(len(problems), 'problem')}", problems=problems)


def _print_cases(entries: list[Entry]) -> None:
    for entry in entries:
        click.echo(f"{entry.name}: {entry.summary()} {entry.description() if entry.error else ''}".rstrip())
        if entry.suite is None:
            continue
        for line in _reach(entry.suite):
            click.echo(f"  {line}")
        rows = []
        for case in entry.suite.cases:
            trials = counted(entry.suite.trials_of(case), "trial")
            rows.append(
                (f"  {case.id}", trials, f"{case.source_file}:{case.source_line}", " ".join(case.tags))
            )
        _print_table(rows)


def _network(loaded: Suite) -> dict[str, Any]:
    """What trials may reach, and which hosts see which secret."""
    return {
        "allow": list(loaded.network.allow),
        "routes": {
            name: route.to or f"upstream {route.upstream}" for name, route in loaded.network.routes.items()
        },
        "secrets": {name: list(secret.hosts) for name, secret in loaded.agent.secrets.items()},
    }


def _reach(loaded: Suite) -> list[str]:
    """The same for people; nothing for a suite without a network."""
    network = _network(loaded)
    lines = [f"may reach {host}" for host in network["allow"]]
    lines += [f"may reach {name} at {place}" for name, place in network["routes"].items()]
    lines += [f"secret {name} for {', '.join(hosts)}" for name, hosts in network["secrets"].items()]
    return lines


def _print_table(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("   ".join(cells).rstrip())


def _size(loaded: Suite) -> str:
    return f"{counted(len(loaded.cases), 'case')}, {counted(_trials(loaded), 'trial')}"


def _trials(loaded: Suite) -> int:
    return sum(loaded.trials_of(case) for case in loaded.cases)


suite.add_command(lint)
suite.add_command(preview)
