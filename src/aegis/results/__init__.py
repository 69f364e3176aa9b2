"""What runs leave behind: the ledger of runs, trials and attempts, the blobs beside it, the run document, the
verdict.

Public names: `Ledger` (ledger.py), `BlobStore` (blobs.py), `RunRecord`, `TrialRecord`, `AttemptRecord`
(records.py), and the modules `document` (build, validate, schema), `verdict` (decide), `files` (write_atomic)
and `show` (documents as rows). The names are loaded on first use, so that reading a verdict does not import
SQLAlchemy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aegis.results.blobs import BlobStore
    from aegis.results.ledger import Ledger
    from aegis.results.records import AttemptRecord, RunRecord, TrialRecord

__all__ = ["AttemptRecord", "BlobStore", "Ledger", "RunRecord", "TrialRecord"]

_HOMES = {
    "AttemptRecord": "records",
    "BlobStore": "blobs",
    "Ledger": "ledger",
    "RunRecord": "records",
    "TrialRecord": "records",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
