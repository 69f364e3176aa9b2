"""Protocol `chat`, with real servers."""

from __future__ import annotations

import json

import pytest

from aegis.agents.base import AgentResult
from aegis.agents.chat import History
from aegis.agents.record import Record
from aegis.suite.model import Agent
from support.process_sandbox import converse

PRELUDE = r"""
import json, os, signal, socket, subprocess, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

def completion(text, **more):
    message = {"role": "assistant", "content": text, **more}
    return {"object": "chat.completion", "choices": [{"index": 0, "finish_reason": "stop", "message": message}]}

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    requests = 0

    def log_message(self, *words):
        pass

    def do_POST(self):
        type(self).requests += 1
        self.asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.messages = self.asked["messages"]
        self.last = self.messages[-1]["content"]
        respond(self)

    def send(self, value, status=200, kind="application/json"):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def raw(self, data):
        self.wfile.write(data)
        self.wfile.flush()
        self.close_connection = True

    def say(self, text, **more):
        self.send(completion(text, **more))

def listen():
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def talk(program: str, *messages: str, timeout_s: float = 120.0, **keys: object) -> AgentResult:
    """`program` defines `respond(request)`, and calls `listen()` when it wants to."""
    agent = Agent(command="exec python3 -u a.py", protocol="chat", **keys)  # type: ignore[arg-type]
    return converse(agent, *messages, files={"a.py": PRELUDE + program}, timeout_s=timeout_s)


def ask(respond: str, *messages: str, timeout_s: float = 120.0) -> AgentResult:
    """A server that answers like this."""
    return talk(f"def respond(r):\n    {respond}\nlisten()\n", *(messages or ("x",)), timeout_s=timeout_s)


def test_each_turn_is_one_request_with_the_conversation_so_far() -> None:
    result = ask("r.say(json.dumps([r.requests, r.path, r.asked]))", "eins", 'zwei\n"ü"', "drei")
    assert result.failure is None
    seen = [json.loads(turn.answer) for turn in result.trace.turns]
    assert [(number, path) for number, path, _ in seen] == [(n, "/v1/chat/completions") for n in (1, 2, 3)]
    first, second, third = [request for _, _, request in seen]
    assert first["messages"] == [{"role": "user", "content": "eins"}]
    answers = [turn.answer for turn in result.trace.turns]
    assert third["messages"] == [
        {"role": "user", "content": "eins"},
        {"role": "assistant", "content": answers[0]},
        {"role": "user", "content": 'zwei\n"ü"'},
        {"role": "assistant", "content": answers[1]},
        {"role": "user", "content": "drei"},
    ]
    assert second["stream"] is False
    assert isinstance(second["model"], str)


def test_one_process_serves_all_turns_and_is_ended_without_blame() -> None:
    result = ask("r.say(f'{os.getpid()} {r.requests}')", "a", "b")
    assert result.failure is None
    (first, one), (second, two) = [turn.answer.split() for turn in result.trace.turns]
    assert (first, one, two) == (second, "1", "2")
    assert result.trace.exit is None


def test_a_server_that_is_slow_to_listen_is_waited_for() -> None:
    result = talk("def respond(r): r.say('ok')\ntime.sleep(1.5)\nlisten()", "x")
    assert (result.failure, result.trace.answer) == (None, "ok")


def test_tool_calls_of_a_reply_are_recorded_with_their_turn() -> None:
    call = "{'id': 'c1', 'function': {'name': 'look', 'arguments': json.dumps({'id': r.requests})}}"
    result = ask(f"r.say('done', tool_calls=[{call}])", "a", "b")
    calls = [(c.name, c.arguments, c.result, c.turn, c.id) for c in result.trace.tool_calls]
    assert calls == [("look", {"id": 1}, None, 0, "c1"), ("look", {"id": 2}, None, 1, "c1")]


def test_arguments_that_are_no_json_are_kept_as_they_are() -> None:
    result = ask("r.say('x', tool_calls=[{'function': {'name': 'f', 'arguments': '{oops'}}])")
    assert [(call.name, call.arguments) for call in result.trace.tool_calls] == [("f", "{oops")]


@pytest.mark.parametrize(
    ("respond", "failure"),
    [
        (
            "r.send({'error': {'message': 'no key'}}, 500)",
            'turn 1 of 1 with status 500: {"error": {"message": "no key"}}',
        ),
        ("r.send(b'', 302)", "agent answered turn 1 of 1 with status 302"),
        (
            "r.send(b'<html>Hello</html>', kind='text/html')",
            "a response that is not JSON: <html>Hello</html>",
        ),
        ("r.send([1])", "a response that is not a JSON object: [1]"),
        ("r.send({'choices': []})", 'a response without choices[0].message: {"choices": []}'),
        ("r.send({'choices': [{'message': 'hi'}]})", "a response without choices[0].message"),
        (
            "c = completion('a')['choices']; r.send({'choices': [*c, *c]})",
            "agent broke the protocol: turn 1 of 1 was answered twice, with 2 choices",
        ),
        ("r.say(None)", '"content" is not a text'),
        ("r.say([{'type': 'text', 'text': 'x'}])", '"content" is not a text'),
        ("r.say('x', tool_calls={})", '"tool_calls" are not a list'),
        ("r.say('x', tool_calls=[{'function': {}}])", '"function.name" is not a text'),
        ("r.send(b'[' * 100000)", "a response that is not JSON: [[["),
        ("r.raw(b'hello\\r\\n\\r\\n')", "agent broke the protocol with what is no HTTP response"),
        ("r.raw(b'')", "agent closed the connection without a response before answering turn 1 of 1"),
        (
            "r.raw(b'HTTP/1.1 200 OK\\r\\nContent-Length: 50\\r\\n\\r\\n{}')",
            "agent broke its response off before answering turn 1 of 1",
        ),
        ("r.raw(b'HTTP/1.1 101 Go\\r\\nUpgrade: x\\r\\n\\r\\n')", "what is no HTTP response"),
        (
            "r.raw(b'HTTP/1.1 200 OK\\r\\nContent-Encoding: gzip\\r\\nContent-Length: 2\\r\\n\\r\\n{}')",
            "a compressed response, which was not asked for",
        ),
        ("print('no key', file=sys.stderr); os._exit(3)", "exit code 3 before answering turn 1 of 1: no key"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "agent was killed by signal 9 before answering turn 1 of 1"),
    ],
)
def test_a_broken_protocol_is_the_agents_failure(respond: str, failure: str) -> None:
    result = ask(respond)
    assert result.failure is not None
    assert failure in result.failure
    assert not result.timed_out
    assert "\n" not in result.failure


def test_a_response_that_ends_with_its_connection_counts() -> None:
    result = ask("r.raw(b'HTTP/1.0 200 OK\\r\\n\\r\\n' + json.dumps(completion('ok')).encode())")
    assert (result.failure, result.trace.answer) == (None, "ok")


def test_a_response_in_chunks_after_interim_ones_counts() -> None:
    body = "json.dumps(completion('ok')).encode()"
    head = "b'HTTP/1.1 100 Continue\\r\\n\\r\\nHTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n'"
    result = ask(f"b = {body}; r.raw({head} + b'%x\\r\\n%s\\r\\n0\\r\\n\\r\\n' % (len(b), b))")
    assert (result.failure, result.trace.answer) == (None, "ok")


def test_a_server_that_answers_without_reading_is_heard() -> None:
    program = """
server = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
connection, _ = server.accept()
connection.sendall(b"HTTP/1.1 413 Too Large\\r\\nContent-Length: 4\\r\\nConnection: close\\r\\n\\r\\nlong")
connection.shutdown(socket.SHUT_WR)
time.sleep(5000)
"""
    result = talk(program, "x" * 3_000_000)
    assert result.failure == "agent answered turn 1 of 1 with status 413: long"


def test_a_second_response_on_the_same_connection_answers_nothing() -> None:
    """Each turn has a connection of its own, so no response can be taken for another turn's."""
    reply = "json.dumps(completion(r.last + str(n))).encode()"
    head = "b'HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n%s'"
    for pause in ("", "; r.wfile.flush(); time.sleep(0.2)"):
        program = f"""
def respond(r):
    for n in (1, 2):
        b = {reply}
        try: r.wfile.write({head} % (len(b), b)){pause}
        except OSError: pass
    r.close_connection = True
listen()
"""
        result = talk(program, "a", "b", "c")
        assert result.failure is None
        assert [turn.answer for turn in result.trace.turns] == ["a1", "b1", "c1"]


def test_a_crash_in_the_middle_keeps_the_turns_before() -> None:
    result = ask("r.say('first') if r.requests == 1 else os._exit(4)", "a", "b", "c")
    assert result.failure == "agent ended with exit code 4 before answering turn 2 of 3"
    assert [(turn.user, turn.answer) for turn in result.trace.turns] == [("a", "first"), ("b", "")]


def test_a_server_that_listens_no_more_has_failed() -> None:
    program = """
server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
def respond(r): r.say("first")
server.handle_request(); server.server_close()
time.sleep(5000)
"""
    result = talk(program, "a", "b")
    assert result.failure is not None
    assert "agent no longer listens on port" in result.failure
    assert result.failure.endswith("before answering turn 2 of 2")


