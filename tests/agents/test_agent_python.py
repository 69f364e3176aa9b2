"""Protocol `python`, with real functions in a real prepared process."""

from __future__ import annotations

import ast
import shutil
import subprocess

import pytest

from aegis.agents import get
from aegis.agents.base import AgentResult
from aegis.agents.python import shim_source
from aegis.suite.model import Agent
from support.process_sandbox import converse


def call(module: str, *messages: str, target: str = "agent:answer", timeout_s: float = 120.0) -> AgentResult:
    agent = Agent(command=target, protocol="python")
    return converse(agent, *messages, files={"agent.py": module}, timeout_s=timeout_s)


def test_text_to_text() -> None:
    result = call("def answer(text):\n    return text.upper()", "a", "b")
    assert result.failure is None
    assert [turn.answer for turn in result.trace.turns] == ["A", "B"]
    assert result.trace.exit == "exit code 0"


@pytest.mark.parametrize(
    "signature", ["messages", "x: list[dict]", "x: 'list[dict[str, str]]'", "x: typing.List[dict]"]
)
def test_messages_to_message(signature: str) -> None:
    module = f"""
import typing
def answer({signature}):
    assert all(set(message) == {{"role", "content"}} for message in {signature.partition(":")[0]})
    return {{"role": "assistant", "content": "-".join(m["content"] for m in {signature.partition(":")[0]})}}
"""
    result = call(module, "a", "b")
    assert [turn.answer for turn in result.trace.turns] == ["a", "a-a-b"]


def test_an_async_function_keeps_its_loop_and_its_state() -> None:
    module = """
import asyncio
loops = set()
async def answer(text):
    await asyncio.sleep(0)
    loops.add(asyncio.get_running_loop())
    return f"{text} {len(loops)}"
"""
    assert [turn.answer for turn in call(module, "a", "b").trace.turns] == ["a 1", "b 1"]


def test_an_object_that_can_be_called_and_a_dotted_name() -> None:
    module = """
class Support:
    async def __call__(self, text): return "async " + text
    def sync(self, text): return "sync " + text
bot = Support()
"""
    assert call(module, "x", target="agent:bot").trace.answer == "async x"
    assert call(module, "x", target="agent:bot.sync").trace.answer == "sync x"


def test_prints_and_programs_do_not_get_into_the_conversation() -> None:
    module = """
import subprocess, sys
print("importing")
def answer(text):
    print("printed"); subprocess.run(["echo", "from a program"])
    return repr(sys.stdin.read())
"""
    result = call(module, "x")
    assert (result.failure, result.trace.answer) == (None, "''")
    for words in ("importing", "printed", "from a program"):
        assert words in result.trace.stderr_tail


@pytest.mark.parametrize(
    ("module", "failure"),
    [
        (
            "def answer(text):\n    raise ValueError('no such order')",
            "ValueError: no such order (agent.py line 2",
        ),
        ("import json\ndef answer(t):\n    json.loads('')", "JSONDecodeError: Expecting value"),
        ("def answer(text):\n    return 42", "the function returned int"),
        ("def answer(text):\n    return {'role': 'assistant'}", "without a text as its content"),
        ("def answer(text):\n    pass", "the function returned NoneType"),
        ("def answer(text):\n    yield 'a'\n    yield 'b'", "the function returned generator"),
        ("async def answer(text):\n    yield 'a'\n    yield 'b'", "the function returned async_generator"),
        ("def answer():\n    pass", "cannot load agent:answer: TypeError: the function takes no argument"),
        ("import no_such_module", "cannot load agent:answer: ModuleNotFoundError: No module named"),
        ("def answer(:\n", "cannot load agent:answer: SyntaxError"),
        ("x = 1", "has no attribute 'answer'"),
        ("answer = 3", "agent:answer is not a function"),
        ("import sys\nsys.exit(3)", "SystemExit: the program called sys.exit(3)"),
        ("import sys\ndef answer(t):\n    sys.exit('bye')", "the program called sys.exit(bye)"),
        ("import os\nos._exit(5)", "exit code 5 before answering turn 1"),
        ("import os\ndef answer(t):\n    os._exit(6)", "exit code 6 before answering turn 1"),
        ("import os\ndef answer(t):\n    os.kill(os.getpid(), 11)", "killed by signal 11 before answering"),
    ],
)
def test_what_the_function_does_wrong_is_the_agents_failure(module: str, failure: str) -> None:
    result = call(module, "x")
    assert result.failure is not None
    assert failure in result.failure
    assert not result.timed_out


