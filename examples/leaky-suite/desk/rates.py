"""Exchange rates: read from a table once, then kept in `~/.cache/desk/rates.json`."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from desk.errors import ToolError


def _cache() -> Path:
    return Path.home() / ".cache" / "desk" / "rates.json"


def load(path: str) -> str:
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rates = {row["currency"]: float(row["per_euro"]) for row in csv.DictReader(file)}
    except FileNotFoundError:
        raise ToolError(f"there is no {path}") from None
    _cache().parent.mkdir(parents=True, exist_ok=True)
    _cache().write_text(json.dumps(rates), encoding="utf-8")
    return f"I know {len(rates)} exchange rates now."


def convert(amount: str, currency: str) -> str:
    # DEFECT: it looks into the cache only, also when `rates.csv` lies right here.
    try:
        rates = json.loads(_cache().read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ToolError("I know no exchange rates") from None
    if currency not in rates:
        raise ToolError(f"I know no rate for {currency}")
    return f"{float(amount):.2f} {currency} are {float(amount) / rates[currency]:.2f} EUR."
