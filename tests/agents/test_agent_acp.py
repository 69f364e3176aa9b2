"""Protocol `acp`, with real agents: some written with the protocol's own package, some that break it."""

from __future__ import annotations

import json
import sys

import pytest

from aegis.agents.base import AgentResult
from aegis.sandbox.base import Sandbox
from aegis.suite.model import Agent
from support.process_sandbox import converse

PACKAGE = """
import asyncio, json, os, sys
from acp import (
    Agent, InitializeResponse, NewSessionResponse, PromptResponse, RequestError, run_agent, start_tool_call,
    update_agent_message_text, update_agent_thought_text, update_tool_call,
)
from acp import schema

class Base(Agent):
    def on_connect(self, connection):
        self.client = connection
    async def initialize(self, protocol_version, client_capabilities=None, client_info=None, **more):
        self.capabilities = client_capabilities
        return InitializeResponse(protocol_version=protocol_version)
    async def new_session(self, cwd, mcp_servers=None, **more):
        self.cwd, self.servers = cwd, mcp_servers
        return NewSessionResponse(session_id="s1")
    async def say(self, text):
        await self.client.session_update("s1", update_agent_message_text(text))
    async def tell(self, update):
        await self.client.session_update("s1", update)
    async def prompt(self, prompt, session_id, **more):
        stop = await self.turn("".join(block.text for block in prompt))
        return PromptResponse(stop_reason=stop or "end_turn")
"""

RAW = """
import json, os, sys, time
def send(**message): print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)
def listen(): return json.loads(sys.stdin.readline())
def reply(asked, **result): send(id=asked["id"], result=result)
def update(update_kind, **fields):
    send(method="session/update", params={"sessionId": "s1", "update": {"sessionUpdate": update_kind, **fields}})
def say(text): update("agent_message_chunk", content={"type": "text", "text": text})
def start():
    reply(listen(), protocolVersion=1); reply(listen(), sessionId="s1")
def end(asked, why="end_turn"): reply(asked, stopReason=why)
"""


def talk(program: str, *messages: str, **options: object) -> AgentResult:
    """With the package: `program` is the body of `async def turn(self, text)`."""
    body = "\n".join("        " + line for line in program.strip("\n").split("\n"))
    source = f"{PACKAGE}\nclass Mine(Base):\n    async def turn(self, text):\n{body}\nasyncio.run(run_agent(Mine()))\n"
    return run(source, *messages, **options)


def raw(program: str, *messages: str, **options: object) -> AgentResult:
    """Without: `program` writes lines."""
    return run(RAW + program, *(messages or ("x",)), **options)


def run(source: str, *messages: str, **options: object) -> AgentResult:
    keys = {name: options.pop(name) for name in ("permissions",) if name in options}
    agent = Agent(command=f"exec {sys.executable} a.py", protocol="acp", **keys)  # type: ignore[arg-type]
    files = {"a.py": source, "notes.txt": "one\ntwo\nthree\n"}
    return converse(agent, *messages, files=files, **options)  # type: ignore[arg-type]


def test_one_session_answers_every_turn() -> None:
    result = talk(
        "self.n = getattr(self, 'n', 0) + 1\nawait self.say(text.upper()); await self.say(f' {self.n}')",
        "a ü",
        "b",
    )
    assert result.failure is None
    assert [turn.answer for turn in result.trace.turns] == ["A Ü 1", "B 2"]
    assert result.trace.exit == "exit code 0"


def test_the_session_is_in_the_workspace_without_servers() -> None:
    result = talk("await self.say(json.dumps([os.path.samefile(self.cwd, os.getcwd()), self.servers]))", "x")
    assert json.loads(result.trace.answer) == [True, []]


def test_the_client_offers_files_and_no_terminal() -> None:
    result = talk(
        "c = self.capabilities; await self.say(json.dumps([c.fs.read_text_file, c.fs.write_text_file, c.terminal]))",
        "x",
    )
    assert json.loads(result.trace.answer) == [True, True, False]


