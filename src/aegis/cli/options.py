"""Kinds of option values that several commands take."""

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
