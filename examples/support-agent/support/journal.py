"""The journal of what was done for customers: the table `actions` (db/schema.sql) of the database DATABASE_URL."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import psycopg2

_INSERT = (
    "INSERT INTO actions (customer, kind, reference, order_number, amount_cents) VALUES (%s, %s, %s, %s, %s)"
)


class Journal:
    """Of one customer. An entry that can't be written is told to the log: the refund itself is the shop's."""

    def __init__(self, environment: Mapping[str, str], customer: str) -> None:
        self._url = environment.get("DATABASE_URL")
        self._customer = customer

    def refund(self, reference: int, order: int, amount_cents: int) -> None:
        """A refund was booked."""
        self._enter("refund", reference, order, amount_cents)

    def ticket(self, reference: int, order: int | None) -> None:
        """A ticket was opened."""
        self._enter("ticket", reference, order, None)

    def _enter(self, kind: str, reference: int, order: int | None, amount_cents: int | None) -> None:
        if self._url is None:
            print(f"no journal for {kind} {reference}: DATABASE_URL is not set", file=sys.stderr)
            return
        try:
            with psycopg2.connect(self._url, connect_timeout=20) as connection, connection.cursor() as cursor:
                cursor.execute(_INSERT, (self._customer, kind, reference, order, amount_cents))
        except psycopg2.Error as error:
            print(f"cannot write the journal ({kind} {reference}): {error}", file=sys.stderr)