TOOLS = """
await self.say("Looking.")
await self.tell(start_tool_call("c1", "Read notes", kind="read", raw_input={"path": "notes.txt"}))
await self.tell(update_tool_call("c1", status="completed", raw_output={"lines": 3}))
await self.tell(start_tool_call("c2", "Search the web"))
await self.tell(update_tool_call("c2", status="failed"))
await self.tell(update_agent_thought_text("hm"))
await self.say("Done.")
"""


def test_tool_calls_are_recorded_with_what_later_messages_say_of_them() -> None:
    result = talk(TOOLS, "a")
    assert result.failure is None
    calls = [(c.name, c.arguments, c.result, c.is_error, c.turn, c.id) for c in result.trace.tool_calls]
    assert calls == [
        ("read", {"path": "notes.txt"}, {"lines": 3}, False, 0, "c1"),
        ("Search the web", None, None, True, 0, "c2"),
    ]
    assert result.trace.answer == "Looking.\n\nDone."
    assert '"hm"' in result.trace.stdout_tail


ASK = """
options = [schema.PermissionOption(option_id=k, name=k, kind=k) for k in KINDS]
call = schema.ToolCallUpdate(tool_call_id="c1", title="Delete all", kind="delete")
asked = await self.client.request_permission(session_id="s1", tool_call=call, options=options)
await self.say(getattr(asked.outcome, "option_id", None) or asked.outcome.outcome)
"""


@pytest.mark.parametrize(
    ("permissions", "kinds", "chosen"),
    [
        ("allow", ["allow_always", "allow_once", "reject_once"], "allow_once"),
        ("allow", ["reject_once", "allow_always"], "allow_always"),
        ("deny", ["allow_once", "reject_always", "reject_once"], "reject_once"),
        ("deny", ["allow_once"], "cancelled"),
        ("allow", [], "cancelled"),
    ],
)
def test_permission_is_given_by_the_suites_policy(permissions: str, kinds: list[str], chosen: str) -> None:
    result = talk(f"KINDS = {kinds}\n{ASK}", "x", permissions=permissions)
    assert (result.failure, result.trace.answer) == (None, chosen)
    assert [(call.name, call.permission) for call in result.trace.tool_calls] == [("delete", chosen)]


FILES = """
read = lambda path, **part: self.client.read_text_file(path=path, session_id="s1", **part)
write = lambda path, content: self.client.write_text_file(path=path, content=content, session_id="s1")
said = []
async def attempt(work):
    try:
        result = await work
        said.append(getattr(result, "content", "written"))
    except RequestError as error:
        said.append(error.code)
here = lambda name: self.cwd + "/" + name
await attempt(read(here("notes.txt")))
await attempt(read(here("notes.txt"), line=2, limit=1))
await attempt(read(here("none.txt")))
await attempt(read("notes.txt"))
await attempt(write(here("deep/new.txt"), "made"))
os.chmod("notes.txt", 0o755)
await attempt(write(here("notes.txt"), "changed"))
await attempt(write(here("empty.txt"), ""))
await attempt(write(here("deep"), "x"))
await attempt(self.client.create_terminal(command="ls", session_id="s1"))
said += [open(name).read() for name in ("deep/new.txt", "notes.txt", "empty.txt")]
said.append(os.access("notes.txt", os.X_OK))
await self.say(json.dumps(said))
"""


def test_files_are_read_and_written_in_the_sandbox() -> None:
    result = talk(FILES, "x")
    assert result.failure is None
    assert json.loads(result.trace.answer) == [
        *("one\ntwo\nthree\n", "two\n", -32002, -32602),
        *("written", "written", "written", -32603, -32601),
        *("made", "changed", "", True),
    ]


@pytest.mark.parametrize("reason", ["max_tokens", "max_turn_requests", "refusal", "cancelled"])
def test_a_turn_that_did_not_end_is_a_failure(reason: str) -> None:
    result = talk(f"await self.say('half')\nreturn {reason!r}", "a", "b")
    assert result.failure == f"agent stopped turn 1 of 2 with {reason}"
    assert [(turn.user, turn.answer) for turn in result.trace.turns] == [("a", "half")]


