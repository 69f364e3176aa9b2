"""Options that several commands take, and kinds of their values."""

from __future__ import annotations

import re
from collections.abc import Sequence

import click

from aegis.errors import UsageError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def parse_time(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Callback of an option that takes a duration as suites write it (`500ms`, `90s`, `5m`): seconds."""
    from aegis.suite.units import parse_duration

    try:
        return None if value is None else parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from error


def parse_bytes(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Callback of an option that takes a size as suites write it (`512MiB`, `4GiB`): bytes."""
    from aegis.suite.units import parse_size

    try:
        return None if value is None else parse_size(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from error


def parse_env(pairs: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE` texts as a mapping; of two values for a name the later counts. Raises `UsageError`."""
    env: dict[str, str] = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not _NAME.fullmatch(name) or "\0" in value:
            raise UsageError(f"--env {pair!r} is not NAME=VALUE", fix="e.g. --env MODEL=gpt-5-mini")
        env[name] = value
    return env


trials_option = click.option(
    "--trials", type=int, metavar="N", help="Run each case N times, whatever the suite says."
)
keyword_option = click.option(
    "--keyword", "-k", metavar="EXPR", help="Only cases whose id or tags match, e.g. 'refund and not slow'."
)
env_option = click.option(
    "--env",
    "env",
    multiple=True,
    metavar="NAME=VALUE",
    help="Set a variable of the agent's. May be repeated.",
)
timeout_option = click.option(
    "--timeout",
    "timeout_s",
    callback=parse_time,
    metavar="TIME",
    help="The agent's time in each trial, e.g. 90s.",
)
vmm_option = click.option("--vmm", metavar="NAME", help="Use this virtual machine monitor (qemu).")
require_kvm_option = click.option(
    "--require-kvm", is_flag=True, help="Refuse software emulation, which is no security boundary."
)
