"""`aegis sandbox`: a fresh machine to look around in."""

from __future__ import annotations

from typing import Any

import click


@click.group()
def sandbox() -> None:
    """Start a fresh sandbox outside of a run."""


@sandbox.command(
    epilog="""\b
Examples:
  aegis sandbox shell
  aegis sandbox shell --image oci:python:3.12-slim --memory 1GiB
  aegis sandbox shell -- python3 -c 'print(1)'"""
)
@click.option("--image", default="debian", show_default=True, help="Image reference, as in a suite.")
@click.option("--memory", default="512MiB", show_default=True, help="Memory of the machine, such as 512MiB.")
@click.option(
    "--cpus", default=1, show_default=True, type=click.IntRange(1, 16), help="Processors of the machine."
)
@click.option(
    "--isolation",
    type=click.Choice(["vm", "none"]),
    default="vm",
    show_default=True,
    help="vm: a fresh virtual machine. none: a folder of this host.",
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def shell(
    context: click.Context, image: str, memory: str, cpus: int, isolation: Any, command: tuple[str, ...]
) -> None:
    """Open an interactive shell (or run COMMAND) in a fresh machine.

    The machine has no network and is destroyed when the shell ends. The exit code is the command's.
    """
    import asyncio
    from pathlib import Path

    from aegis.cli.terminal import interact
    from aegis.sandbox.base import TemplateSpec
    from aegis.sandbox.select import open_driver
    from aegis.suite.project import find_project
    from aegis.suite.units import parse_size

    spec = TemplateSpec(image=image, memory_bytes=parse_size(memory), cpus=cpus)
    driver = open_driver(isolation, base_dir=find_project(Path.cwd()).root, jobs=1)

    async def main() -> int:
        async with driver:
            click.echo(f"{driver.info.version} ({driver.info.accel or 'no isolation'})", err=True)
            template = await driver.template(spec, progress=lambda text: click.echo(text, err=True))
            machine = await driver.start(template)
            try:
                return await interact(machine, command or ("/bin/sh", "-l"))
            finally:
                await machine.stop()

    context.exit(asyncio.run(main()))