def test_an_error_of_the_agent_is_its_failure() -> None:
    result = talk("raise RequestError(-32000, 'Authentication required', {'how': 'login'})", "a")
    assert result.failure is not None
    assert 'answered turn 1 of 1 with an error: Authentication required: {"how": "login"}' in result.failure


@pytest.mark.parametrize(
    ("program", "failure"),
    [
        ("print('Thinking'); listen()", "a line that is not JSON: Thinking"),
        ("listen(); print([1])", "a line that is not a JSON object: [1]"),
        ("listen(); print(json.dumps({'id': 0, 'result': {}}))", 'without "jsonrpc": "2.0"'),
        ("send(x=1)", "what is no message of JSON-RPC"),
        ("send(id=0, result={}, error={})", "what is no message of JSON-RPC"),
        ("send(method=7)", "a call without method or params"),
        ("send(method='session/update', params=[1])", "a call without method or params"),
        ("send(id=[1], method='x')", "a request of an impossible id"),
        ("listen(); send(id=5, result={})", "it answered request 5, which nobody made"),
        ("listen(); send(id='0', result={})", 'it answered request "0", which nobody made'),
        ("reply(listen(), x=1)", "its answer to initialize: protocolVersion: Field required"),
        ("reply(listen(), protocolVersion=7)", "speaks version 7 of the Agent Client Protocol, not 1"),
        ("send(id=listen()['id'], error={'code': 1, 'message': 'no'})", "answered initialize with an error: no"),
        ("reply(listen(), protocolVersion=1); reply(listen())", "its answer to session/new: sessionId"),
        ("start(); end(listen(), 'bored')", "its answer to turn 1 of 1: stopReason"),
        ("start(); send(method='session/update', params={'sessionId': 's1'})", "without a sessionUpdate"),
        (
            "start(); send(method='session/update', params={'sessionId': 's2', 'update': {'sessionUpdate': 'x'}})",
            "a session/update of another session",
        ),
        ("start(); update('agent_message_chunk', content='x')", "with session/update agent_message_chunk: content"),
        ("start(); update('tool_call', title='x')", "with session/update tool_call: toolCallId: Field required"),
        ("start(); send(id=1, method='session/request_permission', params={})", "with session/request_permission: "),
        ("start(); send(id=1, method='fs/read_text_file', params={})", "with fs/read_text_file: "),
        ("start(); a = listen(); end(a); end(a); time.sleep(5000)", "turn 1 of 1 was answered twice"),
        ("start(); a = listen(); end(a); say('more'); time.sleep(5000)", "turn 1 of 1 was over, and it went on"),
        ("sys.exit('no key')", "exit code 1 before answering initialize: no key"),
        ("start(); listen(); os._exit(4)", "exit code 4 before answering turn 1 of 1"),
        ("start(); os.closerange(3, 64); os.close(1); time.sleep(5000)", "closed its standard output before"),
        ("start(); end(listen()); sys.exit(7)", "exit code 7 after its last answer"),
    ],
)  # fmt: skip
def test_a_broken_protocol_is_the_agents_failure(program: str, failure: str) -> None:
    result = raw(program)
    assert result.failure is not None
    assert failure in result.failure
    assert not result.timed_out
    assert "\n" not in result.failure


def test_answers_that_come_twice_or_before_their_turn() -> None:
    twice = raw("start(); a = listen(); end(a); end(a); end(listen()); sys.stdin.read()", "a", "b")
    assert twice.failure == "agent broke the protocol: turn 1 of 2 was answered twice"
    early = raw(
        "start(); a = listen(); send(id=a['id'] + 1, result={'stopReason': 'end_turn'}); time.sleep(5000)",
        "a",
        "b",
    )
    assert early.failure == "agent broke the protocol: it answered request 3, which nobody made"


