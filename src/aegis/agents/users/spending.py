"""What a simulated user's model takes, and the end of its budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aegis.agents.base import UserFault
from aegis.suite.model import SpendingLimit

_AMOUNTS = ("input_tokens", "output_tokens", "usd")


class Spending:
    """The account of one simulated user in one trial.

    Against the budget a kept message counts as much as when it was asked for, so that a repeated trial ends where the
    first one did; the cost has only what was paid now."""

    def __init__(self, budget: SpendingLimit) -> None:
        self._budget = budget
        self._tokens = 0
        self._usd: float | None = 0.0
        self._paid: list[Mapping[str, Any]] = []
        self._kept = 0

    def check(self) -> None:
        """Before anything is asked. Raises `UserFault` when nothing is left."""
        if self._tokens >= self._budget.tokens:
            raise UserFault(f"its budget of {self._budget.tokens:,} tokens is used up ({self._tokens:,})")
        if self._budget.usd is None:
            return
        if self._usd is None:
            raise UserFault(
                "its model told no price: a budget in usd cannot be kept (budget: {tokens: N} can)"
            )
        if self._usd >= self._budget.usd:
            raise UserFault(f"its budget of ${self._budget.usd:g} is used up (${self._usd:.6g})")

    def pay(self, took: Mapping[str, Any], size_bytes: int) -> None:
        """One question was asked. `took` holds `input_tokens`, `output_tokens`, `usd`, each None where it is unknown;
        `size_bytes` is the question and the answer."""
        self._paid.append(took)
        self._count(took, size_bytes)

    def keep(self, took: Mapping[str, Any], size_bytes: int) -> None:
        """A kept message was used, which took this much when it was asked for."""
        self._kept += 1
        self._count(took, size_bytes)

    def _count(self, took: Mapping[str, Any], size_bytes: int) -> None:
        tokens = [took.get("input_tokens"), took.get("output_tokens")]
        # A server that tells no tokens: a token has at least one byte, so this is the most that it can have been.
        self._tokens += size_bytes if None in tokens else sum(count or 0 for count in tokens)
        usd = took.get("usd")
        self._usd = None if usd is None or self._usd is None else self._usd + usd

    @staticmethod
    def total(accounts: Sequence[Spending]) -> dict[str, Any]:
        paid = [took for account in accounts for took in account._paid]
        amounts: dict[str, Any] = {}
        for name in _AMOUNTS:
            values = [took.get(name) for took in paid]
            amounts[name] = None if None in values else sum(value or 0 for value in values)
        return {"model_calls": len(paid), "cached": sum(account._kept for account in accounts), **amounts}
