"""What stands before the VMM until its end with ours is certain."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

from aegis.sandbox.qemu.launch import GATE

DEADLINE_S = 60


def gated(program: tuple[str, ...], answer: bytes) -> int:
    """Run a program behind the gate, whose other end says `answer` and closes; its exit code."""
    ours, theirs = socket.socketpair()
    with ours, theirs, subprocess.Popen([*GATE, *program], stdin=theirs) as process:
        theirs.close()
        ours.settimeout(DEADLINE_S)
        assert ours.recv(16) == b"armed\n"
        ours.sendall(answer)
        ours.close()
        return process.wait(DEADLINE_S)


def test_the_program_begins_when_it_is_told_to(tmp_path: Path) -> None:
    assert gated(("touch", str(tmp_path / "begun")), b"go\n") == 0
    assert (tmp_path / "begun").exists()


def test_it_never_begins_when_nobody_is_left_to_tell(tmp_path: Path) -> None:
    assert gated(("touch", str(tmp_path / "begun")), b"") != 0
    assert not (tmp_path / "begun").exists()


def test_its_words_arrive_as_they_are(tmp_path: Path) -> None:
    odd = tmp_path / "a b'c\"$(d)*"
    assert gated(("touch", str(odd)), b"go\n") == 0
    assert odd.exists()