def test_what_is_unknown_is_ignored_and_kept() -> None:
    result = raw(
        "reply(listen(), protocolVersion=1); n = listen(); say('hello'); reply(n, sessionId='s1'); a = listen(); "
        "update('new_kind', x=1); send(method='_x/y', params={}); "
        "say('ok'); end(a)"
    )
    assert (result.failure, result.trace.answer) == (None, "ok")
    assert '"new_kind"' in result.trace.stdout_tail


def test_a_request_that_nobody_knows_is_refused() -> None:
    result = raw(
        "start(); a = listen(); send(id='q', method='terminal/create', params={}); r = listen(); "
        "say(json.dumps([r['id'], r['error']['code']])); end(a)"
    )
    assert json.loads(result.trace.answer) == ["q", -32601]


def test_a_last_line_without_line_end_counts() -> None:
    result = raw(
        "start(); a = listen(); say('ok'); sys.stdout.write(json.dumps("
        "{'jsonrpc': '2.0', 'id': a['id'], 'result': {'stopReason': 'end_turn'}}))"
    )
    assert (result.failure, result.trace.answer) == (None, "ok")


def test_silence_times_out_and_keeps_what_was_answered() -> None:
    result = raw("start(); a = listen(); say('first'); end(a); time.sleep(5000)", "a", "b", timeout_s=5.0)
    assert result.timed_out
    assert result.failure == "timed out: no complete answer to turn 2 within 5s"
    assert [(turn.user, turn.answer) for turn in result.trace.turns] == [("a", "first"), ("b", "")]


def test_an_agent_that_stays_up_is_ended_without_blame() -> None:
    result = raw("start(); a = listen(); say('ok'); end(a); time.sleep(5000)")
    assert (result.failure, result.timed_out, result.trace.answer) == (None, False, "ok")


def test_an_endless_line_is_cut() -> None:
    result = raw("start()\nwhile True: sys.stdout.write('x' * 65536)")
    assert result.failure is not None
    assert result.failure.startswith("agent wrote a line longer than 8MiB: xxx")


def test_an_endless_answer_is_cut() -> None:
    result = raw("start()\nwhile True: say('x' * 500000)")
    assert result.failure == "agent gave an answer longer than 8MiB"


def test_endless_tool_calls_are_cut() -> None:
    many = raw(
        "start()\nfor n in range(20000): update('tool_call', toolCallId=str(n), title='t')\ntime.sleep(5000)"
    )
    assert many.failure == "agent reported more than 10000 tool calls"
    assert len(many.trace.tool_calls) == 10_000
    large = raw(
        "start()\nfor n in range(100): update('tool_call', toolCallId=str(n), title='x' * 200000)\ntime.sleep(5000)"
    )
    assert large.failure == "agent reported more than 8MiB of tool calls"


def test_a_tool_call_may_change_as_often_as_it_likes() -> None:
    program = """
start(); a = listen(); update("tool_call", toolCallId="c", title="Build", kind="execute")
for n in range(100):
    text = {"type": "content", "content": {"type": "text", "text": str(n) * 100000}}
    update("tool_call_update", toolCallId="c", content=[text])
say("ok"); end(a)
"""
    result = raw(program)
    assert (result.failure, result.trace.answer) == (None, "ok")
    (call,) = result.trace.tool_calls
    assert call.result == ["99" * 100000]


def test_an_agent_that_asks_and_never_reads_is_cut() -> None:
    program = """
start(); listen()
open("big.txt", "w").write("x" * 1000000)
path = os.getcwd() + "/big.txt"
for n in range(100): send(id=n, method="fs/read_text_file", params={"sessionId": "s1", "path": path})
time.sleep(5000)
"""
    result = raw(program)
    assert result.failure is not None
    assert "without reading its input" in result.failure


def test_nothing_of_it_is_left() -> None:
    async def look(sandbox: Sandbox) -> None:
        assert (await sandbox.run(("/bin/sh", "-c", "kill -0 $(cat pid)"))).status.code != 0

    result = raw(
        "import subprocess; p = subprocess.Popen(['sleep', '5000'], start_new_session=True); "
        "open('pid', 'w').write(str(p.pid)); start(); a = listen(); end(a)",
        then=look,
    )
    assert result.failure is None
