"""A connection that is made quiet, and another host side that goes on where the first one stood."""

from __future__ import annotations

import asyncio
import json

from aegis.sandbox.atrest import LinkAtRest
from aegis.sandbox.guest import wire
from support.fake_machine import FakeMachine, fake_machine
from support.sandbox_bench import DEADLINE_S


async def still(machine: FakeMachine) -> int:
    """Asks for silence and gets it; the stream that ends it."""
    asking = asyncio.ensure_future(machine.mux.still())
    _, stream, payload = await machine.expect(wire.OPEN)
    assert json.loads(payload) == {"op": "still"}
    await machine.send(wire.encode_json(wire.OPENED, stream, {}))
    await asking
    return stream


def test_what_is_said_meanwhile_follows_the_end_of_the_silence() -> None:
    async def scene() -> None:
        async with asyncio.timeout(DEADLINE_S), fake_machine() as machine:
            starting = asyncio.ensure_future(machine.mux.exec(("x",), "/", {}))
            _, stream, _ = await machine.expect(wire.OPEN)
            await machine.send(wire.encode_json(wire.OPENED, stream, {}))
            process = await starting
            silence = await still(machine)
            await process.write(b"later")
            await process.signal(10)
            assert machine.received == []
            machine.mux.go_on()
            machine.mux.go_on()
            assert await machine.next_frame() == (wire.CLOSE, silence, b"")
            assert await machine.next_frame() == (wire.DATA, stream, b"later")
            assert (await machine.next_frame())[0] == wire.SIGNAL

    asyncio.run(scene())


def test_another_host_side_goes_on_with_the_same_credit_and_what_was_not_read() -> None:
    async def scene() -> None:
        async with asyncio.timeout(DEADLINE_S), fake_machine() as machine:
            starting = asyncio.ensure_future(machine.mux.exec(("x",), "/", {}))
            _, stream, _ = await machine.expect(wire.OPEN)
            await machine.send(
                wire.encode_json(wire.OPENED, stream, {}),
                wire.encode(wire.DATA, stream, b"unread"),
                wire.encode(wire.END, stream, b"\x01"),
            )
            process = await starting
            await process.write(b"12345")
            silence = await still(machine)
            await process.write(b"678")
            rest = LinkAtRest.from_json(json.loads(json.dumps(machine.mux.at_rest().to_json())))
            assert rest == machine.mux.at_rest()
        async with asyncio.timeout(DEADLINE_S), fake_machine() as copy:
            copy.mux.take_up(rest)
            assert await copy.next_frame() == (wire.CLOSE, silence, b"")
            assert await copy.next_frame() == (wire.DATA, stream, b"678")
            again = copy.mux.program(stream)
            assert again is not None
            assert again.at_rest().credit == wire.WINDOW - 8
            assert await anext(aiter(again.stdout())) == b"unread"
            assert await copy.next_frame() == (wire.GRANT, stream, wire.CREDIT.pack(0, 6))
            assert [chunk async for chunk in again.stderr()] == []
            await copy.send(wire.encode_json(wire.EXIT, stream, {"code": 4, "duration": 1.0}))
            assert (await again.wait()).code == 4
            assert copy.mux.next_stream == silence + 1

    asyncio.run(scene())


def test_frames_of_connections_do_not_go_to_a_copy() -> None:
    async def scene() -> None:
        async with asyncio.timeout(DEADLINE_S), fake_machine() as machine:
            await still(machine)
            machine.mux.send(wire.CLOSE, wire.FIRST_CONNECTION, wire.RESET)
            machine.mux.send(wire.CLOSE, 1)
            assert machine.mux.at_rest().unsent == wire.encode(wire.CLOSE, 1)
            machine.mux.go_on()

    asyncio.run(scene())
