"""`aegis init`: a small suite, agent and configuration that run at once."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import click

from aegis.errors import UsageError


@click.command(name="init", short_help="Write a small suite and agent that run at once.")
@click.argument("folder", metavar="[DIR]", default=".", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace files that are already there.")
def init(folder: Path, force: bool) -> None:
    """Write a small suite (evals/first.yaml), an agent (agent.py) and aegis.toml into DIR, the current folder
    by default.

    No existing file is overwritten: when one is in the way, nothing is written at all, unless --force is
    given.
    """
    files = dict(_starter_files())
    _refuse_clashes(folder, list(files), force)
    _write(folder, files)
    for name in files:
        click.echo(f"wrote {folder / name}")
    click.echo("\nNext:")
    if folder != Path("."):
        click.echo(f"  cd {shlex.quote(str(folder))}")
    click.echo("  aegis suite check first")
    click.echo("  aegis eval run --suite first")


def _starter_files() -> Iterator[tuple[str, bytes]]:
    """Path in the new project → contents. They are data of the package, so that an installed wheel has
    them."""
    yield from sorted(_below(resources.files("aegis.suite") / "starter", ""))


def _below(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            # An installer may have compiled the agent; its byte code is no part of the starter.
            if entry.name != "__pycache__":
                yield from _below(entry, f"{prefix}{entry.name}/")
        else:
            yield f"{prefix}{entry.name}", entry.read_bytes()


def _refuse_clashes(folder: Path, names: list[str], force: bool) -> None:
    if os.path.lexists(folder) and not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; nothing was written")
    for parent in {Path(name).parent for name in names}:
        place = folder / parent
        if os.path.lexists(place) and not place.is_dir():
            raise UsageError(f"{place} is not a folder; nothing was written", fix="move it out of the way")
    _refuse_second_configuration(folder)
    clashes = [folder / name for name in names if os.path.lexists(folder / name)]
    folders = [path for path in clashes if path.is_dir() and not path.is_symlink()]
    if folders:
        raise UsageError(f"{_listed(folders)} is a folder; nothing was written", fix="move it out of the way")
    if clashes and not force:
        verb = "exists" if len(clashes) == 1 else "exist"
        raise UsageError(
            f"{_listed(clashes)} already {verb}; nothing was written",
            fix="aegis init NEW_FOLDER, or --force to replace them",
        )


def _refuse_second_configuration(folder: Path) -> None:
    import tomllib

    try:
        tool = tomllib.loads((folder / "pyproject.toml").read_text("utf-8")).get("tool")
    except (OSError, ValueError):
        return
    if isinstance(tool, dict) and "aegis" in tool:
        raise UsageError(
            f"{folder / 'pyproject.toml'} already configures Aegis ([tool.aegis]); nothing was written",
            fix="aegis init NEW_FOLDER",
        )


def _write(folder: Path, files: dict[str, bytes]) -> None:
    """All files or, when one can't be written, none that wasn't there before."""
    new: list[Path] = []
    try:
        for name, data in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            existed = os.path.lexists(path)
            part = path.with_name(f".{path.name}.part")
            if not existed:
                new.append(path)
            new.append(part)
            part.write_bytes(data)
            # In one step, and in place of a symbolic link instead of through it.
            part.replace(path)
    except OSError as error:
        for path in new:
            with contextlib.suppress(OSError):
                path.unlink()
        raise UsageError(
            f"cannot write {error.filename or folder}: {error.strerror}",
            fix="make the folder writable, or name another one",
        ) from None


def _listed(paths: list[Path]) -> str:
    return ", ".join(str(path) for path in paths)
