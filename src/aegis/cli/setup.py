"""`aegis setup`: make what every run needs, once."""

from __future__ import annotations

import json

import click


@click.command(
    short_help="Prepare this host: the built-in image and what boots it.",
    epilog="""\b
Examples:
  aegis setup              make what is missing
  aegis setup --upgrade    take the newest kernel and packages of the host's mirrors""",
)
@click.option("--upgrade", is_flag=True, help="Pin the newest packages, and make everything of them.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def setup(upgrade: bool, as_json: bool) -> None:
    """Make the boot files and the built-in image, unless they are there.

    Takes about a minute the first time and needs the network for it. A run would do the same when it needs them;
    this does it ahead. Exit code 3 when the host lacks something; the message names the command that installs it.
    """
    from aegis.sandbox.images.prepare import prepare

    done = prepare(upgrade=upgrade, progress=lambda text: click.echo(text, err=True))
    if as_json:
        click.echo(json.dumps(done.as_json(), indent=2))
        return
    if upgrade:
        click.echo("packages   " + ("newer ones are pinned" if done.upgraded else "are the newest already"))
    boot = f"kernel {done.boot.kernel_version}, {done.boot.digest[:12]}"
    click.echo(f"boot files {boot} ({_made(done.boot_made)})")
    image = f"{done.image.ref}, {done.image.size_bytes / (1 << 20):.1f} MiB, {done.image.digest[:12]}"
    click.echo(f"image      {image} ({_made(done.image_made)})")
    click.echo(f"cache      {done.cache}")
    click.echo(f"ready in {done.duration_s:.1f} s")


def _made(now: bool) -> str:
    return "made now" if now else "was there"
