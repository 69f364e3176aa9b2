"""One case of two runs, before and now: in two columns where there is room for them, else one below the other. Pure.

Everything in it is an agent's or a suite's, and made safe here.
"""

from __future__ import annotations

import difflib
import itertools
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from aegis.report import comparison as words
from aegis.report.comparison import Line
from aegis.report.money import money
from aegis.report.text import columns, counted, one_line

Document = Mapping[str, Any]

SIDE_BY_SIDE = 80
"""Columns of a terminal from which there are two."""
_BETWEEN = " │ "
MAX_ROWS = 40
"""Of one sequence or one answer."""
MAX_CHARS = 4_000
"""Of one answer."""
_TITLES = {"tools": "tools", "hosts": "hosts", "writes": "writes", "answer": "answer"}

Pair = tuple[str, str, bool]
"""Before, now, and whether they differ."""


def case_lines(detail: Document, width: int) -> Iterator[Line]:
    """A comparison document's `case`, for a terminal of `width` columns."""
    page = _Page(width)
    yield "", ""
    yield f"case {one_line(words.label(detail))}", "bold"
    result = detail["result"]
    if result is not None:
        yield f"{result['status']}: {one_line(result['text'])}", _STATUS[result["status"]]
        if result["gap"] is not None:
            yield f"not judged: {one_line(result['gap']['why'])}", "yellow"
    else:
        yield _apart(detail), "yellow"
    yield from page.rows([("before", "now", False)], "dim")
    before, now = _rate(detail["before"]), _rate(detail["now"])
    yield from page.rows([(before, now, before != now)])
    if not any(detail["observed"].values()):
        yield "nothing is known of what the agent did: only its results were kept", "dim"
    yield from _aspects(detail, page)
    yield from _amounts(detail["amounts"], page)
    yield from _rules(detail["rules"], page)
    drift = [item for item in detail["drift"] if item["grade"] != "untested"]
    if drift:
        yield "drift", "bold"
        yield from ((f"  {one_line(words.finding_text(item))}", "") for item in drift)
    yield from _look(detail)


_SIDES = ("before", "now")
_STATUS = {"regressed": "bold red", "improved": "green", "suspect": "yellow"} | dict.fromkeys(
    ("steady", "cleared"), ""
)


class _Page:
    def __init__(self, width: int) -> None:
        self.two = width >= SIDE_BY_SIDE
        self._width = (width - len(_BETWEEN)) // 2 if self.two else width - 2

    def rows(self, pairs: Sequence[Pair], style: str = "") -> Iterator[Line]:
        """Each in its column, folded where it is too long; or, without room for two, the old lines and then the new
        ones, what is the same on both sides once and in its place."""
        if self.two:
            for before, now, differs in pairs:
                left, right = _fold(before, self._width), _fold(now, self._width)
                for index in range(max(len(left), len(right))):
                    one, other = (part[index] if index < len(part) else "" for part in (left, right))
                    padding = " " * (self._width - columns(one))
                    yield f"{one}{padding}{_BETWEEN}{other}".rstrip(), style or ("yellow" if differs else "")
            return
        for same, found in itertools.groupby(pairs, lambda pair: pair[0] == pair[1]):
            group = list(found)
            if same:
                yield from ((f"  {part}", style) for pair in group for part in _fold(pair[0], self._width))
                continue
            for mark, side in (("-", 0), ("+", 1)):
                for text, differs in ((str(pair[side]), pair[2]) for pair in group):
                    # In a sequence they have their marks already.
                    told = text if text.startswith(f"{mark} ") else f"{mark} {text}"
                    for part in _fold(told, self._width + 2) if text else ():
                        yield part, style or ("yellow" if differs else "")


def _aspects(detail: Document, page: _Page) -> Iterator[Line]:
    alike = 0
    for aspect in detail["aspects"]:
        kind = aspect["aspect"]
        if kind == "arguments" and _shares(aspect["before"]) == _shares(aspect["now"]):
            alike += 1
            continue
        if not any(value["value"] != [] for side in _SIDES for value in aspect[side]["values"]):
            continue
        yield (
            (f"argument {one_line(aspect['what'])}" if kind == "arguments" else _TITLES.get(kind, kind)),
            "bold",
        )
        yield from page.rows(_PAIRS.get(kind, _distribution)(aspect))
    if alike:
        yield f"{counted(alike, 'further argument')} with the same values as before", "dim"


