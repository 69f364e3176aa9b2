"""The guest program under any host: it answers, or says why it ends. It is never silent."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.sandbox.guest import wire
from support.fuzzing import examples
from support.guest_program import ENV, GuestProgram, guest_program, wait_until_gone

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
commands = st.sampled_from([["true"], ["cat"], ["sh", "-c", "echo x; exit 3"], ["no-such"], [], ["a\0b"]])
# No `clock`: it would set the clock of the host that runs the test.
messages = st.fixed_dictionaries(
    {},
    optional={
        "op": st.sampled_from(["exec", "put", "get", "tree", "prepare", "attach", "rest", "other"])
        | json_values,
        "argv": commands | json_values,
        "cwd": st.sampled_from(["/", "none"]) | json_values,
        "env": st.just(ENV) | json_values,
        "name": st.sampled_from(["one", "two"]) | json_values,
        "path": st.sampled_from(["/", "x", "../.."]) | json_values,
        "max": st.integers(0, 1000) | json_values,
        "terminal": st.just([24, 80]) | json_values,
        "no_input": st.booleans() | json_values,
        "ready": st.booleans() | json_values,
        "number": st.sampled_from([0, 15, 9, 65, -1, 2**70]) | json_values,
        "rows": st.integers(-1, 70_000) | json_values,
        "columns": st.integers(-1, 70_000) | json_values,
        "nonce": json_values,
    },
)
payloads = messages.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=30)
frames = st.tuples(st.sampled_from(sorted(wire.KINDS)), st.integers(0, 4), payloads)


def answers_or_says_why(guest: GuestProgram) -> None:
    """It still starts a program, or its last frame before it hangs up is DOWN."""
    guest.next_stream = 1000
    guest.send(
        wire.encode_json(
            wire.OPEN, 1000, {"op": "exec", "argv": ["true"], "cwd": "/", "env": ENV, "no_input": True}
        )
    )
    last = None
    while (frame := guest.receive()) is not None:
        if frame[:2] == (wire.OPENED, 1000):
            return
        last = frame
    assert last is not None
    assert last[0] == wire.DOWN, last
    assert json.loads(last[2])["reason"]


@settings(max_examples=examples(25))
@given(st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=6))
def test_arbitrary_bytes(chunks: list[bytes]) -> None:
    with TemporaryDirectory() as folder, guest_program(Path(folder) / "root") as guest:
        for chunk in chunks:
            guest.send(chunk)
        # Enough zeroes to end whatever frame they are a part of; then the probe is no frame any more.
        guest.half_close()
        frames_left = guest.rest()
        assert all(frame[0] in wire.KINDS for frame in frames_left)
        assert guest.process.wait(60) == 0, "it ended by its own decision"


@settings(max_examples=examples(60))
@given(st.lists(frames, min_size=1, max_size=15))
def test_well_formed_frames_in_any_order(sent: list[wire.Frame]) -> None:
    with TemporaryDirectory() as folder, guest_program(Path(folder) / "root") as guest:
        guest.send(b"".join(wire.encode(*frame) for frame in sent))
        answers_or_says_why(guest)


BROKEN: list[bytes] = [
    wire.HEADER.pack(2**32 - 1, wire.DATA, 1),
    wire.HEADER.pack(0, 99, 1),
    wire.encode(wire.OPEN, 1, b"no json"),
    wire.encode(wire.OPEN, 1, b"[]"),
    wire.encode(wire.OPEN, 1, b"[" * 60_000),
    wire.encode_json(wire.OPEN, 1, {"op": "attach"}),
    wire.encode_json(wire.OPEN, 1, {"op": "prepare", "name": ["list"]}),
    wire.encode_json(wire.INIT, 0, {}),
]


@pytest.mark.parametrize("data", BROKEN)
def test_a_host_that_breaks_the_protocol_is_told_so(data: bytes, tmp_path: Path) -> None:
    with guest_program(tmp_path / "root") as guest:
        guest.send(data)
        [*_, last] = guest.rest()
        assert last[:2] == (wire.DOWN, 0)
        assert "broke the protocol" in json.loads(last[2])["reason"]
        assert guest.process.wait(60) == 0
    wait_until_gone(tmp_path / "root")


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"op": None},
        {"op": "format-disk"},
        {"op": "exec"},
        {"op": "exec", "argv": [], "cwd": "/", "env": {}},
        {"op": "exec", "argv": "text", "cwd": "/", "env": {}},
        {"op": "exec", "argv": ["true"], "cwd": "/", "env": []},
        {"op": "exec", "argv": ["true"], "cwd": 5, "env": {}},
        {"op": "exec", "argv": [1, 2], "cwd": "/", "env": {}},
        {"op": "exec", "argv": ["true"], "cwd": "/", "env": ENV, "terminal": [1]},
        {"op": "exec", "argv": ["true"], "cwd": "/", "env": ENV, "terminal": [-1, 70000]},
        {"op": "exec", "argv": ["true"], "cwd": "/", "env": ENV, "terminal": "big"},
    ],
)
def test_a_request_that_makes_no_sense_is_refused(request_: dict[str, Any], tmp_path: Path) -> None:
    with guest_program(tmp_path / "root") as guest:
        _, answer = guest.open(request_)
        assert answer["error"]["code"] == "bad-request"
        assert guest.execute("echo fine") == b"fine\n"


def test_frames_that_a_machine_sends_and_frames_for_nobody_are_ignored(tmp_path: Path) -> None:
    with guest_program(tmp_path / "root") as guest:
        for kind in (
            wire.HELLO,
            wire.READY,
            wire.DOWN,
            wire.OPENED,
            wire.EXIT,
            wire.DATA,
            wire.END,
            wire.CLOSE,
        ):
            guest.send(wire.encode(kind, 77, b"\0"))
        assert guest.execute("echo fine") == b"fine\n"


def test_a_stream_number_in_use_is_refused(tmp_path: Path) -> None:
    with guest_program(tmp_path / "root") as guest:
        stream, _ = guest.open({"op": "exec", "argv": ["cat"], "cwd": "/", "env": ENV})
        guest.next_stream = stream
        _, answer = guest.open({"op": "exec", "argv": ["cat"], "cwd": "/", "env": ENV})
        assert answer["error"]["code"] == "bad-request"


def test_credit_bounds_what_it_sends(tmp_path: Path) -> None:
    with guest_program(tmp_path / "root") as guest:
        script = "head -c 1000000 /dev/zero"
        stream, _ = guest.open({"op": "exec", "argv": ["sh", "-c", script], "cwd": "/", "env": ENV})
        received = 0
        while received <= wire.WINDOW - wire.WORTHWHILE:
            received += len(guest.expect(wire.DATA, stream))
        # Whatever it would send unasked would come before the answer to this.
        probe, _ = guest.open({"op": "exec", "argv": ["sleep", "0.5"], "cwd": "/", "env": ENV})
        while (frame := guest.receive()) is not None and frame[:2] != (wire.EXIT, probe):
            received += len(frame[2]) if frame[:2] == (wire.DATA, stream) else 0
        assert wire.WINDOW - wire.WORTHWHILE < received <= wire.WINDOW
        # It waits until there is credit for a frame that is worth its head.
        left = wire.WINDOW - received
        for amount in (10, wire.WORTHWHILE - left - 10):
            guest.send(wire.encode_grant(stream, 0, amount))
        assert len(guest.expect(wire.DATA, stream)) == wire.WORTHWHILE


def test_it_gives_back_exactly_the_credit_that_was_used(tmp_path: Path) -> None:
    for terminal in (None, [24, 80]):
        with guest_program(tmp_path / str(bool(terminal))) as guest:
            request = {"op": "exec", "argv": ["cat"], "cwd": "/", "env": ENV}
            stream, _ = guest.open({**request, "terminal": terminal} if terminal else request)
            guest.send(wire.encode(wire.DATA, stream, b"hello\n"))
            guest.send(wire.encode(wire.END, stream, b"\0"))
            granted, frame = 0, guest.receive()
            while frame is not None and frame[:2] != (wire.EXIT, stream):
                if frame[0] == wire.GRANT:
                    granted += wire.decode_grant(frame[2])[1]
                frame = guest.receive()
            assert granted == 6


def test_closing_what_has_not_begun_leaves_nothing(tmp_path: Path) -> None:
    with guest_program(tmp_path / "root") as guest:
        script = "echo started >> ../started; sleep 1000"
        request = {"op": "exec", "argv": ["sh", "-c", script], "cwd": ".", "env": ENV}
        for stream in range(1, 21):
            guest.send(wire.encode_json(wire.OPEN, stream, request) + wire.encode(wire.CLOSE, stream))
        closed = set()
        while len(closed) < 20:
            frame = guest.receive()
            assert frame is not None
            if frame[0] == wire.CLOSE:
                closed.add(frame[1])
        guest.next_stream = 100
        assert guest.execute("sleep 0.5; echo fine") == b"fine\n"
    wait_until_gone(tmp_path / "root")


def test_it_ends_with_its_connection_and_takes_its_folder_along(tmp_path: Path) -> None:
    with guest_program(tmp_path / "root") as guest:
        guest.open({"op": "exec", "argv": ["sleep", "1000"], "cwd": "/", "env": ENV})
        guest.half_close()
        guest.rest()
        assert guest.process.wait(60) == 0
        wait_until_gone(tmp_path / "root")
