"""The host's side of connections that a machine opens, against machines that lie."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.errors import GuestProtocolError, SandboxError
from aegis.sandbox import connections, mux
from aegis.sandbox.guest import wire
from aegis.sandbox.mux import MuxProcess
from aegis.sandbox.network import Connection, Destination, Gate, Refusal
from support.fake_machine import FakeMachine, fake_machine
from support.fuzzing import examples
from support.network_handlers import Handler, Plan, echo
from support.sandbox_bench import DEADLINE_S

FIRST = wire.FIRST_CONNECTION
PROXY = {"op": "connect", "via": "proxy"}


def play(
    scene: Callable[[FakeMachine], Awaitable[None]], handler: Handler | None, gate: Gate | None = None
) -> None:
    async def body() -> None:
        async with asyncio.timeout(DEADLINE_S), fake_machine() as machine:
            await acknowledge(machine, handler, gate=gate)
            await scene(machine)

    asyncio.run(body())


async def acknowledge(
    machine: FakeMachine, handler: Handler | None, *, behind: bytes = b"", gate: Gate | None = None
) -> None:
    """The machine takes on an identity, and says more in the same breath."""
    asking = asyncio.ensure_future(machine.mux.init({"nonce": "n"}, handler, gate))
    await machine.expect(wire.INIT)
    await machine.send(wire.encode_json(wire.READY, 0, {"nonce": "n"}), behind)
    await asking


def opening(stream: int = FIRST, **message: Any) -> bytes:
    return wire.encode_json(wire.OPEN, stream, message or PROXY)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - conditions are about plain attributes
        await asyncio.sleep(0.005)


def test_a_connection_is_served_from_its_first_byte_to_its_end() -> None:
    handler = Handler()

    async def scene(machine: FakeMachine) -> None:
        await machine.send(opening(), wire.encode(wire.DATA, FIRST, b"hello"))
        assert await machine.expect(wire.GRANT) == (wire.GRANT, FIRST, b"\0\0\0\0\5")
        assert await machine.expect(wire.DATA) == (wire.DATA, FIRST, b"hello")
        await machine.send(wire.encode(wire.END, FIRST, b"\0"))
        assert await machine.expect(wire.END) == (wire.END, FIRST, b"\0")
        await until(lambda: len(machine.mux.connections) == 0)
        # The machine's own end of it comes afterwards, and is no error.
        await machine.send(wire.encode(wire.CLOSE, FIRST))
        machine.mux.check()

    play(scene, handler)
    assert handler.destinations == [Destination("proxy")]
    assert handler.errors == []


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (PROXY, Destination("proxy")),
        (
            {"op": "connect", "via": "direct", "name": "a.example", "address": "198.18.1.0", "port": 443},
            Destination("direct", "a.example", "198.18.1.0", 443),
        ),
        (
            {"op": "connect", "via": "direct", "name": None, "address": "10.0.0.5", "port": 5432},
            Destination("direct", None, "10.0.0.5", 5432),
        ),
        (
            {"op": "connect", "via": "direct", "name": ["x"], "address": "y" * 9000, "port": 0},
            Destination("direct", None, "y" * 253, 0),
        ),
    ],
)
def test_where_a_connection_wanted_to_go(message: dict[str, Any], expected: Destination) -> None:
    handler = Handler()

    async def scene(machine: FakeMachine) -> None:
        await machine.send(wire.encode_json(wire.OPEN, FIRST, message))
        await until(lambda: bool(handler.destinations))

    play(scene, handler)
    assert handler.destinations == [expected]


def test_a_connection_right_behind_the_acknowledgement_is_served() -> None:
    handler = Handler()

    async def body() -> None:
        async with asyncio.timeout(DEADLINE_S), fake_machine() as machine:
            await acknowledge(machine, handler, behind=opening() + wire.encode(wire.DATA, FIRST, b"at once"))
            assert (await machine.expect(wire.DATA))[2] == b"at once"

    asyncio.run(body())


def test_without_a_handler_every_connection_is_reset() -> None:
    async def scene(machine: FakeMachine) -> None:
        await machine.send(opening(), wire.encode(wire.DATA, FIRST, b"x"), opening(FIRST + 1))
        for stream in (FIRST, FIRST + 1):
            assert await machine.expect(wire.CLOSE) == (wire.CLOSE, stream, wire.RESET)
        await machine.send(opening(FIRST + 2, op="refused", address="1.1.1.1", port=1, protocol="tcp"))
        assert len(machine.mux.connections) == 0

    play(scene, None)


def test_a_machine_that_is_given_another_identity_has_no_network_until_it_says_so() -> None:
    handler = Handler()

    async def scene(machine: FakeMachine) -> None:
        asking = asyncio.ensure_future(machine.mux.init({"nonce": "second"}, handler))
        await machine.expect(wire.INIT)
        await machine.send(opening())
        assert await machine.expect(wire.CLOSE) == (wire.CLOSE, FIRST, wire.RESET)
        await machine.send(wire.encode_json(wire.READY, 0, {"nonce": "second"}), opening(FIRST + 1))
        await asking
        await until(lambda: len(handler.destinations) == 1)

    play(scene, handler)


# -- a machine that lies ---------------------------------------------------------------------------------------------

DATA_64K = wire.encode(wire.DATA, FIRST, b"x" * 65536)


@pytest.mark.parametrize(
    "data",
    [
        [DATA_64K] * 3,
        [wire.encode(wire.END, FIRST, b"\0"), wire.encode(wire.DATA, FIRST, b"x")],
        [wire.encode(wire.END, FIRST, b"\1")],
        [wire.encode(wire.END, FIRST)],
        [wire.encode_grant(FIRST, 0, 1)],
        [wire.encode_grant(FIRST, 0, 2**32 - 1)],
        [wire.encode_grant(FIRST, 1, 0)],
        [wire.encode(wire.GRANT, FIRST, b"\0")],
        [opening()],
        [wire.encode(wire.DATA_ERR, FIRST, b"x")],
        [wire.encode_json(wire.OPENED, FIRST, {})],
        [wire.encode_json(wire.EXIT, FIRST, {"code": 0})],
        [wire.encode(wire.EXIT, FIRST + 7)],
        [wire.encode(wire.HELLO, 2**32 - 1)],
        [wire.encode(wire.OPEN, FIRST + 1, b"[]")],
        [wire.encode(wire.OPEN, FIRST + 1, b"{")],
        [wire.encode(wire.OPEN, FIRST + 1, b"[" * 60_000)],
        [opening(FIRST + 1, op="exec", argv=["true"])],
        [opening(FIRST + 1, op="connect")],
        [opening(FIRST + 1, op="connect", via="sideways")],
        [opening(FIRST + 1, op="connect", via="direct", port=65536)],
        [opening(FIRST + 1, op="connect", via="direct", port=True)],
        [opening(FIRST + 1, op="connect", via="direct", port="80")],
        [opening(FIRST + 1, op="refused", address="1.1.1.1", port=-1, protocol="tcp")],
        [opening(FIRST, op="lookup", name="a.example")],
        [opening(FIRST + 1, op="opening", via="direct", port=65536)],
        [opening(FIRST + 1, op="opening", port=1)],
        [opening(FIRST + 1, op="refused", address="1.1.1.1", port=1, protocol="sctp")],
    ],
)
def test_what_the_protocol_does_not_allow_ends_the_machine_and_its_handlers(data: list[bytes]) -> None:
    async def never_reads(connection: Connection) -> None:
        await asyncio.Event().wait()

    handler = Handler(never_reads)

    async def scene(machine: FakeMachine) -> None:
        await machine.send(opening())
        await until(lambda: handler.active == 1)
        await machine.send(*data)
        await machine.mux.gone.wait()
        with pytest.raises(GuestProtocolError):
            machine.mux.check()
        await until(lambda: handler.active == 0)

    play(scene, handler)
    assert handler.cancelled == 1


def test_the_window_is_exact() -> None:
    release = asyncio.Event()

    async def late(connection: Connection) -> None:
        await release.wait()
        await echo(connection)

    async def scene(machine: FakeMachine) -> None:
        await machine.send(opening(), *[DATA_64K] * (wire.CONNECTION_WINDOW // 65536))
        await until(lambda: len(machine.mux.connections) == 1)
        machine.mux.check()
        release.set()
        received = 0
        while received < wire.CONNECTION_WINDOW:
            received += len((await machine.expect(wire.DATA))[2])
        # Nothing was granted: nothing more may come.
        await machine.send(wire.encode(wire.END, FIRST, b"\0"))
        assert (await machine.expect(wire.END))[1] == FIRST

    play(scene, Handler(late))


def test_a_machine_that_never_grants_makes_its_handler_wait_and_nobody_else() -> None:
    sent = 0

    async def floods(connection: Connection) -> None:
        nonlocal sent
        while True:
            await connection.write(b"x" * 4096)
            sent += 4096

    handler = Handler(floods)

    async def scene(machine: FakeMachine) -> None:
        await machine.send(opening())
        received = 0
        while received < wire.CONNECTION_WINDOW:
            received += len((await machine.expect(wire.DATA))[2])
        # Another conversation goes on.
        asking = asyncio.ensure_future(machine.mux.exec(("x",), "/", {}))
        _, stream, _ = await machine.expect(wire.OPEN)
        await machine.send(wire.encode_json(wire.OPENED, stream, {}))
        assert isinstance(await asking, MuxProcess)
        assert sent == received == wire.CONNECTION_WINDOW
        await machine.send(wire.encode(wire.CLOSE, FIRST, wire.RESET))
        await until(lambda: handler.active == 0)

    play(scene, handler)
    assert [type(error) for error in handler.errors] == [ConnectionResetError]


def test_small_grants_do_not_make_small_frames() -> None:
    """Once they did, and every frame after them was small: a download took six times as long."""
    message = b"x" * (wire.CONNECTION_WINDOW + 100_000)

    async def talks(connection: Connection) -> None:
        await connection.read(1)
        await connection.write(message)

    async def scene(machine: FakeMachine) -> None:
        await machine.send(opening(), wire.encode(wire.DATA, FIRST, b"?"))
        sizes: list[int] = []
        while sum(sizes) < wire.CONNECTION_WINDOW:
            sizes.append(len((await machine.expect(wire.DATA))[2]))
        for _ in range(1000):
            await machine.send(wire.encode_grant(FIRST, 0, 100))
        while sum(sizes) < len(message):
            sizes.append(len((await machine.expect(wire.DATA))[2]))
        assert min(sizes[:-1]) >= wire.WORTHWHILE, sizes

    play(scene, Handler(talks))


def test_thousands_of_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 50)

    async def waits(connection: Connection) -> None:
        await asyncio.Event().wait()

    handler = Handler(waits)

    async def scene(machine: FakeMachine) -> None:
        frames = b"".join(opening(FIRST + number) for number in range(3000))
        sending = asyncio.ensure_future(machine.send(frames))
        for number in range(50, 3000):
            assert await machine.expect(wire.CLOSE) == (wire.CLOSE, FIRST + number, wire.RESET)
        await sending
        await until(lambda: handler.active == 50)
        assert len(machine.mux.connections) == 50
        # Ending them on the wire frees no place: their handlers have not ended.
        await machine.send(
            *[wire.encode(wire.CLOSE, FIRST + number) for number in range(50)], opening(FIRST + 9000)
        )
        assert await machine.expect(wire.CLOSE) == (wire.CLOSE, FIRST + 9000, wire.RESET)

    play(scene, handler)
    assert handler.most_active == 50
    assert handler.cancelled == 50


def test_a_machine_that_opens_and_never_reads_fills_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mux, "MAX_UNSENT_BYTES", 100_000)

    async def scene(machine: FakeMachine) -> None:
        frames = b"".join(opening(FIRST + number) for number in range(2000))

        async def flood() -> None:
            while not machine.mux.gone.is_set():
                await machine.send(frames)

        flooding = asyncio.ensure_future(flood())
        transport = machine.mux._writer.transport
        await until(lambda: transport.get_write_buffer_size() > 100_000)
        await asyncio.sleep(0.5)
        assert not flooding.done(), "the machine waits"
        # The answers to one read's worth of frames may be beyond the bound.
        assert transport.get_write_buffer_size() < 200_000
        await machine.mux.close()  # does not wait for the machine to read either
        await asyncio.gather(flooding, return_exceptions=True)

    play(scene, None)


def test_each_refusal_is_told_once_and_there_are_not_endlessly_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MAX_REFUSALS", 5)
    handler = Handler()

    async def scene(machine: FakeMachine) -> None:
        for port in (1, 1, 2, 3, 4, 5, 6, 7):
            message = {"op": "refused", "address": "1.1.1.1", "port": port, "protocol": "udp", "name": "x"}
            await machine.send(wire.encode_json(wire.OPEN, FIRST + port, message))
        await machine.send(opening())
        await until(lambda: len(handler.destinations) == 1)

    play(scene, handler)
    assert handler.refusals == [Refusal("1.1.1.1", port, "udp", "x") for port in range(1, 6)]


# -- questions -------------------------------------------------------------------------------------------------------

DIRECT = {"op": "connect", "via": "direct", "name": "a.example", "address": "198.18.1.0", "port": 443}
OPENING = {**DIRECT, "op": "opening"}
THERE = Destination("direct", "a.example", "198.18.1.0", 443)


async def answer_to(machine: FakeMachine, stream: int, question: dict[str, Any]) -> bytes:
    await machine.send(wire.encode_json(wire.OPEN, stream, question))
    return (await machine.expect(wire.CLOSE, stream))[2]


def test_lookups_and_openings_are_answered_by_the_gate() -> None:
    gate = Plan(["nxdomain", "servfail", "timeout", ""], [False, True])

    async def scene(machine: FakeMachine) -> None:
        asked = {"op": "lookup", "name": "A.example"}
        answers = [await answer_to(machine, FIRST + number, asked) for number in range(4)]
        assert answers == [wire.NO_SUCH_NAME, wire.SERVER_FAILURE, wire.SILENCE, wire.GO_ON]
        assert await answer_to(machine, FIRST + 4, OPENING) == wire.REFUSED
        assert await answer_to(machine, FIRST + 5, OPENING) == wire.GO_ON
        assert len(machine.mux.connections) == 0

    play(scene, Handler(), gate)
    assert gate.asked == [*["a.example"] * 4, THERE, THERE]


def test_a_connection_that_was_let_in_is_marked_once() -> None:
    handler = Handler()

    async def scene(machine: FakeMachine) -> None:
        assert await answer_to(machine, FIRST, OPENING) == wire.REFUSED
        assert await answer_to(machine, FIRST + 1, OPENING) == wire.GO_ON
        for number, asked in enumerate((FIRST + 1, FIRST + 1, FIRST, 7, "x", [], None, True)):
            await machine.send(opening(FIRST + 2 + number, **DIRECT, asked=asked))
        await machine.send(opening(FIRST + 50, **DIRECT))
        await until(lambda: len(handler.destinations) == 9)

    play(scene, handler, Plan([], [False, True]))
    assert [found.let_in for found in handler.destinations] == [True, *[False] * 8]
    assert {replace(found, let_in=False) for found in handler.destinations} == {THERE}


def test_one_question_opens_the_way_to_no_other_place() -> None:
    handler = Handler()

    async def scene(machine: FakeMachine) -> None:
        assert await answer_to(machine, FIRST, OPENING) == wire.GO_ON
        for number, change in enumerate(({"port": 80}, {"name": "b.example"}, {"address": "198.18.1.1"})):
            await machine.send(opening(FIRST + 1 + number, **{**DIRECT, **change}, asked=FIRST))
        await until(lambda: len(handler.destinations) == 3)

    play(scene, handler, Plan([], [True]))
    assert not any(found.let_in for found in handler.destinations)


def test_without_a_gate_everything_goes_on() -> None:
    async def scene(machine: FakeMachine) -> None:
        assert await answer_to(machine, FIRST, {"op": "lookup", "name": "a.example"}) == wire.GO_ON
        assert await answer_to(machine, FIRST + 1, OPENING) == wire.GO_ON

    play(scene, Handler())


def test_a_failing_gate_lets_everything_go_on_and_is_told() -> None:
    async def scene(machine: FakeMachine) -> None:
        troubles: list[object] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: troubles.append(context["exception"])
        )
        assert await answer_to(machine, FIRST, {"op": "lookup", "name": "a.example"}) == wire.GO_ON
        assert await answer_to(machine, FIRST + 1, OPENING) == wire.GO_ON
        assert [type(each) for each in troubles] == [IndexError] * 2

    play(scene, Handler(), Plan([], []))


def test_what_was_let_in_and_never_came_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MAX_LET_IN", 10)
    handler = Handler()

    async def scene(machine: FakeMachine) -> None:
        for number in range(30):
            assert await answer_to(machine, FIRST + number, OPENING) == wire.GO_ON
        assert len(machine.mux.connections._let_in) == 10
        for number in (19, 20):
            await machine.send(opening(FIRST + 100 + number, **DIRECT, asked=FIRST + number))
        await until(lambda: len(handler.destinations) == 2)

    play(scene, handler, Plan([], [True] * 30))
    assert [found.let_in for found in handler.destinations] == [False, True]


# -- a handler in trouble --------------------------------------------------------------------------------------------


class Failing(Handler):
    async def connect(self, connection: Connection, destination: Destination) -> None:
        raise RuntimeError("a bug")

    def refused(self, refusal: Refusal) -> None:
        raise RuntimeError("a bug")


def test_a_failing_handler_ends_its_connection_and_nothing_else() -> None:
    async def scene(machine: FakeMachine) -> None:
        troubles: list[object] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: troubles.append(context["exception"])
        )
        await machine.send(opening())
        assert await machine.expect(wire.CLOSE) == (wire.CLOSE, FIRST, wire.RESET)
        await machine.send(opening(FIRST + 1, op="refused", address="1.1.1.1", port=1, protocol="tcp"))
        await machine.send(opening(FIRST + 2))
        assert await machine.expect(wire.CLOSE) == (wire.CLOSE, FIRST + 2, wire.RESET)
        machine.mux.check()
        assert [type(each) for each in troubles] == [RuntimeError] * 3

    play(scene, Failing())


@pytest.mark.parametrize("how", ["stop", "hang up", "breach"])
def test_the_end_of_the_machine_ends_every_handler(how: str) -> None:
    async def waits(connection: Connection) -> None:
        await connection.read(10)

    handler = Handler(waits)

    async def scene(machine: FakeMachine) -> None:
        await machine.send(*[opening(FIRST + number) for number in range(20)])
        await until(lambda: handler.active == 20)
        if how == "stop":
            await machine.mux.close()
            assert handler.active == 0, "when it has stopped, nothing goes on"
        elif how == "hang up":
            machine.hang_up()
        else:
            await machine.send(wire.encode(wire.OPEN, FIRST + 99, b"?"))
        await until(lambda: handler.active == 0)
        assert handler.cancelled + len(handler.errors) == 20

    play(scene, handler)


def test_calls_after_the_end_fail_as_on_any_socket() -> None:
    seen: list[object] = []

    async def closes(connection: Connection) -> None:
        await connection.write(b"last")
        await connection.close()
        await connection.close()
        await connection.abort()
        await connection.write_eof()
        for call in (lambda: connection.read(1), lambda: connection.write(b"x")):
            try:
                await call()
            except OSError as error:
                seen.append(type(error))

    async def scene(machine: FakeMachine) -> None:
        await machine.send(opening())
        assert (await machine.expect(wire.DATA))[2] == b"last"
        assert (await machine.next_frame())[0] == wire.END
        assert await machine.next_frame() == (wire.CLOSE, FIRST, wire.FINISH)
        await until(lambda: len(seen) == 2)

    play(scene, Handler(closes))
    assert seen == [ConnectionResetError] * 2


# -- anything --------------------------------------------------------------------------------------------------------

json_values = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.lists(st.none())
)
messages = st.fixed_dictionaries(
    {},
    optional={
        "op": st.sampled_from(["connect", "connect", "connect", "refused", "lookup", "opening", "exec"])
        | json_values,
        "asked": st.integers(FIRST, FIRST + 2) | json_values,
        "via": st.sampled_from(["proxy", "direct"]) | json_values,
        "name": json_values,
        "address": st.just("198.18.1.0") | json_values,
        "port": st.integers(-1, 65536) | json_values,
        "protocol": st.sampled_from(["tcp", "udp", "icmp"]) | json_values,
    },
)
payloads = st.one_of(
    st.binary(max_size=10),
    st.sampled_from([b"\0", b"\1", b"\2", b"", b"\0\0\0\0\1", b"x" * 65536]),
    messages.map(lambda value: json.dumps(value).encode()),
)
kinds = st.sampled_from([wire.OPEN, wire.DATA, wire.END, wire.GRANT, wire.CLOSE]) | st.sampled_from(
    sorted(wire.KINDS)
)
streams = st.integers(FIRST, FIRST + 2) | st.sampled_from([1, FIRST - 1, 2**32 - 1])
likely = st.tuples(st.just(wire.OPEN), st.integers(FIRST, FIRST + 2), st.just(json.dumps(PROXY).encode()))


@settings(max_examples=examples(200))
@given(st.lists(likely | st.tuples(kinds, streams, payloads), max_size=30))
def test_any_frames_end_in_a_typed_error_or_in_none_and_hold_a_window_at_most(sent: list[wire.Frame]) -> None:
    held: list[int] = []

    async def looks(connection: Connection) -> None:
        assert isinstance(connection, connections.MuxConnection)
        try:
            await connection.write(b"y" * 100)
            await asyncio.Event().wait()
        finally:
            held.append(len(connection._inbox))

    handler = Handler(looks)

    async def scene(machine: FakeMachine) -> None:
        for frame in sent:
            await machine.send(wire.encode(*frame))
        machine.end_of_stream()
        await machine.mux.gone.wait()
        with pytest.raises(SandboxError):
            machine.mux.check()
        await until(lambda: handler.active == 0)

    play(scene, handler)
    assert all(size <= wire.CONNECTION_WINDOW for size in held)
