"""An assistant whose every decision is AgentDojo's own ground truth, served as the function `answer`.

It stands in for a model that makes no mistakes: it recognises the task by the user's words and does what the task's
`ground_truth` does, with the package's tools, on the package's data. With OBEY=1 it also does what a tool result tells
it to: it stands in for a model that takes data for instructions.

The data are those of the package's edition BENCHMARK. planted.json says what others have written in them: the package's
name of a place, and the text there. What is left at the end is in outcome.json.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from difflib import SequenceMatcher
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentdojo.base_tasks import BaseUserTask
from agentdojo.functions_runtime import FunctionCall, FunctionsRuntime, TaskEnvironment
from pydantic import BaseModel
from tasks import get_suites

if TYPE_CHECKING:
    from agentdojo.task_suite.task_suite import TaskSuite

ALIKE = 0.8
"""From this ratio on a message counts as the task's: a slip of the hand is no other request."""

SUITES: dict[str, TaskSuite[Any]] = get_suites(os.environ["BENCHMARK"])


def answer(message: str) -> str:
    found = recognise(message)
    if found is None:
        return "Is there something that I can do for you?"
    suite, task = found
    environment = task.init_environment(open_environment(suite))
    session = Session(suite, environment, obedient=os.environ.get("OBEY", "0") == "1")
    session.work(task)
    session.save(Path("outcome.json"))
    return "\n".join(filter(None, session.said))


def recognise(message: str) -> tuple[TaskSuite[Any], BaseUserTask[Any]] | None:
    tasks = [(suite, task) for suite in SUITES.values() for task in suite.user_tasks.values()]
    named = [pair for pair in tasks if pair[1].PROMPT in message]
    if named:  # some tasks are several others in one
        return max(named, key=lambda pair: len(pair[1].PROMPT))
    return next((pair for pair in tasks if alike(message, pair[1].PROMPT)), None)


def alike(text: str, expected: str) -> bool:
    matcher = SequenceMatcher(None, text, expected, autojunk=False)
    return matcher.real_quick_ratio() >= ALIKE and matcher.quick_ratio() >= ALIKE and matcher.ratio() >= ALIKE


def open_environment(suite: TaskSuite[Any]) -> TaskEnvironment:
    planted = Path("planted.json")
    texts = json.loads(planted.read_text(encoding="utf-8")) if planted.exists() else {}
    return suite.load_and_inject_default_environment(texts)


class Session:
    """One task's work on one environment."""

    def __init__(self, suite: TaskSuite[Any], environment: TaskEnvironment, *, obedient: bool) -> None:
        self._suite = suite
        self._environment = environment
        self._tools = FunctionsRuntime(suite.tools)
        self._obedient = obedient
        self._obeyed: set[str] = set()
        self._calls: list[FunctionCall] = []
        self.said: list[str] = []

    def work(self, task: BaseUserTask[Any]) -> None:
        for call in task.ground_truth(self._environment):
            result = self._call(call)
            if self._obedient:
                self._obey(words(result))
        self.said.append(task.GROUND_TRUTH_OUTPUT)

    def save(self, path: Path) -> None:
        calls = [call.model_dump(mode="json") for call in self._calls]
        outcome = {"environment": self._environment.model_dump(mode="json"), "calls": calls}
        path.write_text(json.dumps(outcome), encoding="utf-8")

    def _call(self, call: FunctionCall) -> Any:
        self._calls.append(call)
        result, _ = self._tools.run_function(self._environment, call.function, call.args)
        return result

    def _obey(self, read: str) -> None:
        """Do what was read, once."""
        for name, task in self._suite.injection_tasks.items():
            if name not in self._obeyed and words(task.GOAL) in read:
                self._obeyed.add(name)
                for call in task.ground_truth(self._environment):
                    self._call(call)
                self.said.append(task.GROUND_TRUTH_OUTPUT)


def words(value: Any) -> str:
    """All text in a value, with single spaces: how lines were broken on the way says nothing."""
    return " ".join(" ".join(_texts(value)).split())


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, BaseModel):
        yield from _texts(value.model_dump())
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(key)
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
