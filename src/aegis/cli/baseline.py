"""`aegis baseline`: the results that later runs are compared with, and how they get from machine to machine."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aegis.cli.options import parse_time
from aegis.errors import UsageError
from aegis.report.text import counted

if TYPE_CHECKING:
    from aegis.baseline.candidates import Candidate, Candidates
    from aegis.baseline.exchange import Exchange
    from aegis.baseline.publish import Chosen
    from aegis.baseline.store import Store
    from aegis.results import Ledger

NOTHING_FOUND = 3
"""Exit code of `show` when there is no baseline: what a run would come to."""

_MOST_COLUMNS = 90
_MANY = 20
_HEAD = ("RUN", "SUITE", "BRANCH", "COMMIT", "AGE", "PASSED", "WHERE", "NOTE")

_suite_option = click.option("--suite", "-s", metavar="NAME", help="Only runs of this suite.")
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_remote_option = click.option(
    "--remote", metavar="NAME", help="Name or address of the remote. Default: origin, else the only one."
)
_timeout_option = click.option(
    "--timeout",
    "timeout_s",
    callback=parse_time,
    default="5m",
    show_default=True,
    metavar="TIME",
    help="Give up after this time.",
)


@click.group(short_help="The results that runs are compared with: push, pull, list, pin.")
def baseline() -> None:
    """The results that later runs are compared with (aegis eval run --baseline main).

    Each finished run leaves one in .aegis/ of this machine. To be found on others it is kept in the git repository
    itself, in the ref refs/aegis/results: no branch, no file of the work tree, no server.

    \b
    Examples:
      aegis baseline push          after a run of main, in CI
      aegis baseline pull          before a run of a branch
      aegis baseline show main     what --baseline main would find from here
    """


@baseline.command(short_help="Put results into the repository and push them.")
@click.argument("run", metavar="[RUN]", required=False)
@click.option("--all", "all_runs", is_flag=True, help="Every run of this machine that can be a baseline.")
@_suite_option
@_remote_option
@_timeout_option
def push(run: str | None, all_runs: bool, suite: str | None, remote: str | None, timeout_s: float) -> None:
    """Put the newest run that can be a baseline (or RUN) into refs/aegis/results, and push that.

    What others have pushed meanwhile is fetched and united with it: nothing is lost when several jobs push at once.
    What somebody pruned stays removed. Without a remote the results are kept in this repository.

    Whoever can read the repository can then read what the agent answered and the arguments of its tool calls, shortened
    in a large run. Bodies of requests, traces and values of secrets are not in it.

    \b
    Examples:
      aegis baseline push
      aegis baseline push --suite production-v2 --remote upstream
      aegis baseline push 20260105-141500-a1b2
      aegis baseline push --all
    """
    from aegis.baseline import exchange, publish
    from aegis.baseline.candidates import gather

    if run and all_runs:
        raise UsageError("RUN and --all exclude each other", fix="leave one away")
    with _ledger() as ledger:
        store = _store()
        known = store.entries().runs
        runs = gather(ledger, None)
        chosen = _chosen(runs, run, suite, all_runs=all_runs)
        if not chosen.runs and not known:
            raise _nothing_to_push(chosen, suite)
        if len(chosen.runs) > _MANY:
            _say(f"adding up to {counted(len(chosen.runs), 'run')} to refs/aegis/results")
        new, taken = store.add(publish.added(runs, chosen.runs, known))
    for run_id in taken:
        _say(f"another run with the id {run_id} is there already; it was left as it is")
    target = exchange.default_remote(store.git, remote)
    if target is None:
        click.echo(f"{counted(len(new), 'run')} added to refs/aegis/results; there is no remote to push to")
        return
    synced = _exchange(store, target, timeout_s).push()
    for run_id in synced.sent:
        click.echo(f"pushed {run_id}")
    click.echo(f"{target} has {counted(len(synced.entries.runs), 'run')}" + _if_same(synced.pushed))


@baseline.command(short_help="Fetch the results that others have pushed.")
@_remote_option
@_timeout_option
def pull(remote: str | None, timeout_s: float) -> None:
    """Fetch refs/aegis/results and unite it with what is here.

    Works in a shallow clone; for finding the baseline of a branch the commits are needed as well (in GitHub Actions:
    fetch-depth: 0).

    \b
    Examples:
      aegis baseline pull
      aegis baseline pull --remote upstream
    """
    store = _store()
    synced = _exchange(store, _needed(store, remote), timeout_s).pull()
    for run_id in synced.removed:
        click.echo(f"{run_id} was pruned by others")
    click.echo(f"{counted(len(synced.added), 'new run')}; {counted(len(synced.entries.runs), 'run')} in all")


@baseline.command(name="list", short_help="List the results, newest first.")
@_suite_option
@click.option("--branch", "-b", metavar="NAME", help="Only runs of this branch.")
@click.option("--limit", "-n", type=click.IntRange(1), default=20, show_default=True, help="At most so many.")
@_json_option
def list_(suite: str | None, branch: str | None, limit: int, as_json: bool) -> None:
    """List what there is to compare with: in the ledger of this machine, in the git ref, at the remote (as it was last
    seen), and why a run is not taken.

    \b
    Examples:
      aegis baseline list
      aegis baseline list --suite production-v2 --branch main --json
    """
    from aegis.baseline.overview import overview

    with _ledger() as ledger:
        rows = overview(ledger, _root(), suite=suite, branch=branch)
    if as_json:
        click.echo(json.dumps({"runs": [row.as_json() for row in rows[:limit]]}, indent=2))
    elif rows:
        _print_table([_HEAD, *(_cells(row.as_json()) for row in rows[:limit])])
        if len(rows) > limit:
            click.echo(f"and {counted(len(rows) - limit, 'older run')} (--limit)")
    else:
        click.echo("no results here; aegis baseline pull fetches those of others")


@baseline.command(short_help="Show what --baseline NAME would find from here.")
@click.argument("name", metavar="NAME", default="main")
@click.option(
    "--suite", "-s", metavar="NAME", help="Of this suite. May be left out when all runs are of one."
)
@_json_option
def show(name: str, suite: str | None, as_json: bool) -> int:
    """Show what `aegis eval run --baseline NAME` (default: main) would be compared with, how far back it is, and why
    nearer results are not taken.

    NAME is a branch, a tag, a commit, a run, a pin, or an exported file. What is compared is taken to be a run of the
    suite as it stands here; where that cannot be read, a run like the newest one. Exit code 3: there is no baseline.

    \b
    Examples:
      aegis baseline show main
      aegis baseline show v1.4 --suite production-v2 --json
    """
    from aegis._eval.against import environment_here
    from aegis.baseline.overview import look

    with _ledger() as ledger:
        looked = look(name, _root(), ledger, suite, environment_here)
    if as_json:
        click.echo(json.dumps(looked.as_json(), indent=2))
    else:
        for line in looked.lines():
            click.echo(_safe(line))
    return 0 if looked.found is not None else NOTHING_FOUND


@baseline.command(short_help="Make a name stand for a run.")
@click.argument("name", metavar="NAME")
@click.argument("run", metavar="[RUN]", required=False)
@click.option("--unpin", is_flag=True, help="Let NAME be what it was.")
def pin(name: str, run: str | None, unpin: bool) -> None:
    """Make --baseline NAME use RUN, whatever NAME is otherwise. A pinned run is never pruned.

    \b
    Examples:
      aegis baseline pin main 20260105-141500-a1b2     main is compared with this run from now on
      aegis baseline pin released latest               a name of your own
      aegis baseline pin --unpin main

    Pins are kept with the results: aegis baseline push shares them.
    """
    from aegis.baseline import publish, tree
    from aegis.baseline.candidates import gather

    tree.check_pin(name)
    if unpin == (run is not None):
        raise UsageError("pin takes NAME and RUN, or --unpin and NAME", fix="see aegis baseline pin --help")
    store = _store()
    if run is None:
        if name not in store.entries().pins:
            known = ", ".join(store.entries().pins) or "none"
            raise UsageError(f"there is no pin {name!r}; there are: {known}", fix="aegis baseline pull")
        store.pin(name, None)
        click.echo(f"{name} is no longer pinned")
        return
    with _ledger() as ledger:
        runs = gather(ledger, store)
        found = _named(runs, run)
        odd = publish.check(found)
        store.add(publish.added(runs, [found], store.entries().runs))
    store.pin(name, found.facts.run_id)
    if odd:
        _say(f"note: {odd}")
    click.echo(f"{name} is pinned to run {found.facts.run_id}; aegis baseline push shares it")


@baseline.command(short_help="Remove old results.")
@click.option(
    "--keep", type=click.IntRange(min=0), metavar="N", help="Keep the newest N of each suite and branch."
)
@click.option("--before", metavar="DATE", help="Only runs that began before DATE (2026-01-31), in UTC.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@_remote_option
@_timeout_option
def prune(keep: int | None, before: str | None, dry_run: bool, remote: str | None, timeout_s: float) -> None:
    """Remove old results from refs/aegis/results, here and at the remote. Pinned runs stay, and so does the ledger.

    With both --keep and --before a run stays that either of them keeps. The ref begins anew, so that git can free the
    space (git gc).

    \b
    Examples:
      aegis baseline prune --keep 50 --dry-run
      aegis baseline prune --keep 20 --before 2026-01-31
    """
    from aegis.baseline import exchange, publish
    from aegis.baseline.tree import Entries

    if keep is None and before is None:
        raise UsageError("nothing says what shall go", fix="--keep N, --before DATE, or both")
    limit = None if before is None else _date(before)
    store = _store()
    removed: dict[str, str] = {}

    def rest(entries: Entries) -> Entries:
        gone = publish.outdated(store.described(entries), entries.pins, keep=keep, before=limit)
        removed.update(gone)  # another try begins without what an earlier one removed
        return Entries({run: oid for run, oid in entries.runs.items() if run not in gone}, entries.pins)

    target = exchange.default_remote(store.git, remote)
    if dry_run:
        rest(store.entries() if target is None else _exchange(store, target, timeout_s).united())
    elif target is None:
        store.change(rest, "Prune results", fresh=True)
    else:
        _exchange(store, target, timeout_s).prune(rest)
    for run_id, why in sorted(removed.items()):
        click.echo(
            _safe(f"{'would remove' if dry_run else 'removed'} {run_id}" + (f": {why}" if why else ""))
        )
    click.echo(f"{counted(len(removed), 'run')} {'would go' if dry_run else 'gone'}")


@baseline.command(short_help="Write a run's results into a file.")
@click.argument("run", metavar="RUN")
@click.argument("file", metavar="[FILE]", required=False)
@click.option("--force", is_flag=True, help="Replace FILE when it is there.")
def export(run: str, file: str | None, force: bool) -> None:
    """Write what RUN is compared by into FILE (default: RUN.aegis; -: standard output), for --baseline FILE elsewhere.
    It holds what the agent answered and the arguments of its tool calls: whoever has FILE can read them.

    RUN is a run's id, the beginning of one, a pin, or `latest`.

    \b
    Examples:
      aegis baseline export latest
      aegis baseline export 20260105-141500-a1b2 main.aegis
    """
    from aegis.baseline.candidates import gather, open_store
    from aegis.baseline.lookup import SUFFIX
    from aegis.results.files import write_atomic

    with _ledger() as ledger:
        store, _ = open_store(_root())
        runs = gather(ledger, store)
        pins = {} if store is None else store.entries().pins
        found = _named(runs, pins.get(run, run))
        data, _, _ = runs.read_bytes(found)
    if found.never:
        _say(f"note: it cannot be a baseline: {found.never}")
    if file == "-":
        sys.stdout.buffer.write(data)
        return
    target = Path(file or f"{found.facts.run_id}{SUFFIX}")
    if target.exists() and not force:
        raise UsageError(
            f"{target} is there already; nothing was written", fix="name another file, or add --force"
        )
    write_atomic(target, data)
    click.echo(f"{target}: run {found.facts.run_id}, {len(data):,} bytes")


def _root() -> Path:
    from aegis.suite import find_project

    return find_project(Path.cwd()).root


@contextlib.contextmanager
def _ledger() -> Iterator[Ledger | None]:
    """Of the project; none is made where there is none."""
    from aegis.cli.history import ledger_folder, open_ledger

    folder = ledger_folder()
    if not (folder / "ledger.db").exists():
        yield None
        return
    with open_ledger(folder) as ledger:
        yield ledger


def _store() -> Store:
    from aegis.baseline.store import Store

    return Store(_root())


def _exchange(store: Store, remote: str, timeout_s: float) -> Exchange:
    from aegis.baseline.exchange import Exchange

    return Exchange(store, remote, say=_say, total_s=timeout_s)


def _needed(store: Store, remote: str | None) -> str:
    from aegis.baseline.exchange import default_remote

    found = default_remote(store.git, remote)
    if found is None:
        raise UsageError("this repository has no remote to fetch from", fix="git remote add origin URL")
    return found


def _chosen(runs: Candidates, run: str | None, suite: str | None, *, all_runs: bool) -> Chosen:
    from aegis.baseline import publish

    if run is not None:
        found = _named(runs, run)
        if odd := publish.check(found):
            _say(f"note: it is a baseline only when it is named: {odd}")
        return publish.Chosen([found], [])
    chosen = publish.of_ledger(runs, suite) if all_runs else publish.newest(runs, suite)
    for each in chosen.left:
        _say(_safe(f"run {each.run_id} is left out: {each.why}"))
    return chosen


def _nothing_to_push(chosen: Chosen, suite: str | None) -> UsageError:
    whose = f" of the suite {suite}" if suite else ""
    if chosen.left:
        return UsageError(
            f"no run{whose} can be a baseline", fix="commit, then run the whole suite: aegis eval run"
        )
    return UsageError(f"there are no runs{whose} to push", fix="aegis eval run --suite NAME")


def _named(runs: Candidates, written: str) -> Candidate:
    from aegis.baseline.candidates import matching
    from aegis.baseline.lookup import LATEST

    found = runs.runs[:1] if written == LATEST else runs.begin_with(written)
    if not found:
        raise UsageError(
            f"there is no run {written!r} in the ledger or the results", fix="aegis baseline list"
        )
    return matching(written, found)


def _date(written: str) -> datetime:
    try:
        found = datetime.fromisoformat(written)
    except ValueError:
        raise UsageError(f"--before {written!r} is no date", fix="e.g. --before 2026-01-31") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _if_same(pushed: bool) -> str:
    return "" if pushed else "; there was nothing new"


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    commit = (row["commit"] or "-")[:10] + ("*" if row["dirty"] else "")
    pins = ", ".join(f"pinned as {name}" for name in row["pins"])
    return (
        row["run_id"],
        row["suite"] or "-",
        row["branch"] or "-",
        commit,
        _age(row["started_at"]),
        f"{row['passed']}/{row['planned']}",
        "+".join(row["where"]),
        "; ".join(filter(None, (pins, row["refused"]))),
    )


def _age(started_at: str) -> str:
    from aegis.baseline.candidates import moment

    past_s = (datetime.now(UTC) - moment(started_at)).total_seconds()
    for unit, size_s in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if past_s >= size_s:
            return f"{past_s // size_s:.0f} {unit}"
    return "now"


def _print_table(rows: Sequence[tuple[str, ...]]) -> None:
    from aegis.report.text import columns, one_line

    shown = [[one_line(text, _MOST_COLUMNS) for text in row] for row in rows]
    widths = [max(columns(row[column]) for row in shown) for column in range(len(shown[0]))]
    for row in shown:
        cells = [text + " " * (width - columns(text)) for text, width in zip(row, widths, strict=True)]
        click.echo("  ".join(cells).rstrip())


def _safe(line: str) -> str:
    from aegis.report.text import visible

    return visible(line)


def _say(line: str) -> None:
    click.echo(_safe(line), err=True)
