"""Talk that has nothing to do with any case: material for long conversations and long messages.

One domain a file, with `asks` (a question or remark that a short answer closes, from general knowledge) and `tells`
(a statement that asks for nothing). Nothing here needs a tool, depends on the day, or changes anything. By a test, no
line holds a digit, a number word, or a capital letter but at its beginning and in `I`: so no name, number or id of a
case can stand in it. Words are kept away from cases line by line (`lines.py`).

`{a|b|c}` stands for one of its words.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import cache

NAMES = ("garden", "kitchen", "music", "birds", "knitting", "walks", "pottery", "stars")


@dataclass(frozen=True, slots=True)
class Domain:
    asks: tuple[str, ...]
    tells: tuple[str, ...]


@cache
def domain(name: str) -> Domain:
    module = importlib.import_module(f"aegis.stress.talk.{name}")
    found: Domain = module.domain
    return found
