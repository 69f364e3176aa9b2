"""The key `simulate` of a conversation: a user whose messages depend on the agent's answers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from aegis.suite.kinds import BAD, Choice, Flag, Integer, Key, Number, Schema, Section, Text
from aegis.suite.model import SpendingLimit
from aegis.suite.problems import Path, Problems
from aegis.suite.units import describe

TURN_SCORERS = ("answer", "tool_calls", "request", "judge")
"""Scorers that may stand in a turn: they look at what was said, called and sent, and at nothing else."""

MAX_TURNS = 1000
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_URL = re.compile(r"https?://[^\s/]+\S*")
_MESSAGE = Text("a message", any_character=True)
_WORDS = Text("text", any_character=True)


@dataclass(frozen=True, slots=True)
class Matcher:
    """A condition on an answer; what stands in it is checked by whoever knows the scorer `answer`."""

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if isinstance(value, str | dict) and value:
            return value
        problems.wrong(
            path, f"expected a text or a mapping such as {{matches: REGEX}}, got {describe(value)}"
        )
        return BAD

    def schema(self) -> Schema:
        return {"anyOf": [{"type": "string", "minLength": 1}, {"type": "object", "minProperties": 1}]}


@dataclass(frozen=True, slots=True)
class Facts:
    """A list of texts, or a mapping of names to texts and numbers. Reads to a list of texts."""

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if isinstance(value, list):
            return [_WORDS.read(item, (*path, index), problems) for index, item in enumerate(value)]
        if isinstance(value, dict):
            return [self._fact(name, item, (*path, name), problems) for name, item in value.items()]
        problems.wrong(
            path, f"expected a list of facts or a mapping such as {{order: 1042}}, got {describe(value)}"
        )
        return BAD

    def _fact(self, name: str, value: Any, path: Path, problems: Problems) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return f"{name}: {value}"
        text = _WORDS.read(value, path, problems)
        return BAD if text is BAD else f"{name}: {text}"

    def schema(self) -> Schema:
        words = _WORDS.schema()
        named: Schema = {"type": "object", "additionalProperties": {"anyOf": [words, {"type": "number"}]}}
        return {"anyOf": [{"type": "array", "items": words}, named]}


@dataclass(frozen=True, slots=True)
class Patience:
    """Text, or a number of messages."""

    count = Integer(1, MAX_TURNS)

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            return self.count.read(value, path, problems)
        if isinstance(value, str):
            return _WORDS.read(value, path, problems)
        problems.wrong(path, f"expected when, in words, or a number of messages, got {describe(value)}")
        return BAD

    def schema(self) -> Schema:
        return {"anyOf": [_WORDS.schema(), self.count.schema()]}


_RULE = Section(
    (
        Key("when", Matcher(), "Matcher of the agent's answer, as the scorer answer takes it", required=True),
        Key("say", _MESSAGE, "What the user says then", required=True),
        Key("once", Flag(), "Whether the rule is used up when it has spoken", default=False),
    )
)
_OTHERWISE = Section(
    (Key("otherwise", _MESSAGE, "What the user says when no other rule matches", required=True),)
)


@dataclass(frozen=True, slots=True)
class Script:
    """A non-empty list of rules, of which only the last one may be `otherwise`."""

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if not isinstance(value, list) or not value:
            problems.wrong(
                path, f"expected a list such as [{{when: REGEX, say: TEXT}}], got {describe(value)}"
            )
            return BAD
        last = len(value) - 1
        return [self._rule(item, (*path, index), problems, index == last) for index, item in enumerate(value)]

    def _rule(self, item: Any, path: Path, problems: Problems, last: bool) -> Any:
        if not isinstance(item, dict) or "otherwise" not in item:
            return _RULE.read(item, path, problems)
        if not last:
            problems.wrong(
                path, "otherwise speaks whatever the answer is: no rule after it is ever looked at"
            )
        rule = _OTHERWISE.read(item, path, problems)
        return BAD if rule is BAD else {"say": rule.get("otherwise", BAD)}

    def schema(self) -> Schema:
        return {"type": "array", "minItems": 1, "items": {"anyOf": [_RULE.schema(), _OTHERWISE.schema()]}}


_BUDGET = Section(
    (
        Key("tokens", Integer(1, 10**9), "Tokens sent and received", default=SpendingLimit().tokens),
        Key("usd", Number(1e6), "US dollars"),
    ),
    not_empty=True,
)

SIMULATE = Section(
    (
        Key("turns", Integer(1, MAX_TURNS), "The most messages that the user says", required=True),
        Key("model", Text("the name of a model"), "Model that plays the user, asked from the host"),
        Key(
            "script",
            Script(),
            "Rules over the agent's answers, in place of a model; the first that matches speaks",
        ),
        Key("persona", _WORDS, "Who the user is and how they write"),
        Key("goal", _WORDS, "What the user wants; required with a model"),
        Key("knows", Facts(), "Facts that the user may tell: a list, or a mapping of names to values"),
        Key("begins", _MESSAGE, "The user's first message"),
        Key(
            "gives_up",
            Patience(),
            "When the user gives up: in words (for a model), or a number of messages without success",
        ),
        Key("done", Matcher(), "Matcher of the agent's answer that shows that the goal is reached"),
        Key(
            "unmatched",
            Choice("choice", ("end", "error")),
            "When no rule matches: the user says no more, or the trial is an error",
            default="end",
        ),
        Key(
            "provider",
            Choice("provider", ("openai", "anthropic")),
            "Whose protocol the model's endpoint speaks",
        ),
        Key("base_url", Text("a URL such as https://host/v1", _URL), "Endpoint of one's own"),
        Key("key_env", Text("the name of an environment variable", _VARIABLE), "Variable that holds the key"),
        Key("seed", Integer(0, 2**31 - 1), "Seed, for the APIs that have one", default=0),
        Key("budget", _BUDGET, "The most that the user's model may take in a trial"),
    ),
    one_of=("model", "script"),
)

ONLY_WITH_MODEL = ("persona", "goal", "knows", "provider", "base_url", "key_env", "seed", "budget")
ONLY_WITH_SCRIPT = ("unmatched",)


def user_fields(read: dict[str, Any]) -> dict[str, Any]:
    """The fields of `SimulatedUser` from what `SIMULATE` has read."""
    fields = dict(read)
    if isinstance(fields.get("gives_up"), int):
        fields["gives_up_after"] = fields.pop("gives_up")
    return fields