def _shares(side: Document) -> dict[tuple[str, ...], float]:
    return {tuple(value["value"]): value["trials"] / side["trials"] for value in side["values"]}


def _sequence(aspect: Document) -> list[Pair]:
    """What most trials did, laid beside each other."""
    before, now = (_first(aspect[side]) for side in _SIDES)
    pairs: list[Pair] = [(_often(aspect["before"]), _often(aspect["now"]), False)]
    matcher = difflib.SequenceMatcher(None, before, now, autojunk=False)
    for how, old_start, old_end, new_start, new_end in matcher.get_opcodes():
        old, new = before[old_start:old_end], now[new_start:new_end]
        for index in range(max(len(old), len(new))):
            left, right = (one_line(part[index]) if index < len(part) else "" for part in (old, new))
            if how == "equal":
                pairs.append((f"  {left}", f"  {right}", False))
            else:
                pairs.append((f"- {left}" if left else "", f"+ {right}" if right else "", True))
    return _cut(pairs)


def _distribution(aspect: Document) -> list[Pair]:
    """The values of each side, the most frequent first."""
    sides = [
        [
            (", ".join(map(one_line, value["value"])) or "none", value["trials"])
            for value in aspect[side]["values"]
        ]
        for side in _SIDES
    ]
    known = [{text for text, _ in side} for side in sides]
    shown = []
    for side, name in zip(sides, _SIDES, strict=True):
        total, others = aspect[name]["trials"], aspect[name]["others"]
        lines = [f"{text} ({n} of {total})" for text, n in side]
        shown.append([*lines, f"… and {counted(others, 'other value')}"] if others else lines)
    longest = max(map(len, shown))
    old, new = (part + [""] * (longest - len(part)) for part in shown)
    return _cut([(left, right, known[0] != known[1]) for left, right in zip(old, new, strict=True)])


def _counts(aspect: Document) -> list[Pair]:
    """Of sets and lists: in how many trials each name is, as far as the listed values tell."""
    sides = []
    for side in _SIDES:
        found: dict[str, int] = {}
        for value in aspect[side]["values"]:
            for name in dict.fromkeys(value["value"]):
                found[name] = found.get(name, 0) + value["trials"]
        sides.append(found)
    names = dict.fromkeys([*sides[0], *sides[1]])
    pairs = []
    for name in names:
        cells = [
            f"{one_line(name)} ({found[name]} of {aspect[side]['trials']})" if name in found else ""
            for found, side in zip(sides, _SIDES, strict=True)
        ]
        pairs.append((cells[0], cells[1], (name in sides[0]) != (name in sides[1])))
    return _cut(pairs)


def _answer(aspect: Document) -> list[Pair]:
    """The most frequent answer of each side, with the words that are gone and those that are new marked."""
    before, now = (" ".join(_first(aspect[side]))[:MAX_CHARS].split() for side in _SIDES)
    matcher = difflib.SequenceMatcher(
        None, [w.casefold() for w in before], [w.casefold() for w in now], autojunk=False
    )
    old: list[str] = []
    new: list[str] = []
    for how, old_start, old_end, new_start, new_end in matcher.get_opcodes():
        gone, come = " ".join(before[old_start:old_end]), " ".join(now[new_start:new_end])
        old.append(gone if how == "equal" or not gone else f"[-{gone}-]")
        new.append(come if how == "equal" or not come else f"{{+{come}+}}")
    texts = [one_line(" ".join(part)) for part in (old, new)]
    differs = [w.casefold() for w in before] != [w.casefold() for w in now]
    return [(_often(aspect["before"]), _often(aspect["now"]), False), (texts[0], texts[1], differs)]


_PAIRS: Mapping[str, Callable[[Document], list[Pair]]] = {
    "tools": _sequence,
    "writes": _sequence,
    "hosts": _counts,
    "answer": _answer,
}


