"""The tool conversations of the package `bfcl-eval`, and what their ground truth does to its simulated services.

Used by the agent in the sandbox, and by the suite on the host, which computes what is expected of the agent. Nothing
that comes out of a sandbox goes in here: the package runs calls with `eval`.
"""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from itertools import count
from typing import Any

from bfcl_eval.eval_checker.multi_turn_eval.multi_turn_utils import execute_multi_turn_func_call

CATEGORY = "BFCL_v4_multi_turn_long_context.json"

_numbers = count()


@dataclass(frozen=True)
class Conversation:
    """What the user says, and for each message the calls that answer it, as Python expressions."""

    id: str
    messages: tuple[str, ...]
    calls: tuple[tuple[str, ...], ...]
    entry: dict[str, Any]
    """As the package has it: which services there are, and what they hold at first."""


def conversations() -> list[Conversation]:
    """All of the category. Of two that begin with the same words the first: one could not tell which is meant."""
    data = files("bfcl_eval") / "data"
    truth = {entry["id"]: entry["ground_truth"] for entry in _lines(data / "possible_answer" / CATEGORY)}
    found: dict[str, Conversation] = {}
    for entry in _lines(data / CATEGORY):
        messages = tuple(turn[0]["content"] for turn in entry["question"])
        calls = tuple(tuple(turn) for turn in truth[entry["id"]])
        found.setdefault(messages[0], Conversation(entry["id"], messages, calls, entry))
    return list(found.values())


def _lines(file: Any) -> Iterator[dict[str, Any]]:
    for line in file.read_text(encoding="utf-8").splitlines():
        yield json.loads(line)


@dataclass(frozen=True)
class Call:
    name: str
    arguments: dict[str, Any]
    result: str


class Services:
    """The services of one conversation. They keep what calls do to them."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        # The package keeps its services in a table by this name, for as long as the process lives.
        self._name = f"copy{next(_numbers)}"
        self._instances: dict[str, Any] = {}
        self._execute([])

    def call(self, expression: str) -> Call:
        """Do what an expression such as `cd(folder='temp')` says."""
        name, arguments = self._read(expression)
        (result,) = self._execute([expression])
        return Call(name, arguments, result)

    def state(self) -> dict[str, Any]:
        """What the services hold now, as JSON values: what the package's own checker compares, and no more."""
        return {name: _plain(service) for name, service in sorted(self._instances.items())}

    def _execute(self, expressions: list[str]) -> list[str]:
        entry = self._conversation.entry
        results: list[str]
        results, self._instances = execute_multi_turn_func_call(
            expressions,
            entry["initial_config"],
            entry["involved_classes"],
            self._name,
            entry["id"],
            long_context=True,
        )
        return results

    def _read(self, expression: str) -> tuple[str, dict[str, Any]]:
        call = ast.parse(expression, mode="eval").body
        assert isinstance(call, ast.Call)
        assert isinstance(call.func, ast.Name)
        values = [ast.literal_eval(value) for value in call.args]
        named = {word.arg: ast.literal_eval(word.value) for word in call.keywords if word.arg is not None}
        services = [service for service in self._instances.values() if hasattr(service, call.func.id)]
        bound = inspect.signature(getattr(services[0], call.func.id)).bind(*values, **named)
        return call.func.id, dict(bound.arguments)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(map(_plain, value))
    # A folder knows the folder above it, which would lead round in a circle.
    members = {key: item for key, item in vars(value).items() if not key.startswith("_") and key != "parent"}
    return _plain(members)
