"""`aegis faults`: what can be injected, and what would hit which request of a recorded trial."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aegis.cli.faultpreview import preview
from aegis.errors import UsageError
from aegis.report.text import one_line

if TYPE_CHECKING:
    from aegis.faults.base import Fault
    from aegis.faults.plan.profiles import Profile

COLUMNS = 100


@click.group(name="faults", short_help="List faults and profiles; preview them on a recorded trial.")
def faults() -> None:
    """What can be injected between an agent and the services that it uses, and what would hit which request.

    Faults are asked for by the key `faults` of a suite or a case, or by `aegis eval run --faults PROFILE`.
    """


@faults.command(name="list", short_help="List the faults and the profiles.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> None:
    """List every fault, by group, and the profiles: those that come with Aegis and the project's own.

    \b
    Examples:
      aegis faults list
      aegis faults list --json
    """
    from aegis.faults import doc, registry
    from aegis.faults.base import GROUPS

    kinds = [registry.get(name) for name in registry.names()]
    found = list(_profiles(_folder()))
    if as_json:
        listed = [{"name": kind.name, "group": kind.group, "summary": doc.summary(kind)} for kind in kinds]
        click.echo(json.dumps({"faults": listed, "profiles": found}, indent=2))
        return
    for group in GROUPS:
        click.echo(doc.GROUP_TITLES[group])
        _terms([(kind.name, doc.summary(kind)) for kind in kinds if kind.group == group])
        click.echo()
    click.echo("Profiles: rules that belong together")
    _terms([(item["name"], item["problem"] or item["description"]) for item in found])
    click.echo("\naegis faults show NAME tells all about one of them.")


@faults.command(name="show", short_help="Tell all about a fault or a profile.")
@click.argument("name", metavar="NAME")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(name: str, as_json: bool) -> None:
    """Tell what the fault NAME does, its parameters and an example; or every rule of the profile NAME.

    \b
    Examples:
      aegis faults show rate-limit
      aegis faults show flaky-production
      aegis faults show token-expired --json
    """
    from aegis.faults import registry
    from aegis.faults.plan import profiles

    folder = _folder()
    kind = registry.get(name) if name in registry.names() else None
    profile = profiles.load(name, folder) if name in profiles.names(folder) else None
    if kind is None and profile is None:
        from aegis.suite.problems import did_you_mean

        hint = did_you_mean(name, [*registry.names(), *profiles.names(folder)])
        raise UsageError(
            f"there is no fault or profile {name!r}{hint}", fix="aegis faults list shows them all"
        )
    if as_json:
        document = {
            "fault": kind and _fault_json(kind),
            "profile": profile and _profile_json(profile, folder),
        }
        click.echo(json.dumps({key: value for key, value in document.items() if value}, indent=2))
        return
    if kind is not None:
        _show_fault(kind)
    if profile is not None:
        _show_profile(profile, folder)


def _folder() -> Path:
    """Where the project's suites lie; the folder need not exist."""
    from aegis.suite import find_project

    return find_project(Path.cwd()).evals_dir


def _profiles(folder: Path) -> Iterator[dict[str, Any]]:
    """One that can't be read is listed with what is wrong."""
    from aegis.faults.plan import profiles
    from aegis.faults.plan.reading import rules_of

    for name in profiles.names(folder):
        entry = {"name": name, "own": name in profiles.own_names(folder), "description": "", "problem": None}
        try:
            profile = profiles.load(name, folder)
            rules_of(profile, folder)
            entry["description"] = profile.description
        except UsageError as error:
            entry["problem"] = f"cannot be used: {error}"
        yield entry


def _terms(rows: list[tuple[str, str]]) -> None:
    """Names with their texts, which are broken into lines."""
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        indent = " " * (width + 4)
        lines = textwrap.wrap(one_line(text), COLUMNS - len(indent)) or [""]
        click.echo(f"  {name.ljust(width)}  {lines[0]}".rstrip())
        for line in lines[1:]:
            click.echo(indent + line)


def _show_fault(kind: type[Fault]) -> None:
    from aegis.faults import doc
    from aegis.faults.examples import EXAMPLES

    click.echo(f"{kind.name}: a fault of {doc.GROUP_TITLES[kind.group].partition(':')[0].lower()}\n")
    click.echo(textwrap.indent(doc.text(kind), "  "))
    click.echo(f"\nacts on: {doc.layers(kind)}")
    click.echo("\nparameters:" if kind.keys else "\nno parameters")
    for item in doc.parameters(kind):
        default = f" (default {item.default})" if item.default else ""
        click.echo(f"  {item.name}: {item.takes}{default}")
        click.echo(textwrap.fill(item.text, COLUMNS, initial_indent=" " * 6, subsequent_indent=" " * 6))
    click.echo("\nexample:\n  faults:")
    click.echo(textwrap.indent(EXAMPLES[kind.name].rstrip(), "    "))


def _fault_json(kind: type[Fault]) -> dict[str, Any]:
    from aegis.faults import doc
    from aegis.faults.examples import EXAMPLES

    return {
        "name": kind.name,
        "group": kind.group,
        "summary": doc.summary(kind),
        "text": doc.text(kind),
        "acts_on": sorted(kind.layers),
        "parameters": [
            {
                "name": key.name,
                "takes": doc.takes(key.kind),
                "default": key.default,
                "text": key.text,
                "schema": key.kind.schema(),
            }
            for key in kind.keys
        ],
        "example": EXAMPLES[kind.name],
    }


def _show_profile(profile: Profile, folder: Path) -> None:
    from aegis.faults import doc
    from aegis.faults.plan.reading import rules_of

    place = f"in {folder.name}/faults/{profile.name}.yaml" if profile.own else "built in"
    click.echo(f"{profile.name}: a profile, {place}\n")
    if profile.description:
        click.echo(textwrap.indent(textwrap.fill(one_line(profile.description), COLUMNS - 2), "  ") + "\n")
    click.echo("rules:")
    _terms([(rule.id, doc.in_words(rule)) for rule in rules_of(profile, folder)])
    if profile.checked:
        click.echo(f"\nchecked {one_line(profile.checked)} with:")
        for source in profile.sources:
            click.echo(f"  {one_line(source)}")
    click.echo(
        f"\nfaults: {profile.name}        in a suite or a case\n--faults {profile.name}      for one run"
    )


def _profile_json(profile: Profile, folder: Path) -> dict[str, Any]:
    from aegis.faults import doc
    from aegis.faults.plan.reading import rules_of

    return {
        "name": profile.name,
        "description": profile.description,
        "checked": profile.checked,
        "sources": list(profile.sources),
        "own": profile.own,
        "rules": [
            {"id": rule.id, "in_words": doc.in_words(rule), "rule": rule.model_dump(mode="json")}
            for rule in rules_of(profile, folder)
        ],
    }


faults.add_command(preview)