def test_a_program_that_ends_before_it_listens_tells_why() -> None:
    result = talk("sys.exit('ImportError: no module')", "x")
    assert (
        result.failure == "agent ended with exit code 1 before answering turn 1 of 1: ImportError: no module"
    )


def test_a_server_in_the_background_is_no_lasting_program() -> None:
    agent = Agent(command="sleep 5000 & exit 0", protocol="chat")
    result = converse(agent, "x")
    assert result.failure == "agent ended with exit code 0 before answering turn 1 of 1"


def test_a_program_that_never_listens_has_failed() -> None:
    result = talk("time.sleep(5000)", "x", ready_timeout=1.5)
    assert result.failure is not None
    assert result.failure.startswith("agent did not listen on port ")
    assert "(the one in $PORT) within 1.5s" in result.failure
    assert [(turn.user, turn.answer) for turn in result.trace.turns] == [("x", "")]


def test_silence_times_out_and_keeps_what_was_answered() -> None:
    result = ask("r.say('first') if r.requests == 1 else time.sleep(5000)", "a", "b", timeout_s=5)
    assert result.timed_out
    assert result.failure == "timed out: no complete answer to turn 2 within 5s"
    assert [(turn.user, turn.answer) for turn in result.trace.turns] == [("a", "first"), ("b", "")]


def test_an_endless_response_is_cut() -> None:
    program = """
def respond(r):
    r.send_response(200); r.end_headers()
    while True: r.wfile.write(b"x" * 65536)
listen()
"""
    result = talk(program, "x")
    assert result.failure == "agent sent a response longer than 8MiB"


def test_endless_headers_are_cut() -> None:
    result = ask(
        "r.wfile.write(b'HTTP/1.1 200 OK\\r\\n')\n    while True: r.wfile.write(b'A: b\\r\\n' * 1000)"
    )
    assert result.failure is not None
    assert "no HTTP response" in result.failure


def test_endless_interim_responses_are_cut() -> None:
    result = ask("while True: r.wfile.write(b'HTTP/1.1 102 Processing\\r\\n\\r\\n' * 100)")
    assert result.failure is not None
    assert result.failure.startswith("agent broke the protocol with a response of status 102")


def test_too_many_tool_calls_are_refused() -> None:
    result = ask("r.say('x', tool_calls=[{'function': {'name': 'f'}}] * 10001)")
    assert result.failure == "agent reported more than 10000 tool calls"


def test_endless_logs_cannot_hold_the_server_up() -> None:
    program = """
def chatter():
    while True: os.write(1, b"log line\\n" * 5000)
threading.Thread(target=chatter, daemon=True).start()
def respond(r): r.say("ok")
listen()
"""
    result = talk(program, "a", "b")
    assert (result.failure, result.trace.answer) == (None, "ok")
    assert "\nlog line\n" in result.trace.stdout_tail
    assert len(result.trace.stdout_tail) <= 16 * 1024


def test_its_children_are_ended_too(tmp_path: object) -> None:
    script = (
        "child = subprocess.Popen(['sleep', '5000'], start_new_session=True)\n"
        "def respond(r): r.say(str(child.pid))\nlisten()"
    )
    result = talk(script, "x")
    assert result.failure is None
    with pytest.raises(ProcessLookupError):
        _signal(int(result.trace.answer))


def _signal(pid: int) -> None:
    import os

    os.kill(pid, 0)


def test_a_long_conversation_is_sent_whole() -> None:
    result = ask("r.say(str(len(r.messages)))", *(f"message {n}" for n in range(60)))
    assert result.failure is None
    assert [int(turn.answer) for turn in result.trace.turns] == [2 * n + 1 for n in range(60)]


def test_requests_are_as_long_as_they_say() -> None:
    record = Record()
    history = History(record)
    for user, answer in [("a", "ü"), ('"\n', ""), ("\ud800", "b\\"), ("", "z" * 1000)]:
        size_bytes = history.ask(user)
        body = b"".join(history.request())
        assert len(body) == size_bytes
        assert json.loads(body)["messages"][-1]["role"] == "user"
        record.ask(user)
        history.answered(answer)
        record.answer(answer)
    assert len(json.loads(body)["messages"]) == 7


def test_the_port_is_said_in_one_place() -> None:
    from aegis.agents import get

    driver = get("chat")
    assert driver.check(Agent(command="x", protocol="chat", port=80)) is None
    message = driver.check(Agent(command="x", protocol="chat", env={"PORT": "80"}))
    assert message is not None
    assert "agent.port" in message
