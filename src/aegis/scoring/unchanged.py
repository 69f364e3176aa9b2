"""Scorer `unchanged`: files and tables that must be at the end what they were before the agent started."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from aegis.errors import GuestOperationError, InfrastructureError
from aegis.sandbox.base import WORKSPACE, Entry
from aegis.scoring import ask, configs, differ, glob, servers
from aegis.scoring.ask import UnreadableError
from aegis.scoring.base import Score, ScoreContext
from aegis.scoring.configs import Problem, refuse
from aegis.scoring.services import Declared
from aegis.scoring.words import failed, passed, plain, shown
from aegis.suite.units import describe

MAX_ROWS = 10_000
MAX_KEPT_CHARS = 4 * 1024 * 1024
"""Of all rows of a table: of more only a digest is kept."""

_KEYS = ("paths", "ignore", "database", "service", "tables", "query")


class UnchangedScorer:
    name = "unchanged"

    def check(self, config: Any) -> None:
        refuse(_problems(_whole(config)))

    def check_services(self, config: Any, declared: Sequence[Declared]) -> None:
        refuse(ask.service_problems(_whole(config), declared))

    def files(self, config: Any) -> tuple[str, ...]:
        return ()

    async def before(self, config: Any, context: ScoreContext) -> Any:
        """What `score` compares with, as JSON. Raises `InfrastructureError`: nothing of this is the agent's doing."""
        config = _whole(config)
        try:
            files = [_plain_entry(entry) for entry in await _look(config, context)]
            rows = {query: _kept(await _rows(config, query, context)) for query in _queries(config)}
        except GuestOperationError as error:
            fix = "Name fewer files." if error.code == "too-large" else None
            raise InfrastructureError(f"unchanged: the files cannot be read: {error}", fix=fix) from None
        except UnreadableError as error:
            raise InfrastructureError(
                f"unchanged: {error}", fix="What must not change has to be there when the agent starts."
            ) from None
        return {"files": files, "rows": rows}

    async def score(self, config: Any, context: ScoreContext) -> Score:
        config, before = _whole(config), context.before
        if before is None:
            raise InfrastructureError("unchanged: what was there before the agent started is not known")
        try:
            entries = await _look(config, context)
            lines, names = await asyncio.to_thread(_files_difference, before["files"], entries)
            for query in _queries(config):
                rows = _kept(await _rows(config, query, context))
                different = _rows_difference(before["rows"][query], rows)
                if different:
                    names.append(query)
                    lines += [f"--- {plain(query)}", *different]
        except GuestOperationError as error:
            return failed(self.name, f"the files can no longer be read: {plain(str(error))}")
        except UnreadableError as error:
            return failed(self.name, str(error))
        if not lines:
            return passed(self.name, f"unchanged: {_subject(config, len(before['files']))}")
        told = ", ".join(plain(name, 80) for name in names[:3])
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        first = f"{told}{more} changed since the agent started"
        return failed(self.name, "\n".join((first, *differ.bounded(lines))))


def _whole(config: Any) -> Any:
    if isinstance(config, str):
        return {"paths": [config]}
    return {"paths": config} if isinstance(config, list | tuple) else config


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _queries(config: Mapping[str, Any]) -> list[str]:
    """Those that read the tables, and the one that is written."""
    quote = "`" if "database" in config and servers.dialect(config["database"]) == "mysql" else '"'
    found = [f"SELECT * FROM {_quoted(table, quote)}" for table in _as_list(config.get("tables", []))]
    return [*found, *([config["query"]] if "query" in config else [])]


def _quoted(table: str, quote: str) -> str:
    """As the catalogue has it: `public.orders` is a table of a schema, and capitals count."""
    return ".".join(quote + part.replace(quote, 2 * quote) + quote for part in table.split("."))


async def _look(config: Mapping[str, Any], context: ScoreContext) -> list[Entry]:
    paths = tuple(_as_list(config.get("paths", [])))
    if not paths:
        return []
    ignored = [_absolute(pattern) for pattern in _as_list(config.get("ignore", []))]
    return [entry for entry in await context.sandbox.look(paths) if not _ignored(entry.path, ignored)]


