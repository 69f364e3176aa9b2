"""The tables of ledger.db, format 2 (`PRAGMA user_version`)."""

from __future__ import annotations

from sqlalchemy import (
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

FORMAT = 2
"""Raise it with every change that an older Aegis would misread, and migrate in
`MIGRATIONS`."""

MIGRATIONS = {1: ("ALTER TABLE trials ADD COLUMN purpose TEXT NOT NULL DEFAULT 'plan'",)}
"""Format → the statements that make the next one of it."""

metadata = MetaData()

meta = Table(
    "meta",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),  # order of creation, whatever the clock did
    Column("run_id", Text, nullable=False, unique=True),
    Column("suite", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("config", Text, nullable=False),
    Column("summary", Text),  # the document without its trials, so that a list of runs need not unpack them
    Column("document", LargeBinary),
    Column("document_blob", Text),
    Index("runs_by_suite", "suite", "id"),
    sqlite_autoincrement=True,
)

trials = Table(
    "trials",
    metadata,
    Column("id", Integer, primary_key=True),  # order of the plan
    Column("run", Integer, ForeignKey("runs.id"), nullable=False),
    Column("case", Text, nullable=False),
    Column("variant", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("epoch", Integer, nullable=False, server_default="0"),
    Column("outcome", Text),  # of the attempt that counts
    Column("final_epoch", Integer),
    Column("purpose", Text, nullable=False, server_default="plan"),  # since format 2
    UniqueConstraint("run", "case", "variant", "number"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("trial", Integer, ForeignKey("trials.id"), nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("outcome", Text),
    Column("started_at", Text, nullable=False),
    Column("finished_at", Text),
    Column("result", LargeBinary),
    Column("result_blob", Text),
    UniqueConstraint("trial", "epoch"),
)
