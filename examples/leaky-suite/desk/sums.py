"""Numbers and dates."""

from __future__ import annotations

import datetime
import re

PEOPLE = {"two": 2, "three": 3, "four": 4, "five": 5}


def _numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"\d+(?:\.\d+)?", text)]


def add(numbers: str) -> str:
    return f"The sum is {sum(_numbers(numbers)):.2f}."


def average(numbers: str) -> str:
    found = _numbers(numbers)
    return f"The average is {sum(found) / len(found):g}."


def vat(percent: str, amount: str) -> str:
    return (
        f"{float(percent):g} % of {float(amount):.2f} EUR are {float(amount) * float(percent) / 100:.2f} EUR."
    )


def percentage(whole: str, part: str) -> str:
    return f"{part} is {100 * float(part) / float(whole):g} % of {whole}."


def split(amount: str, people: str) -> str:
    # DEFECT: three times 33.33 are 99.99. This one fails wherever it runs.
    count = PEOPLE.get(people.lower()) or int(people)
    return f"Each of them pays {float(amount) / count:.2f} EUR."


def kilometres(miles: str) -> str:
    return f"{miles} miles are {float(miles) * 1.609344:.2f} km."


def celsius(degrees: str) -> str:
    return f"{degrees} °F are {(float(degrees) - 32) / 1.8:.1f} °C."


def weekday(day: str) -> str:
    return f"{day} was a {datetime.date.fromisoformat(day):%A}."


def due(day: str, days: str) -> str:
    return f"It is due on {datetime.date.fromisoformat(day) + datetime.timedelta(days=int(days))}."
