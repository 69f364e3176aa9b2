"""Text files and tables that the user has put into the folder."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from desk.errors import ToolError


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ToolError(f"there is no {path}") from None


def words(path: str) -> str:
    return f"{path} has {len(_read(path).split())} words."


def lines(path: str) -> str:
    return f"{path} has {len(_read(path).splitlines())} lines."


def longest(path: str) -> str:
    return f"The longest line is: {max(_read(path).splitlines(), key=len)}"


def capitals(path: str) -> str:
    return _read(path).strip().upper()


def sort(path: str) -> str:
    return ", ".join(sorted(_read(path).split()))


def slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def file_name(title: str) -> str:
    return f"{slug(title)}.txt"


def _rows(path: str) -> list[dict[str, str]]:
    return list(csv.DictReader(_read(path).splitlines()))


def total(path: str) -> str:
    return f"They add up to {sum(float(row['amount']) for row in _rows(path)):.2f}."


def largest(path: str) -> str:
    row = max(_rows(path), key=lambda row: float(row["amount"]))
    return f"The largest is {row['name']} with {float(row['amount']):.2f}."