def _first(side: Document) -> list[str]:
    return list(side["values"][0]["value"]) if side["values"] else []


def _often(side: Document) -> str:
    """`18 of 20 trials; 2 others`: how usual the value is that is shown."""
    if not side["values"]:
        return "not known"
    kinds = len(side["values"]) - 1 + side["others"]
    more = f"; {counted(kinds, 'other way')} in the rest" if kinds else ""
    return f"({side['values'][0]['trials']} of {counted(side['trials'], 'trial')}{more})"


def _amounts(amounts: Sequence[Document], page: _Page) -> Iterator[Line]:
    for item in amounts:
        before, now = item["before"], item["now"]
        ratio = f" (× {now / before:.2f})" if before and now is not None else ""
        cells = [_amount(item["aspect"], value) for value in (before, now)]
        yield item["aspect"], "bold"
        yield from page.rows(
            [(cells[0], f"{cells[1]}{ratio}", bool(before and now and abs(now / before - 1) > 0.1))]
        )


def _amount(aspect: str, value: float | None) -> str:
    if value is None:
        return "not measured"
    if aspect == "cost":
        return f"{money(value)} a trial"
    return f"{value:,.0f} tokens a trial" if aspect == "tokens" else f"{value:.2f} s a trial"


def _rules(rules: Sequence[Document], page: _Page) -> Iterator[Line]:
    if rules:
        yield "rules", "bold"
        pairs = []
        for item in rules:
            broken = [item[side]["judged"] - item[side]["kept"] for side in _SIDES]
            cells = [f"{one_line(item['name'])}: {_kept(item[side])}" for side in _SIDES]
            pairs.append((cells[0], cells[1], bool(broken[1]) != bool(broken[0])))
        yield from page.rows(pairs)


def _kept(side: Document) -> str:
    return f"kept in {side['kept']} of {side['judged']}" if side["judged"] else "nothing to judge"


def _rate(tally: Document | None) -> str:
    if tally is None:
        return "not in this run"
    lost = f", {counted(tally['lost'], 'trial')} not judged" if tally["lost"] else ""
    return f"passed {tally['passed']} of {tally['judged']}{lost}"


def _apart(detail: Document) -> str:
    if detail["before"] is None:
        return "new: the baseline does not have it"
    if detail["now"] is None:
        return "removed: only the baseline has it"
    return "changed: its content is another one than before, so its results are not compared"


def _look(detail: Document) -> Iterator[Line]:
    variant = "" if detail["variant"] == "baseline" else f" --variant {shlex.quote(detail['variant'])}"
    if detail["look"]:
        yield "look at", "bold"
    for item in detail["look"]:
        trial = shlex.quote(f"{item['run_id']}/{detail['case']}/{item['number']}")
        told = f"{item['side']}, {item['outcome']}"
        yield f"  {one_line(f'aegis trace show {trial}{variant}')}   ({told})", ""


def _cut(pairs: list[Pair]) -> list[Pair]:
    if len(pairs) <= MAX_ROWS:
        return pairs
    more = f"… and {len(pairs) - MAX_ROWS + 1} more rows (--json PATH)"
    return [*pairs[: MAX_ROWS - 1], (more, more, False)]


def _fold(text: str, width: int) -> list[str]:
    """The text in lines of at most `width` columns, at its spaces where it has any; its indent goes with each line."""
    indent = text[: len(text) - len(text.lstrip())]
    lines: list[str] = []
    line = ""
    for word in text.split():
        for piece in _pieces(word, max(width - len(indent), 4)):
            longer = f"{line} {piece}" if line else f"{indent}{piece}"
            if line and columns(longer) > width:
                lines.append(line)
                longer = f"{indent}{piece}"
            line = longer
    return [*lines, line]


def _pieces(word: str, width: int) -> Iterator[str]:
    start, used = 0, 0
    for index, character in enumerate(word):
        wide = columns(character)
        if used + wide > width:
            yield word[start:index]
            start, used = index, 0
        used += wide
    yield word[start:]
