"""`aegis trial diff` of a trial in a machine: the same, and what lies outside of the workspace."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from e2e_changes import AGENT, DIFF, LINE, SUITE
from e2e_command import DEADLINE_S, Aegis

pytestmark = [pytest.mark.e2e, pytest.mark.vm, pytest.mark.timeout(2 * DEADLINE_S)]

SYSTEM = """\
import os

os.remove("/etc/debian_version")
with open("/etc/passwd", "a") as file:
    file.write("mallory:x:0:0::/:/bin/sh\\n")
"""


def test_a_trial_in_a_machine_tells_the_same(aegis: Aegis, write_suite: Callable[..., Path]) -> None:
    folder = write_suite("changes", SUITE)
    (folder / "agent.py").write_text(AGENT)
    ran = aegis("eval", "run")
    assert ran.code == 1, ran
    assert f"refund/1 {LINE}\n" in ran.stdout, ran
    shown = aegis("trial", "diff", "latest/refund/1")
    assert (shown.code, shown.stdout, shown.stderr) == (0, DIFF, ""), shown
    assert "nothing was changed" in aegis("trial", "diff", "latest/calm/1").stdout


def test_the_whole_machine_is_looked_at(aegis: Aegis, write_suite: Callable[..., Path]) -> None:
    folder = write_suite("changes", SUITE)
    (folder / "agent.py").write_text(SYSTEM + AGENT)
    assert aegis("eval", "run", "-k", "refund").code == 1
    ran = aegis("trial", "diff", "latest/refund/1", "--json", "--path", "/etc/*")
    found = {each["path"]: each for each in json.loads(ran.stdout)["items"]}
    assert found.keys() == {"/etc/passwd", "/etc/debian_version"}
    before, after = found["/etc/passwd"]["text"]
    assert after == before + "mallory:x:0:0::/:/bin/sh\n"
    assert before.startswith("root:")
    assert found["/etc/debian_version"]["how"] == "deleted"
    assert found["/etc/debian_version"]["text"][0].strip()
