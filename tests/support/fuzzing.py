"""How many examples a property is tried with."""

from __future__ import annotations

import os

SHARE = 1.0 if os.environ.get("AEGIS_TEST_EXAMPLES") == "all" else 0.2
"""The usual checks take a fifth; `scripts/test --slow` takes all."""


def examples(number: int) -> int:
    return max(10, round(SHARE * number))
