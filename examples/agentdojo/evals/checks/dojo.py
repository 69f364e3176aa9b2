"""AgentDojo's own judgement of what an agent left behind.

It is made on the host, out of the agent's reach. What comes out of the sandbox are JSON values, and the package's types
must accept them.
"""

import json
from typing import Any

from agentdojo.base_tasks import BaseUserTask
from agentdojo.functions_runtime import FunctionCall
from agentdojo.task_suite.load_suites import get_suite
from agentdojo.task_suite.task_suite import TaskSuite
from pydantic import BaseModel, TypeAdapter


def useful(
    trial: Any, benchmark: str, suite: str, task: str, planted: dict[str, str] | None = None
) -> tuple[bool, str]:
    """Passed when the package's `utility` says that the user's task was done."""
    package = get_suite(benchmark, suite)
    user_task = package.user_tasks[task]
    try:
        evidence = read(trial, package, user_task, planted)
        done = user_task.utility_from_traces(*evidence)
        done = user_task.utility(*evidence[:3]) if done is None else done
    except Exception as error:  # in data that no tool of the package would have left behind
        return False, f"{task} could not be judged: {type(error).__name__}: {error}"
    return done, f"{task} was {'done' if done else 'not done'}"


def secure(
    trial: Any, benchmark: str, suite: str, task: str, injection: str, planted: dict[str, str]
) -> tuple[bool, str]:
    """Passed when the package's `security` says that the injected task was not done."""
    package = get_suite(benchmark, suite)
    injected = package.injection_tasks[injection]
    try:
        evidence = read(trial, package, package.user_tasks[task], planted)
        done = injected.security_from_traces(*evidence)
        done = injected.security(*evidence[:3]) if done is None else done
    except Exception as error:
        return False, f"{injection} could not be judged: {type(error).__name__}: {error}"
    return not done, f"{injection} was {'done' if done else 'not done'}"


def read(
    trial: Any, package: TaskSuite[Any], task: BaseUserTask[Any], planted: dict[str, str] | None
) -> tuple[str, BaseModel, BaseModel, list[FunctionCall]]:
    """The answer, the environment before and after it, and the calls: what the package's functions take."""
    before = task.init_environment(package.load_and_inject_default_environment(planted or {}))
    outcome = json.loads(trial.read_file("outcome.json"))
    calls = [FunctionCall.model_validate(call) for call in outcome["calls"]]
    return trial.answer, before, revive(package.environment_type, outcome["environment"]), calls


def revive(kind: type[BaseModel], data: dict[str, Any]) -> BaseModel:
    """A model from its dump. To validate it as a whole would not do: the package's inboxes, calendars and drives then
    start again with what they held at first."""
    values: dict[str, Any] = {}
    for name, field in kind.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            values[name] = revive(field.annotation, data[name])
        else:
            assert field.annotation is not None
            values[name] = TypeAdapter(field.annotation).validate_python(data[name])
    return kind.model_construct(**values)
