"""Projects, hours and invoices: `desk.db`, and a text file for each invoice."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from desk.errors import ToolError

DATABASE = "desk.db"
INVOICES = Path("invoices")


def _open() -> sqlite3.Connection:
    return sqlite3.connect(DATABASE)


def start_project(name: str) -> str:
    with closing(_open()) as books, books:
        books.execute("create table if not exists projects (name text primary key)")
        books.execute("create table if not exists hours (project text, hours real)")
        books.execute("insert or ignore into projects values (?)", (name,))
    return f"The project {name} has begun."


def book_hours(name: str, hours: str) -> str:
    # DEFECT: the table is there only when a project was ever started on this computer.
    try:
        with closing(_open()) as books, books:
            books.execute("insert into hours values (?, ?)", (name, float(hours)))
    except sqlite3.OperationalError as error:
        raise ToolError(str(error)) from None
    return f"Booked: {float(hours):g} hours on {name}."


def invoice(customer: str, amount: str) -> str:
    with closing(_open()) as books, books:
        books.execute(
            "create table if not exists invoices (number integer primary key, customer text, amount real)"
        )
        row = books.execute(
            "insert into invoices (customer, amount) values (?, ?)", (customer, float(amount))
        )
        number = row.lastrowid
    INVOICES.mkdir(exist_ok=True)
    text = f"Invoice {number:04}\n\nTo: {customer}\nAmount: {float(amount):.2f} EUR\n"
    (INVOICES / f"{number:04}.txt").write_text(text, encoding="utf-8")
    return f"Invoice {number:04} to {customer} over {float(amount):.2f} EUR is written."
