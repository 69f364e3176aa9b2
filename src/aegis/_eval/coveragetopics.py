"""What production has and suites often lack, and how a case shows that it has it. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aegis.engine.spec import BASELINE
from aegis.faults import doc, registry
from aegis.faults.base import GROUPS
from aegis.stress.turncount import turns_of
from aegis.suite.model import Case, Expectation

TURNS = 40
"""From so many turns on a conversation is long."""
RESULT_TOKENS = 8_000
"""From so many tokens on a result of a tool is large."""
NEARLY = 0.9
"""What was grown to about a size, and what an estimate measures, may be this share of it."""
TRIALS = 3
RESULTS = "tool-results"
HUGE_CHARS = 100_000


@dataclass(frozen=True, slots=True)
class View:
    """A case as written, or a variant of one."""

    case: Case
    variant: str = BASELINE


@dataclass(frozen=True, slots=True)
class Topic:
    id: str
    title: str
    shows: Callable[[View], str | None]
    """How this case or variant has it, in a few words; None when it does not."""
    fix: str
    """What an author could add."""
    below: Callable[[Sequence[Case]], str] = lambda cases: ""
    """What there is instead when no case has it."""
    group: str = ""
    """Of faults."""


def shown(topic: Topic, view: View) -> str | None:
    """How the case or variant has it; a case that is tagged with the topic's id has it by its author's word."""
    words = topic.shows(view)
    if words is None and view.variant == BASELINE and topic.id in view.case.tags:
        return f"tag {topic.id}"
    return words


def _is_long(view: View) -> str | None:
    turns = turns_of(view.case.turns)
    return f"{turns} turns" if turns >= TURNS else None


def _longest(cases: Sequence[Case]) -> str:
    found = max(cases, key=lambda case: turns_of(case.turns), default=None)
    if found is None:
        return ""
    turns = turns_of(found.turns)
    return f"the longest has {turns} turn{'' if turns == 1 else 's'} ({found.id})"


def _grows_results(view: View) -> str | None:
    for rule in view.case.rewrites:
        tokens = rule.params.get("tokens")
        if rule.inject == "rewrite/grow" and isinstance(tokens, int) and tokens >= RESULT_TOKENS:
            return f"grown to about {tokens:,} tokens"
    return None


def _conflicts(view: View) -> str | None:
    return "user against system" if view.variant == "conflicting-instructions.conflict" else None


def _is_malformed(view: View) -> str | None:
    transform, _, level = view.variant.partition(".")
    if transform in ("malformed-input", "empty-and-huge"):
        return level
    if view.variant != BASELINE:
        return None
    return next(
        (why for turn in view.case.turns if turn.simulate is None and (why := _oddity(turn.user))), None
    )


_MOJIBAKE = re.compile("[ÃÂ][\u0080-\u00bf\u2018-\u203a€™œ]|â€|ï¿½|\ufffd")
_MARKUP = re.compile(r"</(p|div|span|li|td|b|html)>", re.I)


def _oddity(text: str) -> str | None:
    """What a keyboard and good will would not have made."""
    if not text.strip():
        return "a blank message"
    if len(text) >= HUGE_CHARS:
        return "a huge message"
    if _MOJIBAKE.search(text):
        return "mojibake"
    if any(unicodedata.category(char) in ("Cc", "Cf", "Cs") and char not in "\t\n\r\u200d" for char in text):
        return "invisible characters"
    return "pasted HTML" if _MARKUP.search(text) else None


def _has_faults(group: str) -> Callable[[View], str | None]:
    def shows(view: View) -> str | None:
        names = (rule.inject for rule in view.case.faults)
        return next((name for name in names if registry.get(name).group == group), None)

    return shows


def _refuses(view: View) -> str | None:
    for entry in _expectations(view.case):
        if entry.scorer == "request" and _most(entry.config) == 0:
            return "a request that must not be made"
        if entry.scorer != "tool_calls" or not isinstance(entry.config, Mapping):
            continue
        if entry.config.get("exclude") or "exact" in entry.config:
            return "tools that must not be called"
    return None


def _denies(view: View) -> str | None:
    if (refused := _refuses(view)) is not None:
        return refused
    for entry in _expectations(view.case):
        if (
            entry.scorer == "file"
            and isinstance(entry.config, Mapping)
            and entry.config.get("exists") is False
        ):
            return "a file that must not be there"
        if entry.scorer == "sql" and (entry.config.get("rows") == 0 or entry.config.get("equals") == []):
            return "rows that must not be there"
        if entry.scorer in ("answer", "file", "command") and _holds(entry.config, "not"):
            return "a text that must not be there"
    return None


def _most(config: Any) -> int | None:
    """The upper bound of a `request`'s count."""
    if not isinstance(config, Mapping) or config.get("count") is None:
        return None
    count = config["count"]
    most = count.get("max") if isinstance(count, Mapping) else count
    return most if isinstance(most, int) else None


def _holds(config: Any, key: str) -> bool:
    """Whether a matcher has this key, at any depth; texts and expected JSON are not looked into."""
    if isinstance(config, list):
        return any(_holds(item, key) for item in config)
    if not isinstance(config, Mapping):
        return False
    return key in config or any(
        _holds(config[name], key) for name in ("any", "all", "stdout") if name in config
    )


def _expectations(case: Case) -> Iterator[Expectation]:
    yield from case.expect
    for turn in case.turns:
        yield from turn.expect


def _fault_topic(group: str) -> Topic:
    title, _, words = doc.GROUP_TITLES[group].partition(": ")
    return Topic(
        f"faults-{group}",
        f"{title.lower()} faults: {words}",
        _has_faults(group),
        f"a fault of this group in faults: of the suite or a case ({_names(group)})",
        group=group,
    )


def _names(group: str) -> str:
    found = [name for name in registry.names() if registry.get(name).group == group]
    return ", ".join([*found[:3], "…"] if len(found) > 3 else found)


TOPICS = (
    Topic(
        "turns",
        f"a conversation of {TURNS} turns or more",
        _is_long,
        "a long conversation, or stress: [deep-conversation]",
        _longest,
    ),
    Topic(
        RESULTS,
        f"a tool result of {RESULT_TOKENS:,} tokens or more",
        _grows_results,
        "a case whose tool returns that much, or stress: [bloated-tools]",
    ),
    Topic(
        "instruction-conflict",
        "a user against the operator's instructions",
        _conflicts,
        "stress: [conflicting-instructions], or a case of your own with the tag instruction-conflict",
    ),
    Topic(
        "malformed-input",
        "malformed input",
        _is_malformed,
        "stress: [malformed-input], or a case of your own with the tag malformed-input",
    ),
    *(_fault_topic(group) for group in GROUPS),
    Topic(
        "permissions",
        "permissions: what must not be done is not",
        _refuses,
        "a case that must be refused, with request: {…, count: 0} or tool_calls: {exclude: […]}",
    ),
    Topic(
        "negative",
        "expectations of what must not be",
        _denies,
        "an expectation such as answer: {not: {contains: …}} or file: {path: …, exists: false}",
    ),
)