CHANNEL = """
import json, os
def tell(text):
    line = json.dumps({"role": "assistant", "content": text}).encode() + b"\\n"
    for number in range(3, 64):
        if os.path.realpath(f"/proc/self/fd/{number}").startswith(("/proc/", "/dev/")):
            try: os.write(number, line)
            except OSError: pass
"""


def test_a_function_that_writes_a_second_answer_to_the_channel() -> None:
    module = CHANNEL + "def answer(text):\n    tell('first')\n    return 'second'"
    result = call(module, "a")
    assert result.failure is not None
    assert "turn 1 was answered twice" in result.failure


def test_the_failure_names_the_users_own_line() -> None:
    module = "import json\ndef answer(t):\n    return json.loads('{')\n"
    assert "(agent.py line 3 in answer)" in str(call(module, "x").failure)


def test_a_function_that_hangs_times_out() -> None:
    module = "import time\ndef answer(text):\n    if text == 'b': time.sleep(5000)\n    return text"
    result = call(module, "a", "b", timeout_s=5)
    assert result.timed_out
    assert [turn.answer for turn in result.trace.turns] == ["a", ""]


def test_an_import_that_hangs_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aegis.agents.python.READY_TIMEOUT_S", 0.5)
    assert call("import time\ntime.sleep(5000)", "x", timeout_s=3).timed_out


def test_clones_do_not_draw_the_same_random_numbers() -> None:
    module = "import random\nrandom.seed(1)\ndef answer(text):\n    return str(random.random())"
    answers = {call(module, "x").trace.answer for _ in range(2)}
    assert len(answers) == 2
    assert "0.13436424411240122" not in answers  # the first number after seed(1)


def test_a_long_unicode_answer_passes() -> None:
    result = call("def answer(text):\n    return '\\U0001f600' * 300000 + chr(0xd800)", "x")
    assert result.failure is None
    assert result.trace.answer == "\U0001f600" * 300_000 + "\ufffd"


def test_the_program_keeps_to_the_grammar_of_python_3_8() -> None:
    assert ast.parse(shim_source(), feature_version=(3, 8)).body


OTHER_PYTHONS = sorted({path for v in range(8, 16) if (path := shutil.which(f"python3.{v}"))})


@pytest.mark.parametrize("ahead", [(), ("20", "SERVICE_KEY")])
@pytest.mark.parametrize("python", OTHER_PYTHONS)
def test_the_program_runs_on_every_python_of_this_host(python: str, ahead: tuple[str, ...]) -> None:
    if subprocess.run([python, "-c", ""], capture_output=True, timeout=60).returncode:
        pytest.skip(f"{python} starts no Python")
    done = subprocess.run(
        [python, "-c", shim_source(), "os.path:basename", *ahead],
        input=b'{"role": "user", "content": "a/b"}\n',
        capture_output=True,
        timeout=120,
    )
    assert done.stdout.splitlines() == [b'{"type": "ready"}', b'{"role": "assistant", "content": "b"}']


def test_the_prepared_program_has_neutral_words() -> None:
    [prepared] = get("python").prepare(Agent(command="agent:answer", protocol="python", env={"A": "b"}))
    words = " ".join((prepared.name, *prepared.argv, *prepared.env)).lower()
    assert [word for word in ("aegis", "eval", "test", "trial", "sandbox", "scor") if word in words] == []
    assert dict(prepared.env) == {"A": "b"}
