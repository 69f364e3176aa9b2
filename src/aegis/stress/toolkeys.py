"""What the transforms of tool results have in common: their parameters, and the ids by which a case names records."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from aegis.stress.base import RejectedError
from aegis.stress.words import said
from aegis.suite.kinds import Flag, Key, ListOf, Text
from aegis.suite.model import Case, Expectation, FaultMatch, FaultRule

HOSTS = Key(
    "hosts",
    ListOf(
        Text("a host; * stands for any characters", re.compile(r"[^\s/@:?#]{1,253}")),
        "a list of hosts",
        min_items=1,
    ),
    "Only what these hosts answer (* for any characters; an MCP server in the sandbox is NAME.mcp-stdio)",
)
PATHS = Key(
    "paths",
    ListOf(
        Text("a path that begins with / or *", re.compile(r"[/*][^\s?#]*")), "a list of paths", min_items=1
    ),
    "Only what is answered to requests for these paths (* for any characters)",
)
TOOLS = Key(
    "tools",
    ListOf(
        Text("a name; * stands for any characters", re.compile(r"[^\s]{1,200}")),
        "a list of tools",
        min_items=1,
    ),
    "Only results of these MCP tools (* for any characters)",
)
WRITES = Key(
    "writes",
    Flag(),
    "Whether answers to requests that change something are changed too: methods other than GET, tools that write",
    default=False,
)
TARGETS = Key(
    "targets",
    ListOf(Text("an id in quotes"), "a list of ids such as ['1042']", min_items=1, unique=True),
    "Ids of the records that the case is about; by default those that its user names",
)


def require_fired(default: bool) -> Key:
    return Key(
        "require_fired", Flag(), "Whether a trial in which nothing was changed is an error", default=default
    )


PLACE_KEYS = (HOSTS, PATHS, TOOLS, WRITES)

_ID = re.compile(
    r"""(?<![\w.,:/@$€£¥-])\#?(?:
        (?P<address>[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+)
      | (?P<mixed>(?=[\w-]*[A-Za-z])(?=[\w-]*\d)[A-Za-z0-9][\w-]{2,63})
      | (?P<number>\d{3,18})
    )(?![\w@]|[.,:/-]\w|\s?(?:%|€|£|\$|EUR\b|USD\b|GBP\b|euros?\b|dollars?\b|pounds?\b|days?\b|hours?\b|minutes?\b
      |weeks?\b|months?\b|years?\b|km\b|miles?\b|kg\b|characters?\b|words?\b))""",
    re.X,
)
_ORDINAL = re.compile(r"\d+(st|nd|rd|th|x|k|am|pm|h|s|ms|min|kg|g|km|m|cm|mm|gb|mb|px)", re.I)
_MANY = re.compile(
    r"""\b( how\s+many | number\s+of | total | sum | overall | altogether | list | history | overview | each | every
      | all\s+(of\s+)?(the|my|our|these|those|open|other|\w+s)\b | both | last | latest | recent | recently | newest
      | oldest | earliest | first | next | previous | most | least | cheapest | highest | lowest | biggest | largest
      | smallest | longest | shortest | average | compare | which\s+(of|one|ones) | others? )\b""",
    re.X | re.I,
)


def place(params: Mapping[str, Any]) -> FaultMatch:
    return FaultMatch(
        host=tuple(host.lower() for host in params.get("hosts", ())),
        path=tuple(params.get("paths", ())),
        tool=tuple(params.get("tools", ())),
    )


def added(case: Case, rule: FaultRule) -> Case:
    """The case with one more rewrite."""
    return case.model_copy(update={"rewrites": (*case.rewrites, rule)})


def ids_of(case: Case) -> tuple[str, ...]:
    """The ids that the case's user names: numbers of three digits or more that count nothing, codes, addresses."""
    found: dict[str, None] = {}
    for text in _told(case):
        for match in _ID.finditer(text):
            name = match.group().removeprefix("#")
            if not _ORDINAL.fullmatch(name):
                found[name] = None
    return tuple(found)


def about_many(case: Case) -> str | None:
    """A word by which the user may ask about a whole list (`how many`, `latest`), where more records would change the
    answer."""
    return next((match.group() for text in _told(case) if (match := _MANY.search(text))), None)


def _told(case: Case) -> list[str]:
    users = [turn.simulate for turn in case.turns if turn.simulate is not None]
    return [*said(case), *(text for user in users for text in (user.goal, user.begins or "", *user.knows))]


def expectations(case: Case) -> Iterator[Expectation]:
    """Of the whole case and of its turns."""
    yield from case.expect
    for turn in case.turns:
        yield from turn.expect


def budgets(case: Case, *keys: str) -> Iterator[tuple[str, Any]]:
    """The limits of these names that the case expects to be kept."""
    for entry in expectations(case):
        if entry.scorer == "budget" and isinstance(entry.config, Mapping):
            yield from ((key, entry.config[key]) for key in keys if key in entry.config)


def refuse_token_budget(case: Case, tokens: int) -> None:
    """A budget that one result takes whole was never meant for results of this size."""
    for key, limit in budgets(case, "tokens", "input_tokens"):
        if isinstance(limit, int | float) and limit < 2 * tokens:
            raise RejectedError(
                f"budget: {key} {limit:,} leaves no room for results of {tokens:,} tokens, which a model reads with "
                "every further call: raise it, or put the budget in a case of its own with stress: none"
            )
