"""The ledger: every run, trial and attempt, in FOLDER/ledger.db, with blobs beside it.

Layout of FOLDER: `.gitignore`, `ledger.db` (SQLite, with `-wal` and `-shm`), `blobs/` (blobs.py), `runs/RUN.lock`
(owner.py).

Each trial counts exactly once. `begin_attempt` gives an attempt its epoch and thereby supersedes older ones;
`finish_attempt` takes the report of the newest attempt only, and only until the trial is final. Both are
single transactions, so any number of threads and processes may report at once, and a process that is killed
leaves either all of a report or nothing of it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from aegis.errors import LedgerError, UsageError
from aegis.results import _resolve
from aegis.results._database import Database
from aegis.results._payload import pack, unpack
from aegis.results._tables import attempts, runs, trials
from aegis.results.blobs import BlobStore
from aegis.results.owner import RunLocks
from aegis.results.records import (
    CONFIRMATION,
    OUTCOMES,
    PLAN,
    STATUSES,
    AttemptRecord,
    RunRecord,
    TrialRecord,
)

_LONG = ("trials", "confirmations", "cases", "baseline")
"""Keys of a document that its summary leaves out."""


class Ledger:
    """Every method may raise `LedgerError` (the file is corrupt, locked for too long, or the disk is full)
    and, for a run or trial that is not in the ledger, `UsageError`. Methods may be called from any thread."""

    blobs: BlobStore

    def __init__(self, folder: Path) -> None:
        """Open FOLDER/ledger.db, or make it; a new folder tells git to leave it alone. Raises `LedgerError` for a
        file that is corrupt, truncated, not ours, or written by a newer Aegis; such a file is left as it is."""
        try:
            _make_folder(folder)
        except OSError as error:
            raise LedgerError(
                f"cannot make the ledger's folder {folder}: {error.strerror or error}",
                fix=f"make {folder.parent} writable for this user",
            ) from error
        self.folder = folder
        self.blobs = BlobStore(folder / "blobs")
        self._locks = RunLocks(folder / "runs")
        self._database = Database(folder / "ledger.db")

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def create_run(self, run: RunRecord, planned: Sequence[tuple[str, str, int]]) -> None:
        """Record a run and its whole plan of (case, variant, number), in one transaction. A run with status
        `running` belongs to this process until `finish_run` or `close`. Raises `UsageError` when the id is
        taken, or isn't usable as a file name, or the plan names a trial twice."""
        _resolve.check_run_id(run.run_id)
        _check_status(run.status)
        if len(set(planned)) != len(planned):
            raise UsageError(f"the plan of run {run.run_id} names a trial twice")
        if run.status == "running":
            self._locks.claim(run.run_id)
        try:
            self._insert_run(run, planned)
        except BaseException:
            self._locks.release(run.run_id)
            raise

    def add_confirmations(self, run_id: str, planned: Sequence[tuple[str, str, int]]) -> None:
        """Add trials of confirmation to the plan of a run; those that are in it already are left as they are."""
        with self._database.writing() as connection:
            key = self._run_key(connection, run_id)
            columns = (trials.c.case, trials.c.variant, trials.c.number)
            there = {tuple(row) for row in connection.execute(sa.select(*columns).where(trials.c.run == key))}
            rows = [
                {"run": key, "case": case, "variant": variant, "number": number, "purpose": CONFIRMATION}
                for case, variant, number in dict.fromkeys(planned)
                if (case, variant, number) not in there
            ]
            if rows:
                connection.execute(sa.insert(trials), rows)

    def claim_run(self, run_id: str) -> None:
        """Take over a run to resume it: its status is `running` until `finish_run`. Raises `UsageError` when
        a living process runs it. Its trials' attempts that were under way are superseded as they are begun
        again."""
        with self._database.reading() as connection:
            self._run_key(connection, run_id)
        self._locks.claim(run_id)
        with self._database.writing() as connection:
            connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(status="running"))

    def begin_attempt(self, run_id: str, case: str, variant: str, number: int) -> int:
        """Begin an attempt and return its epoch (1, 2, …), which supersedes all older ones of the trial. For
        a trial that is final already, the attempt is recorded but its report will be refused."""
        with self._database.writing() as connection:
            trial = self._trial(connection, run_id, case, variant, number)
            epoch: int = trial.epoch + 1
            connection.execute(sa.update(trials).where(trials.c.id == trial.id).values(epoch=epoch))
            connection.execute(sa.insert(attempts), {"trial": trial.id, "epoch": epoch, "started_at": _now()})
        return epoch

    def finish_attempt(
        self,
        run_id: str,
        case: str,
        variant: str,
        number: int,
        epoch: int,
        *,
        outcome: str,
        result: dict[str, Any],
        final: bool,
    ) -> bool:
        """Report an attempt. With `final` its outcome becomes the trial's (an `error` that will be retried is
        reported with final=False). A `cancelled` attempt never becomes the trial's outcome, whatever `final`
        says: resuming the run runs the trial again.

        Returns False, and changes nothing, when the epoch is not the trial's newest, when it was reported
        before, or when the trial is final. `outcome` is one of `records.OUTCOMES` (else `ValueError`).
        """
        if outcome not in OUTCOMES:
            raise ValueError(f"not an outcome: {outcome!r}")
        payload = pack(result, self.blobs)
        with self._database.writing() as connection:
            trial = self._trial(connection, run_id, case, variant, number)
            if trial.epoch != epoch or trial.final_epoch is not None:
                return False
            reported = connection.execute(
                sa.update(attempts)
                .where(attempts.c.trial == trial.id, attempts.c.epoch == epoch, attempts.c.outcome.is_(None))
                .values(outcome=outcome, finished_at=_now(), result=payload.inline, result_blob=payload.blob)
            ).rowcount
            if not reported:
                return False
            if final and outcome != "cancelled":
                connection.execute(
                    sa.update(trials)
                    .where(trials.c.id == trial.id)
                    .values(outcome=outcome, final_epoch=epoch)
                )
        return True

    def finish_run(self, run_id: str, status: str, document: dict[str, Any] | None) -> None:
        """Record how the run ended (`complete` or `interrupted`) with its document, and give the run up."""
        _check_status(status)
        packed = pack(document, self.blobs)
        summary = None
        if document is not None:
            summary = json.dumps({key: value for key, value in document.items() if key not in _LONG})
        with self._database.writing() as connection:
            key = self._run_key(connection, run_id)
            connection.execute(
                sa.update(runs)
                .where(runs.c.id == key)
                .values(status=status, summary=summary, document=packed.inline, document_blob=packed.blob)
            )
        self._locks.release(run_id)

    def run(self, run_id_or_prefix: str) -> RunRecord:
        """The run of this id, of the only id that begins so, or the newest one for `latest`. Raises
        `UsageError` with the candidates when there is none or more than one. A run whose process died is
        `interrupted`."""
        with self._database.reading() as connection:
            run_id = _resolve.run_id(connection, run_id_or_prefix, self.folder)
            row = connection.execute(sa.select(runs).where(runs.c.run_id == run_id)).one()
        return self._record(row, unpack(row.document, row.document_blob, self.blobs))

    def runs(self, suite: str | None = None, limit: int = 20) -> list[RunRecord]:
        """The newest runs (of a suite), newest first, with their whole documents."""
        rows = self._newest(list(runs.c), suite, limit)
        return [self._record(row, unpack(row.document, row.document_blob, self.blobs)) for row in rows]

    def summaries(self, suite: str | None = None, limit: int = 20) -> list[RunRecord]:
        """As `runs`, but the documents come without `trials`, `confirmations`, `cases` and `baseline`: quick for
        lists, whatever the runs' size."""
        columns = [runs.c[name] for name in ("run_id", "suite", "status", "created_at", "config", "summary")]
        rows = self._newest(columns, suite, limit)
        return [self._record(row, self._json(row.summary) if row.summary else None) for row in rows]

    def trials(self, run_id: str) -> list[TrialRecord]:
        """All trials of a run, in the order of the plan."""
        attempt = attempts.alias()
        begun = sa.select(sa.func.count()).where(attempt.c.trial == trials.c.id).scalar_subquery()
        final = sa.and_(attempts.c.trial == trials.c.id, attempts.c.epoch == trials.c.final_epoch)
        with self._database.reading() as connection:
            key = self._run_key(connection, run_id)
            rows = connection.execute(
                sa.select(trials, attempts.c.result, attempts.c.result_blob, begun.label("attempts"))
                .select_from(trials.outerjoin(attempts, final))
                .where(trials.c.run == key)
                .order_by(trials.c.id)
            ).all()
        return [
            TrialRecord(
                run_id=run_id,
                case=row.case,
                variant=row.variant,
                number=row.number,
                epoch=row.epoch,
                outcome=row.outcome,
                result=unpack(row.result, row.result_blob, self.blobs),
                attempts=row.attempts,
                purpose=row.purpose,
            )
            for row in rows
        ]

    def attempts(self, run_id: str, case: str, variant: str, number: int) -> list[AttemptRecord]:
        """Every attempt of one trial, oldest first, also those that were superseded."""
        with self._database.reading() as connection:
            trial = self._trial(connection, run_id, case, variant, number)
            rows = connection.execute(
                sa.select(attempts).where(attempts.c.trial == trial.id).order_by(attempts.c.epoch)
            ).all()
        return [
            AttemptRecord(
                epoch=row.epoch,
                outcome=row.outcome,
                started_at=row.started_at,
                finished_at=row.finished_at,
                final=row.epoch == trial.final_epoch,
                result=unpack(row.result, row.result_blob, self.blobs),
            )
            for row in rows
        ]

    def missing(self, run_id: str) -> list[tuple[str, str, int]]:
        """(case, variant, number) of the trials that have no final outcome yet, in the order of the plan."""
        with self._database.reading() as connection:
            key = self._run_key(connection, run_id)
            rows = connection.execute(
                sa.select(trials.c.case, trials.c.variant, trials.c.number)
                .where(trials.c.run == key, trials.c.outcome.is_(None))
                .order_by(trials.c.id)
            ).all()
        return [(row.case, row.variant, row.number) for row in rows]

    def counts(self, run_id: str) -> dict[str, int]:
        """Trials by final outcome, with `planned` for all of them, apart from those of confirmation: as far as a run
        that has no document yet is."""
        with self._database.reading() as connection:
            key = self._run_key(connection, run_id)
            counted = sa.and_(trials.c.run == key, trials.c.purpose == PLAN)
            query = sa.select(trials.c.outcome, sa.func.count()).where(counted)
            rows = connection.execute(query.group_by(trials.c.outcome)).all()
        found: dict[str | None, int] = {row[0]: row[1] for row in rows}
        return {"planned": sum(found.values()), **{name: found.get(name, 0) for name in OUTCOMES}}

    def close(self) -> None:
        """Give up every run of this process that isn't finished (they show as interrupted) and close the
        files."""
        self._locks.release_all()
        self._database.close()

    def _insert_run(self, run: RunRecord, planned: Sequence[tuple[str, str, int]]) -> None:
        packed = pack(run.document, self.blobs)
        with self._database.writing() as connection:
            if connection.execute(sa.select(runs.c.id).where(runs.c.run_id == run.run_id)).first():
                raise UsageError(f"there is a run {run.run_id} in {self.folder} already")
            key = connection.execute(
                sa.insert(runs).values(
                    run_id=run.run_id,
                    suite=run.suite,
                    status=run.status,
                    created_at=run.created_at,
                    config=json.dumps(run.config),
                    document=packed.inline,
                    document_blob=packed.blob,
                )
            ).inserted_primary_key
            assert key is not None
            rows = [
                {"run": key[0], "case": case, "variant": variant, "number": number}
                for case, variant, number in planned
            ]
            if rows:
                connection.execute(sa.insert(trials), rows)

    def _newest(self, columns: Sequence[sa.Column[Any]], suite: str | None, limit: int) -> Sequence[Any]:
        query = sa.select(*columns).order_by(runs.c.id.desc()).limit(limit)
        if suite is not None:
            query = query.where(runs.c.suite == suite)
        with self._database.reading() as connection:
            return connection.execute(query).all()

    def _record(self, row: Any, document: dict[str, Any] | None) -> RunRecord:
        status = row.status
        if status == "running" and not self._locks.alive(row.run_id):
            status = "interrupted"
        return RunRecord(row.run_id, row.suite, status, row.created_at, self._json(row.config), document)

    def _json(self, text: str) -> dict[str, Any]:
        try:
            value: dict[str, Any] = json.loads(text)
        except ValueError as error:
            raise LedgerError(
                f"a row of the ledger {self.folder} cannot be read: {error}",
                fix=f"move {self.folder} away; a new ledger is made at the next run",
            ) from error
        return value

    def _run_key(self, connection: sa.Connection, run_id: str) -> int:
        key: int | None = connection.execute(sa.select(runs.c.id).where(runs.c.run_id == run_id)).scalar()
        if key is None:
            raise UsageError(f"there is no run {run_id} in {self.folder}")
        return key

    def _trial(self, connection: sa.Connection, run_id: str, case: str, variant: str, number: int) -> Any:
        row = connection.execute(
            sa.select(trials.c.id, trials.c.epoch, trials.c.final_epoch)
            .join(runs, runs.c.id == trials.c.run)
            .where(
                runs.c.run_id == run_id,
                trials.c.case == case,
                trials.c.variant == variant,
                trials.c.number == number,
            )
        ).first()
        if row is None:
            raise UsageError(f"run {run_id} in {self.folder} has no trial {number} of {case} ({variant})")
        return row


def _make_folder(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir()
    except FileExistsError:
        if folder.is_dir():
            return
        raise
    # Only a folder of our own making: whoever made it before may want its content tracked.
    (folder / ".gitignore").write_text("*\n", encoding="ascii")


def _check_status(status: str) -> None:
    if status not in STATUSES:
        raise ValueError(f"not a status of a run: {status!r}")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
