"""The shop's data: orders, refunds and tickets in SQLite, and the folder from which mail is sent."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

_ORDER = """
select o.number, o.customer, o.item, o.price_cents, o.status, o.ordered_on, o.delivered_on, o.note,
       coalesce((select sum(r.amount_cents) from refunds r where r."order" = o.number), 0) as refunded_cents
from orders o
"""


@dataclass(frozen=True, slots=True)
class Order:
    number: int
    customer: str
    item: str
    price_cents: int
    status: str
    ordered_on: date
    delivered_on: date | None
    note: str
    refunded_cents: int


class Shop:
    """Opened once per conversation. Raises `sqlite3.Error` when the database is missing or broken."""

    def __init__(self, database: Path, *, outbox: Path) -> None:
        # mode=rw: a missing database is an error, not a new empty one.
        self._connection = sqlite3.connect(f"file:{database}?mode=rw", uri=True)
        self._connection.row_factory = sqlite3.Row
        self._outbox = outbox

    def order(self, number: int) -> Order | None:
        row = self._connection.execute(_ORDER + "where o.number = ?", (number,)).fetchone()
        return None if row is None else _order(row)

    def orders_of(self, customer: str, limit: int) -> list[Order]:
        """The customer's orders, newest first."""
        query = _ORDER + "where o.customer = ? order by o.ordered_on desc, o.number desc limit ?"
        return [_order(row) for row in self._connection.execute(query, (customer, limit))]

    def refund(self, order: Order, amount_cents: int, today: date) -> int:
        """Book a refund, send the customer the note, and return the refund's number."""
        with self._transaction() as cursor:
            cursor.execute(
                'insert into refunds ("order", amount_cents, issued_on) values (?, ?, ?)',
                (order.number, amount_cents, today.isoformat()),
            )
            refund = _new_row(cursor)
            self._post(
                {"kind": "refund", "refund": refund, "order": order.number, "amount_cents": amount_cents}
            )
        return refund

    def open_ticket(self, order: int | None, summary: str) -> int:
        """Hand the matter to a person and return the ticket's number."""
        with self._transaction() as cursor:
            cursor.execute('insert into tickets ("order", summary) values (?, ?)', (order, summary))
            ticket = _new_row(cursor)
            self._post({"kind": "ticket", "ticket": ticket, "order": order, "summary": summary})
        return ticket

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Cursor]:
        with self._connection:
            yield self._connection.cursor()

    def _post(self, message: Mapping[str, Any]) -> None:
        self._outbox.mkdir(exist_ok=True)
        number = 1 + sum(1 for _ in self._outbox.glob("*.json"))
        text = json.dumps(message, ensure_ascii=False, indent=2)
        (self._outbox / f"{number}.json").write_text(text + "\n", encoding="utf-8")


def _new_row(cursor: sqlite3.Cursor) -> int:
    if cursor.lastrowid is None:
        raise sqlite3.DatabaseError("the insert made no row")
    return cursor.lastrowid


def _order(row: sqlite3.Row) -> Order:
    delivered = row["delivered_on"]
    return Order(
        number=row["number"],
        customer=row["customer"],
        item=row["item"],
        price_cents=row["price_cents"],
        status=row["status"],
        ordered_on=date.fromisoformat(row["ordered_on"]),
        delivered_on=None if delivered is None else date.fromisoformat(delivered),
        note=row["note"],
        refunded_cents=row["refunded_cents"],
    )