def _absolute(path: str) -> str:
    return path.rstrip("/") if path.startswith("/") else f"{WORKSPACE}/{path}".rstrip("/")


def _ignored(path: str, patterns: list[str]) -> bool:
    return any(glob.matches(pattern, path) or glob.matches(f"{pattern}/*", path) for pattern in patterns)


async def _rows(config: Mapping[str, Any], query: str, context: ScoreContext) -> ask.Rows:
    source = ask.source(config, context.services)
    return await source.rows(context.sandbox, query, max_rows=MAX_ROWS)


def _plain_entry(entry: Entry) -> dict[str, Any]:
    content = None if entry.content is None else entry.content.decode("latin-1")
    return {**asdict(entry), "content": content}


def _entry(data: Mapping[str, Any]) -> Entry:
    content = None if data["content"] is None else data["content"].encode("latin-1")
    return Entry(**{**data, "content": content})


def _kept(rows: ask.Rows) -> dict[str, Any]:
    """The rows in an order of their own: a table has none."""
    lines = sorted(map(differ.row_line, rows))
    digest = hashlib.blake2b("\n".join(lines).encode("utf-8", "replace"), digest_size=20).hexdigest()
    small = sum(map(len, lines)) <= MAX_KEPT_CHARS
    return {"count": len(lines), "digest": digest, "lines": lines if small else None}


def _files_difference(before: list[dict[str, Any]], after: list[Entry]) -> tuple[list[str], list[str]]:
    """(lines of a diff, the paths that differ)."""
    old = {entry.path: entry for entry in map(_entry, before)}
    new = {entry.path: entry for entry in after}
    lines: list[str] = []
    names: list[str] = []
    for path in sorted(old.keys() | new.keys()):
        found = differ.file_difference(path, old.get(path), new.get(path))
        if found:
            names.append(path)
            # The rest of a long diff is not shown: nor is it made.
            lines += found if len(lines) <= differ.MAX_LINES else found[:1]
    return lines, names


def _rows_difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    if before["digest"] == after["digest"]:
        return []
    if before["lines"] is None or after["lines"] is None:
        return [f"{before['count']} rows → {after['count']} rows, too many to compare row by row"]
    return differ.row_difference(before["lines"], after["lines"])


def _subject(config: Mapping[str, Any], files: int) -> str:
    parts = []
    if "paths" in config:
        parts.append(f"{shown(_as_list(config['paths']))} ({files} files and folders)")
    if "tables" in config:
        parts.append(f"tables {', '.join(map(plain, _as_list(config['tables'])))}")
    if "query" in config:
        parts.append(f"the answer to {shown(config['query'])}")
    return ", ".join(parts)


def _problems(config: Any) -> Iterator[Problem]:
    yield from configs.keys(config, _KEYS)
    if not isinstance(config, Mapping):
        return
    if not any(key in config for key in ("paths", "tables", "query")):
        yield (), "expected paths, tables or query"
    for key in ("paths", "ignore", "tables"):
        yield from _texts_problems(config, key)
    yield from ask.problems(config)
    rows = [key for key in ("tables", "query") if key in config]
    if rows and "database" not in config:
        yield (), f"missing key 'database' for {rows[0]!r}"
    for key in ("database", "service"):
        if key in config and not rows:
            yield (key,), "is for tables or query"
    if "ignore" in config and "paths" not in config:
        yield ("ignore",), "is for paths"


def _texts_problems(config: Mapping[str, Any], key: str) -> Iterator[Problem]:
    if key not in config:
        return
    value = config[key]
    if value in ([], ()):
        yield (key,), "expected at least one"
    for index, item in enumerate(_as_list(value)):
        path = (key, index) if isinstance(value, list | tuple) else (key,)
        if not isinstance(item, str) or not item.strip() or "\0" in item:
            yield path, f"expected a text, got {describe(item)}"
        elif key != "tables" and ".." in item.split("/"):
            yield path, f"expected a path without '..', got {item!r}"
        elif key == "tables" and "" in item.split("."):
            yield path, f"expected a table such as orders or public.orders, got {item!r}"


scorer = UnchangedScorer()
