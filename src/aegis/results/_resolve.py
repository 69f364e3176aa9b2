"""From what a user typed to a run's id."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa

from aegis.errors import UsageError
from aegis.results._tables import runs

LATEST = "latest"
SHOWN = 10

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def check_run_id(run_id: str) -> None:
    """Raise `UsageError` unless the id can be a file name everywhere and isn't the alias `latest`."""
    if not _RUN_ID.fullmatch(run_id) or run_id == LATEST:
        raise UsageError(
            f"{run_id!r} cannot be the id of a run", fix="use letters, digits, '.', '_' and '-', at most 128"
        )


def run_id(connection: sa.Connection, written: str, folder: Path) -> str:
    """The id that `written` stands for: itself, the only one it begins, or the newest for `latest`. Raises
    `UsageError` that lists the candidates."""
    newest = sa.select(runs.c.run_id).order_by(runs.c.id.desc())
    if written == LATEST:
        found = connection.execute(newest.limit(1)).scalars().all()
    elif exact := connection.execute(newest.where(runs.c.run_id == written)).scalars().all():
        found = exact
    else:
        begins = sa.func.substr(runs.c.run_id, 1, len(written)) == written
        found = connection.execute(newest.where(begins).limit(SHOWN + 1)).scalars().all()
    if len(found) == 1 and written:
        return str(found[0])
    if found and written:
        raise UsageError(
            f"{written!r} is the beginning of several runs: {_listed(found)}", fix="write more of the id"
        )
    latest = connection.execute(newest.limit(SHOWN + 1)).scalars().all()
    if not latest:
        raise UsageError(f"there are no runs in {folder} yet", fix="aegis eval run --suite NAME")
    raise UsageError(
        f"there is no run {written!r} in {folder}; there are: {_listed(latest)}", fix="aegis eval list"
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
