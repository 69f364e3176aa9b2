"""The host's side of the stream against machines that lie: only typed errors, no hang, no growth."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.errors import GuestOperationError, GuestProtocolError, SandboxError, SandboxLostError
from aegis.sandbox.guest import wire
from aegis.sandbox.mux import MuxProcess
from aegis.sandbox.operations import check_operation, collect
from support.fake_machine import FakeMachine, fake_machine
from support.fuzzing import examples
from support.sandbox_bench import DEADLINE_S

ENV: dict[str, str] = {}


def play(scene: Callable[[FakeMachine], Awaitable[None]], **options: Any) -> None:
    async def body() -> None:
        async with asyncio.timeout(DEADLINE_S), fake_machine(**options) as machine:
            await scene(machine)

    asyncio.run(body())


async def opened(machine: FakeMachine) -> MuxProcess:
    """A program that the machine says it has started."""
    starting = asyncio.ensure_future(machine.mux.exec(("x",), "/", ENV))
    _, stream, _ = await machine.expect(wire.OPEN)
    await machine.send(wire.encode_json(wire.OPENED, stream, {}))
    return await starting


def unread(process: MuxProcess) -> int:
    return sum(len(chunk) for inbox in process._inboxes for chunk in inbox._chunks)


BOUND = 2 * (wire.WINDOW + wire.FINAL_DRAIN)
"""What a program that nobody reads from may hold at most: both channels' windows, and what may follow a CLOSE."""


async def watch(process: MuxProcess) -> Exception | None:
    """Everything that a caller may do with a program, without reading it; how that ended."""
    try:
        await process.write(b"x" * 1000)
        await process.close_stdin()
        await process.signal(15)
        await process.wait()
        await process.kill()
    except SandboxError as error:
        return error
    return None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
messages = st.fixed_dictionaries(
    {},
    optional={
        "code": json_values,
        "signal": json_values,
        "duration": json_values,
        "alone": json_values,
        "error": json_values
        | st.fixed_dictionaries({}, optional={"code": json_values, "message": json_values}),
        "nonce": json_values,
        "protocol": json_values | st.just(wire.VERSION),
        "reason": json_values,
        "stream": json_values,
    },
)
payloads = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"\0", b"\1", b"\0\0\0\0\1", b"\0\xff\xff\xff\xff", b"x" * 65536]),
    messages.map(lambda value: json.dumps(value).encode()),
)
frames = st.tuples(st.sampled_from(sorted(wire.KINDS)), st.integers(0, 3), payloads)


@settings(max_examples=examples(150))
@given(st.lists(st.binary(max_size=200), max_size=10))
def test_arbitrary_bytes_end_every_call_with_a_typed_error(chunks: list[bytes]) -> None:
    async def scene(machine: FakeMachine) -> None:
        opening = asyncio.ensure_future(machine.mux.exec(("x",), "/", ENV))
        greeting = asyncio.ensure_future(machine.mux.hello())
        identity = asyncio.ensure_future(machine.mux.init({"nonce": "n"}))
        await machine.expect(wire.OPEN)
        await machine.send(*chunks)
        machine.end_of_stream()
        for call in await asyncio.gather(opening, greeting, identity, return_exceptions=True):
            assert call is None or isinstance(call, SandboxError | MuxProcess)
        await machine.mux.gone.wait()

    play(scene)


@settings(max_examples=examples(250))
@given(st.lists(frames, max_size=40))
def test_well_formed_frames_in_any_order_neither_hang_nor_grow(sent: list[wire.Frame]) -> None:
    async def scene(machine: FakeMachine) -> None:
        opening = [asyncio.ensure_future(machine.mux.exec(("x",), "/", ENV)) for _ in range(2)]
        attaching = asyncio.ensure_future(machine.mux.attach("agent"))
        for _ in range(3):
            await machine.expect(wire.OPEN)
        processes = list(machine.mux._processes.values())
        watching = [asyncio.ensure_future(watch(process)) for process in processes]
        for frame in sent:
            await machine.send(wire.encode(*frame))
        machine.end_of_stream()
        for call in await asyncio.gather(*opening, attaching, *watching, return_exceptions=True):
            assert call is None or isinstance(call, SandboxError | MuxProcess)
        assert all(unread(process) <= BOUND for process in processes)

    play(scene, first_stream=2, prepared={"agent": 1})


def broken(*data: bytes) -> Callable[[FakeMachine], Awaitable[None]]:
    """A scene: a program runs as stream 1, then the machine sends this, and everything ends."""

    async def scene(machine: FakeMachine) -> None:
        process = await opened(machine)
        waiting = asyncio.ensure_future(process.wait())
        await machine.send(*data)
        with pytest.raises(GuestProtocolError):
            await waiting
        with pytest.raises(GuestProtocolError):
            await machine.mux.exec(("x",), "/", ENV)
        with pytest.raises(GuestProtocolError):
            await process.kill()
        assert unread(process) <= BOUND

    return scene


DATA_64K = wire.encode(wire.DATA, 1, b"x" * 65536)


