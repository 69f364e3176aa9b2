"""What a machine says was changed in it is checked before anyone believes it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from aegis.errors import GuestProtocolError
from aegis.sandbox import changes
from aegis.sandbox.base import Change, Changes

BOUNDS = {"max_items": 3, "max_file_bytes": 8, "max_bytes": 12}


def item(**other: Any) -> dict[str, Any]:
    return {
        "path": "/workspace/a",
        "how": "changed",
        "kind": "file",
        "bytes": [1, 2],
        "mode": [0o644, 0o600],
        "content": [text(b"a"), text(b"bb")],
    } | other


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def read(*lines: dict[str, Any], more: Any = 0, end: bytes = b"\n") -> Changes:
    written = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    return changes.read(written + json.dumps({"more": more}).encode() + end, **BOUNDS)


def test_an_answer_as_it_should_be() -> None:
    assert read(item(), more=7) == Changes(
        (Change("/workspace/a", "changed", "file", 1, 2, b"a", b"bb", 0o644, 0o600),), 7
    )
    assert read() == Changes(())


def test_items_come_in_the_order_of_their_paths() -> None:
    gone = item(
        path="/a", how="deleted", bytes=[None, None], mode=[1, None], content=[None, None], kind="folder"
    )
    new = item(path="/a", how="added", bytes=[None, 1], mode=[None, 1], content=[None, None])
    assert [(each.path, each.how) for each in read(item(), new, gone).items] == [
        ("/a", "deleted"),
        ("/a", "added"),
        ("/workspace/a", "changed"),
    ]


def test_bytes_of_a_path_that_are_no_text_are_kept() -> None:
    (found,) = read(item(path="/a\udcff\n")).items
    assert found.path == "/a\udcff\n"


@pytest.mark.parametrize(
    "bad",
    [
        {"path": "a"},
        {"path": "/"},
        {"path": "//a"},
        {"path": "/a/../b"},
        {"path": "/a/"},
        {"path": "/a\0"},
        {"path": "/\ud800"},
        {"path": "/" + "a" * 4096},
        {"path": None},
        {"path": ["/a"]},
        {"how": "moved"},
        {"how": ["added"]},
        {"kind": "device"},
        {"kind": None},
        {"bytes": [1]},
        {"bytes": [-1, 2]},
        {"bytes": [True, 2]},
        {"bytes": [1.5, 2]},
        {"bytes": {"0": 1, "1": 2}},
        {"mode": [0o100644, 0]},
        {"content": ["a", None]},
        {"content": ["ä", None]},
        {"content": [5, None]},
        {"content": [text(b"123456789"), None]},
        {"how": "added"},
        {"how": "deleted"},
    ],
    ids=repr,
)
def test_an_item_that_cannot_be_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(GuestProtocolError, match="broke the protocol: changes: "):
        read(item(**bad))


def test_more_than_was_asked_for_is_refused() -> None:
    with pytest.raises(GuestProtocolError, match="more lines than were asked for"):
        read(*(item(path=f"/{number}", content=[None, None]) for number in range(4)))
    with pytest.raises(GuestProtocolError, match="more contents than were asked for"):
        read(*(item(path=f"/{number}", content=[text(b"1234"), text(b"123")]) for number in range(2)))
    with pytest.raises(GuestProtocolError, match="comes twice"):
        read(item(), item())


@pytest.mark.parametrize("more", [None, -1, "1", 1 << 50, True])
def test_a_number_of_more_that_is_none_is_refused(more: Any) -> None:
    with pytest.raises(GuestProtocolError):
        read(item(), more=more)


@pytest.mark.parametrize(
    "answer",
    [b"", b"\n", b'{"more": 0}', b"[]\n", b"x\n", b"[" * 100_000 + b"\n", b'{"more": 0}\n{}\n', b"\xff\n"],
)
def test_what_is_no_answer_is_refused(answer: bytes) -> None:
    with pytest.raises(GuestProtocolError):
        changes.read(answer, **BOUNDS)
