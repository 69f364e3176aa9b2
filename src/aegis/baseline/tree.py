"""The tree that results are kept in, as a value: reading, writing and uniting it.

    format              the number of this format
    runs/RUN/meta.json  what is known of the run (facts.py)
    runs/RUN/snapshot   what later runs are compared with
    pins/NAME           the id of a run; NAME is percent-encoded

It comes from everybody who may push: names that are not ours are left out, and none is taken for a path of this host.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from aegis.baseline.facts import RUN_ID
from aegis.baseline.git import BadObjectError, Git
from aegis.errors import UsageError

FORMAT = 1
MAX_PIN_CHARS = 100
_MAX_SMALL_BYTES = 1000


@dataclass(frozen=True)
class Entries:
    runs: Mapping[str, str] = field(default_factory=dict)
    """Run id → the tree with its meta and snapshot."""
    pins: Mapping[str, str] = field(default_factory=dict)
    """Name → run id."""


EMPTY = Entries()


def check_pin(name: str) -> None:
    """Raise `UsageError` unless the name can be a pin's."""
    if not _is_pin(name):
        raise UsageError(
            f"{name[:MAX_PIN_CHARS]!r} cannot be the name of a pin",
            fix=f"use at most {MAX_PIN_CHARS} characters that can be printed, the first no dot and no dash",
        )


def read(git: Git, commit: str, where: str) -> Entries:
    """The entries of a commit. Raises `UsageError`, which names `where`, for a tree that is newer, damaged or not
    ours."""
    try:
        top = {name: (kind, oid) for name, kind, oid in git.listed(commit)}
        _check_format(git, top, where)
        return Entries(_runs(git, top), _pins(git, top))
    except BadObjectError as error:
        raise UsageError(
            f"the results in {where} are damaged: {error}",
            fix="git update-ref -d refs/aegis/results, then aegis baseline pull; git fsck names what is broken",
        ) from error


def write(git: Git, entries: Entries, parents: tuple[str, ...], message: str) -> str:
    """A new commit of the entries; no ref points at it yet."""
    pins = [
        (quote(name, safe=""), "blob", git.put(f"{run}\n".encode())) for name, run in entries.pins.items()
    ]
    top = [
        ("format", "blob", git.put(f"{FORMAT}\n".encode())),
        ("pins", "tree", git.tree(pins)),
        ("runs", "tree", git.tree((run, "tree", oid) for run, oid in entries.runs.items())),
    ]
    return git.commit(git.tree(top), parents, message)


def unite(base: Entries, ours: Entries, theirs: Entries) -> Entries:
    """What both sides have, and what one of them added since `base`, without what one of them removed. A run of theirs
    stays what it is; a pin that we changed is ours."""
    runs = {**ours.runs, **theirs.runs}
    gone = (base.runs.keys() - ours.runs.keys()) | (base.runs.keys() - theirs.runs.keys())
    names = ours.pins.keys() | theirs.pins.keys()
    pins = {name: _pin(name, base.pins, ours.pins, theirs.pins) for name in names}
    return Entries(
        {run: oid for run, oid in sorted(runs.items()) if run not in gone},
        {name: run for name, run in sorted(pins.items()) if run is not None},
    )


def _pin(
    name: str, base: Mapping[str, str], ours: Mapping[str, str], theirs: Mapping[str, str]
) -> str | None:
    return theirs.get(name) if ours.get(name) == base.get(name) else ours.get(name)


def _check_format(git: Git, top: Mapping[str, tuple[str, str]], where: str) -> None:
    kind, oid = top.get("format", ("", ""))
    text = _small(git, {"format": oid}).get("format", "") if kind == "blob" else ""
    if not re.fullmatch("[0-9]{1,9}", text):
        raise UsageError(
            f"{where} holds something else than results of Aegis",
            fix="find out who wrote it: git log refs/aegis/results",
        )
    if int(text) > FORMAT:
        raise UsageError(
            f"the results in {where} were written by a newer Aegis (format {text}, this one reads {FORMAT})",
            fix="pip install --upgrade aegis-evals",
        )


def _runs(git: Git, top: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    kind, oid = top.get("runs", ("", ""))
    rows = git.listed(oid) if kind == "tree" else []
    return {name: oid for name, kind, oid in rows if kind == "tree" and RUN_ID.fullmatch(name)}


def _pins(git: Git, top: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    kind, oid = top.get("pins", ("", ""))
    rows = git.listed(oid) if kind == "tree" else []
    named = {
        unquote(name, errors="replace"): oid
        for name, kind, oid in rows
        if kind == "blob" and quote(unquote(name, errors="replace"), safe="") == name
    }
    texts = _small(git, {name: oid for name, oid in named.items() if _is_pin(name)})
    return {name: text for name, text in texts.items() if RUN_ID.fullmatch(text)}


def _small(git: Git, oids: Mapping[str, str]) -> dict[str, str]:
    """Blobs of a line each; those that are long or missing are left out."""
    if not oids:
        return {}
    sizes = git.sizes(list(oids.values()))
    short = [oid for oid in oids.values() if oid in sizes and sizes[oid][1] <= _MAX_SMALL_BYTES]
    found = git.blobs(short)
    return {name: found[oid].decode("ascii", "replace").strip() for name, oid in oids.items() if oid in found}


def _is_pin(name: str) -> bool:
    return 0 < len(name) <= MAX_PIN_CHARS and name.isprintable() and name[0] not in ".-"
