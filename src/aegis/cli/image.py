"""`aegis image`: build, list, show and remove images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from aegis.sandbox.images import Image, Removed

DIGEST_SHOWN = 12


@click.group(short_help="Build, list and remove images.")
def image() -> None:
    """Build, list and remove the images that machines start from.

    An image is named debian (built in), PATH.toml (an image file of the project), oci:NAME (from a registry) or
    oci-layout:PATH[:TAG] (from a folder).
    """


@image.command(
    short_help="Build an image unless it is there.",
    epilog="""\b
Examples:
  aegis image build debian
  aegis image build images/support.toml
  aegis image build oci:python:3.12-slim
  aegis image build --upgrade oci:python:3.12-slim    pin what the registry has now""",
)
@click.argument("refs", metavar="IMAGE...", nargs=-1, required=True)
@click.option("--upgrade", is_flag=True, help="Pin registry images anew in aegis.lock.")
def build(refs: tuple[str, ...], upgrade: bool) -> None:
    """Build images, unless they are in the cache and no input changed."""
    from aegis.sandbox.images import ImageStore
    from aegis.suite.project import find_project

    root = find_project(Path.cwd()).root
    for ref in refs:
        built = ImageStore().resolve(ref, base_dir=root, upgrade=upgrade, progress=_say)
        click.echo(f"{ref}  {built.digest[:DIGEST_SHOWN]}  {_size(built.size_bytes)}")


@image.command(
    name="list",
    short_help="List the images in the cache.",
    epilog="""\b
Examples:
  aegis image list
  aegis image list --json""",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> None:
    """List the images in the cache, the last used first."""
    from aegis.sandbox.images import ImageStore

    images = ImageStore().list()
    if as_json:
        click.echo(json.dumps({"images": [found.as_json() for found in images]}, indent=2))
        return
    if not images:
        click.echo("no images yet\nbegin with: aegis setup")
        return
    rows = [("IMAGE", "DIGEST", "SIZE", "BUILT"), *(_row(found) for found in images)]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


@image.command(
    short_help="Show what an image is made of.",
    epilog="""\b
Examples:
  aegis image show debian
  aegis image show 3f2a91c0 --json""",
)
@click.argument("name", metavar="IMAGE|DIGEST")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(name: str, as_json: bool) -> None:
    """Show an image of the cache: where it is, its environment, and what it was built from."""
    from aegis.sandbox.images import ImageStore

    document = ImageStore().show(name).as_json()
    if as_json:
        click.echo(json.dumps(document, indent=2))
        return
    for key, value in document.items():
        shown = value if isinstance(value, str | int) else json.dumps(value)
        click.echo(f"{key + ':':<12} {shown}")


@image.command(
    short_help="Remove images from the cache.",
    epilog="""\b
Examples:
  aegis image remove oci:python:3.12-slim
  aegis image remove 3f2a91c0""",
)
@click.argument("names", metavar="IMAGE|DIGEST...", nargs=-1, required=True)
def remove(names: tuple[str, ...]) -> None:
    """Remove images from the cache. What needs one again builds it again."""
    from aegis.sandbox.images import ImageStore

    for name in names:
        _report(ImageStore().remove(name))


@image.command(
    short_help="Remove what has not been used for some time.",
    epilog="""\b
Examples:
  aegis image prune
  aegis image prune --keep-days 0    everything""",
)
@click.option(
    "--keep-days",
    type=click.FloatRange(min=0),
    default=30,
    show_default=True,
    help="Keep what was used in the last so many days.",
)
def prune(keep_days: float) -> None:
    """Remove images, boot files, saved templates and logs that nothing used for some time, and what failed builds
    left."""
    from aegis.sandbox.images import ImageStore

    _report(ImageStore().prune(keep_days))


def _say(text: str) -> None:
    click.echo(text, err=True)


def _report(removed: Removed) -> None:
    for name in removed.names:
        click.echo(f"removed {name}")
    click.echo(f"freed {_size(removed.freed_bytes)}")


def _row(found: Image) -> tuple[str, ...]:
    return (found.ref, found.digest[:DIGEST_SHOWN], _size(found.size_bytes), found.created[:10])


def _size(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 20):.1f} MiB"