@pytest.mark.parametrize(
    "data",
    [
        [wire.HEADER.pack(2**32 - 1, wire.DATA, 1)],
        [wire.HEADER.pack(0, 200, 1)],
        [DATA_64K] * 5,
        [wire.encode(wire.DATA_ERR, 1, b"x" * 65536)] * 5,
        [wire.encode(wire.END, 1, b"\0"), wire.encode(wire.DATA, 1, b"x")],
        [wire.encode(wire.END, 1, b"\2")],
        [wire.encode_json(wire.OPENED, 1, {})],
        [wire.encode_grant(1, 0, 1)],
        [wire.encode_grant(1, 0, 2**32 - 1)],
        [wire.encode(wire.GRANT, 1, b"\0")],
        [wire.encode(wire.DATA, 2, b"x")],
        [wire.encode(wire.CLOSE, wire.FIRST_CONNECTION - 1)],
        [wire.encode_json(wire.EXIT, 1, {})],
        [wire.encode_json(wire.EXIT, 1, {"code": 256})],
        [wire.encode_json(wire.EXIT, 1, {"code": -1})],
        [wire.encode_json(wire.EXIT, 1, {"code": True})],
        [wire.encode_json(wire.EXIT, 1, {"code": "0"})],
        [wire.encode_json(wire.EXIT, 1, {"code": 0.0})],
        [wire.encode_json(wire.EXIT, 1, {"signal": 65})],
        [wire.encode_json(wire.EXIT, 1, {"code": 0, "duration": -1})],
        [wire.encode_json(wire.EXIT, 1, {"code": 0, "duration": 1e300})],
        [wire.encode(wire.EXIT, 1, b'{"code": 0, "duration": NaN}')],
        [wire.encode(wire.EXIT, 1, b"[" * 60_000)],
        [wire.encode(wire.EXIT, 1, b"\xff")],
        [wire.encode_json(wire.INIT, 1, {})],
        [wire.encode_json(wire.OPEN, 1, {"op": "exec"})],
        [wire.encode_json(wire.OPEN, 0, {"op": "exec"})],
        [wire.encode(wire.DATA, 0, b"x")],
        [wire.encode_json(wire.HELLO, 0, {"protocol": wire.VERSION + 1})],
        [wire.encode(wire.HELLO, 0, b"null")],
        [wire.encode(wire.READY, 0, b"[]")],
    ],
)
def test_what_the_protocol_does_not_allow_ends_the_connection(data: list[bytes]) -> None:
    play(broken(*data))


def test_the_window_is_exact() -> None:
    async def scene(machine: FakeMachine) -> None:
        process = await opened(machine)
        await machine.send(*[DATA_64K] * 4)
        await machine.send(wire.encode_json(wire.EXIT, 1, {"code": 0}))
        assert (await process.wait()).ok
        assert unread(process) == wire.WINDOW
        chunks = process.stdout()
        assert len(await anext(chunks)) == wire.WINDOW
        # The reader had the bytes, so that as many may follow.
        await machine.expect(wire.GRANT, 1)
        await machine.send(*[DATA_64K] * 4)
        assert len(await anext(chunks)) > 0

    play(scene)


@pytest.mark.parametrize("earlier", [0, 1], ids=["first", "repeated"])
def test_an_acknowledgement_that_nobody_asked_for_ends_the_connection(earlier: int) -> None:
    async def scene(machine: FakeMachine) -> None:
        for _ in range(earlier):
            asking = asyncio.ensure_future(machine.mux.init({"nonce": "n"}))
            await machine.expect(wire.INIT)
            await machine.send(wire.encode_json(wire.READY, 0, {"nonce": "n"}))
            await asking
        await machine.send(wire.encode_json(wire.READY, 0, {"nonce": "guessed"}))
        await machine.mux.gone.wait()
        with pytest.raises(GuestProtocolError):
            await machine.mux.init({"nonce": "real"})

    play(scene)


@pytest.mark.parametrize("nonce", ["other", None, ["real"], {"real": 1}])
def test_another_nonce_is_no_acknowledgement(nonce: object) -> None:
    async def scene(machine: FakeMachine) -> None:
        asking = asyncio.ensure_future(machine.mux.init({"nonce": "real"}))
        await machine.expect(wire.INIT)
        await machine.send(wire.encode_json(wire.READY, 0, {"nonce": nonce}))
        with pytest.raises(GuestProtocolError):
            await asking

    play(scene)


def test_an_identity_may_be_given_twice() -> None:
    async def scene(machine: FakeMachine) -> None:
        for nonce in ("first", "second"):
            asking = asyncio.ensure_future(machine.mux.init({"nonce": nonce}))
            await machine.expect(wire.INIT)
            await machine.send(wire.encode_json(wire.READY, 0, {"nonce": nonce}))
            await asking

    play(scene)


