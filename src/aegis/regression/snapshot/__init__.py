"""What of a run a later one is compared with: counts and behaviour, small enough to be kept for years.

`of_run` makes it of the ledger's rows, `to_bytes` and `from_bytes` are its form on disk, `pool_behaviours` adds up
those of several runs.
"""

from aegis.regression.snapshot.decode import from_bytes
from aegis.regression.snapshot.encode import to_bytes
from aegis.regression.snapshot.make import behaviours_of, confirmation_of, of_run
from aegis.regression.snapshot.model import SCHEMA, Facts, Snapshot, common_chars, pool_behaviours

__all__ = [
    "SCHEMA",
    "Facts",
    "Snapshot",
    "behaviours_of",
    "common_chars",
    "confirmation_of",
    "from_bytes",
    "of_run",
    "pool_behaviours",
    "to_bytes",
]
