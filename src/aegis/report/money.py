"""Amounts of money."""

from __future__ import annotations


def money(usd: float | None) -> str:
    """`$1.25`, `$0.000123`, `cost unknown`."""
    if usd is None:
        return "cost unknown"
    return f"${usd:.2f}" if usd >= 1 or usd == 0 else f"${usd:.6f}".rstrip("0")
