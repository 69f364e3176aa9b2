"""From a message to a tool: rules in the place of a model, so that the same message always gets the same answer."""

from __future__ import annotations

import re
from collections.abc import Callable

from desk import books, letters, notes, rates, search, settings, sums, texts
from desk.errors import ToolError

Tool = Callable[..., str]

RULES: tuple[tuple[str, Tool], ...] = (
    (r"my name is (?P<name>[A-Z]\w+(?: [A-Z]\w+)*)", settings.remember_name),
    (r"start a note called (?P<name>[\w-]+): (?P<text>.+)", notes.start),
    (r"add '(?P<text>[^']+)' to my note (?P<name>[\w-]+)", notes.append),
    (r"checklist called (?P<name>[\w-]+) of (?P<items>.+)", notes.checklist),
    (r"read in the exchange rates in (?P<path>[\w./-]+\.csv)", rates.load),
    (r"how much is (?P<amount>[\d.]+) (?P<currency>[A-Z]{3}) in EUR", rates.convert),
    (r"make my documents searchable", search.start),
    (r"which document mentions (?:a |the )?(?P<word>\w+)", search.find),
    (r"start the project (?P<name>\w+)", books.start_project),
    (r"book (?P<hours>[\d.]+) hours on (?P<name>\w+)", books.book_hours),
    (r"write an invoice to (?P<customer>.+?) for (?P<amount>[\d.]+) EUR", books.invoice),
    (r"write a letter to (?P<to>[^:]+): (?P<text>.+)", letters.letter),
    (r"draft a mail to (?P<to>\S+@[\w.-]+\w): (?P<text>.+)", letters.mail),
    (r"split (?P<amount>[\d.]+) EUR between (?P<people>\w+) people", sums.split),
    (r"add (?P<numbers>[\d., and]+\d)", sums.add),
    (r"average of (?P<numbers>[\d., and]+\d)", sums.average),
    (r"(?P<percent>[\d.]+) % VAT on (?P<amount>[\d.]+) EUR", sums.vat),
    (r"what percentage of (?P<whole>[\d.]+) is (?P<part>[\d.]+)", sums.percentage),
    (r"kilometres are (?P<miles>[\d.]+) miles", sums.kilometres),
    (r"(?P<degrees>-?[\d.]+) degrees fahrenheit", sums.celsius),
    (r"day of the week was (?P<day>\d{4}-\d\d-\d\d)", sums.weekday),
    (r"invoice of (?P<day>\d{4}-\d\d-\d\d) due at (?P<days>\d+) days", sums.due),
    (r"how many words are in (?P<path>[\w./-]+\w)", texts.words),
    (r"how many lines are in (?P<path>[\w./-]+\w)", texts.lines),
    (r"longest line of (?P<path>[\w./-]+\w)", texts.longest),
    (r"title in (?P<path>[\w./-]+\w) in capitals", texts.capitals),
    (r"sort the names in (?P<path>[\w./-]+\w)", texts.sort),
    (r"file name of '(?P<title>[^']+)'", texts.file_name),
    (r"amounts in (?P<path>[\w./-]+\.csv) add up to", texts.total),
    (r"row of (?P<path>[\w./-]+\.csv) is the largest", texts.largest),
)


def answer(message: str) -> str:
    """What the assistant says; it has done it by then."""
    for pattern, tool in RULES:
        found = re.search(pattern, message, re.IGNORECASE)
        if found:
            try:
                return tool(**found.groupdict())
            except ToolError as error:
                return f"Sorry, I couldn't do that: {error}."
    return "Sorry, I can't help with that."
