"""A host without QEMU: the right exit code, and the fix in the message."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from e2e_command import AEGIS, Aegis

pytestmark = pytest.mark.e2e

ECHO = """\
suite: echo
agent: {command: cat, protocol: text}
cases:
  - {id: same, input: hello, expect: [{answer: {contains: hello}}]}
"""


@pytest.fixture
def path_without_qemu(tmp_path: Path) -> str:
    """A PATH that has every program of this host but QEMU and Firecracker."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for source in ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"):
        for program in Path(source).glob("*"):
            link = folder / program.name
            if not program.name.startswith(("qemu", "firecracker", "jailer")) and not link.is_symlink():
                link.symlink_to(program)
    return f"{AEGIS.parent}:{folder}"


def test_a_run_exits_3_and_says_what_to_install(
    aegis: Aegis, write_suite: Callable[..., Path], path_without_qemu: str
) -> None:
    write_suite("echo", ECHO)
    ran = aegis("eval", "run", "--suite", "echo", "--isolation=vm", env={"PATH": path_without_qemu})
    assert ran.code == 3, ran
    assert "qemu-system-x86" in ran.stderr
    assert "install" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_doctor_says_the_same(aegis: Aegis, path_without_qemu: str) -> None:
    ran = aegis("doctor", env={"PATH": path_without_qemu})
    assert ran.code == 3, ran
    assert "qemu-system-x86" in ran.stdout
    assert "install" in ran.stdout