def test_frames_for_a_stream_that_has_ended_are_ignored() -> None:
    async def scene(machine: FakeMachine) -> None:
        process = await opened(machine)
        await machine.send(wire.encode_json(wire.EXIT, 1, {"code": 0}), wire.encode(wire.CLOSE, 1))
        await process.kill()
        await machine.send(*[DATA_64K] * 20, wire.encode_json(wire.OPENED, 1, {}), wire.encode_grant(1, 1, 5))
        assert await (await opened(machine)).close_stdin() is None

    play(scene)


def test_a_machine_that_says_it_goes_down_was_ended_from_inside() -> None:
    async def scene(machine: FakeMachine) -> None:
        process = await opened(machine)
        await machine.send(wire.encode_json(wire.DOWN, 0, {"reason": "bye\x1b[2J\ud800"}))
        with pytest.raises(SandboxLostError, match="went down") as lost:
            await process.wait()
        assert lost.value.by_guest
        assert str(lost.value).isprintable()
        machine.mux.fail(SandboxLostError("the monitor ended"))
        with pytest.raises(SandboxLostError) as lost:
            machine.mux.check()
        assert lost.value.by_guest, "what the machine said stays the reason"

    play(scene)


def test_a_refusal_is_bounded_and_printable_whatever_the_machine_says() -> None:
    odd: list[Any] = [
        {"code": "not-found", "message": "x" * 60_000},
        {"code": ["list"], "message": {"a": 1}},
        {"code": {"a": 1}},
        {"code": "made-up", "message": "\x1b]0;title\x07\n\u202e\ud800"},
        {},
    ]

    async def scene(machine: FakeMachine) -> None:
        for error in odd:
            opening = asyncio.ensure_future(machine.mux.exec(("x",), "/", ENV))
            _, stream, _ = await machine.expect(wire.OPEN)
            await machine.send(wire.encode_json(wire.OPENED, stream, {"error": error}))
            with pytest.raises(GuestOperationError) as refused:
                await opening
            assert refused.value.code in ("not-found", "failed")
            assert len(str(refused.value)) <= 2000
            assert str(refused.value).isprintable()
        for error in ("text", 5, [1]):
            opening = asyncio.ensure_future(machine.mux.exec(("x",), "/", ENV))
            _, stream, _ = await machine.expect(wire.OPEN)
            await machine.send(wire.encode_json(wire.OPENED, stream, {"error": error}))
            with pytest.raises(GuestProtocolError):
                await opening

    play(scene)


@given(st.binary(max_size=100) | json_values.map(lambda value: json.dumps(value).encode()))
def test_what_a_file_operation_says_of_its_failure_may_be_anything(report: bytes) -> None:
    from aegis.sandbox.base import ExitStatus

    with pytest.raises(SandboxError):
        check_operation(ExitStatus(3, None, 0.0), report)


def test_an_operation_that_sends_more_than_was_asked_for_is_ended() -> None:
    async def scene(machine: FakeMachine) -> None:
        process = await opened(machine)
        collecting = asyncio.ensure_future(collect(process, b"", 100_000))
        await machine.send(*[DATA_64K] * 2)
        with pytest.raises(GuestProtocolError, match="more than"):
            await collecting

    play(scene)


def test_the_last_bytes_after_a_close_are_taken_and_no_more() -> None:
    async def scene(machine: FakeMachine) -> None:
        process = await opened(machine)
        await machine.send(*[DATA_64K] * 4)
        killing = asyncio.ensure_future(process.kill())
        await machine.expect(wire.CLOSE)
        await machine.send(DATA_64K)
        await machine.send(wire.encode(wire.CLOSE, 1))
        await killing
        assert unread(process) == wire.WINDOW + wire.FINAL_DRAIN
        assert (await process.wait()).signal == 9

        second = await opened(machine)
        killing = asyncio.ensure_future(second.kill())
        await machine.expect(wire.CLOSE)
        await machine.send(*[wire.encode(wire.DATA, second.stream, b"x" * 65536)] * 6)
        with pytest.raises(GuestProtocolError):
            await killing

    play(scene)


def test_a_machine_that_hangs_up_ends_every_waiting_call() -> None:
    async def scene(machine: FakeMachine) -> None:
        process = await opened(machine)
        calls = [
            asyncio.ensure_future(process.wait()),
            asyncio.ensure_future(anext(process.stdout(), b"")),
            asyncio.ensure_future(process.write(b"x" * 2 * wire.WINDOW)),
            asyncio.ensure_future(process.kill()),
            asyncio.ensure_future(machine.mux.exec(("x",), "/", ENV)),
            asyncio.ensure_future(machine.mux.init({"nonce": "n"})),
        ]
        await machine.expect(wire.INIT)
        machine.hang_up()
        ended = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(each) for each in ended] == [SandboxLostError] * len(calls)

    play(scene)


def test_a_request_longer_than_a_frame_is_refused_here() -> None:
    async def scene(machine: FakeMachine) -> None:
        with pytest.raises(GuestOperationError) as refused:
            await machine.mux.exec(("x", "y" * 70_000), "/", ENV)
        assert refused.value.code == "bad-request"
        await opened(machine)

    play(scene)
