"""pass^k: the chance that k trials of a case all pass."""

from __future__ import annotations

import math


def all_pass(passed: int, trials: int, k: int) -> float | None:
    """C(passed, k) / C(trials, k), the unbiased estimate; None when there are fewer than k trials.

    S. Yao et al., "τ-bench: A Benchmark for Tool-Agent-User Interaction in Real-World Domains" (2024),
    arXiv:2406.12045.
    """
    if k < 1:
        raise ValueError(f"pass^k needs a k of at least 1, not {k}")
    return math.comb(passed, k) / math.comb(trials, k) if trials >= k else None
