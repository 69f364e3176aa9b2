"""Nothing that a trial writes is there for another one, in whatever order they run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from e2e_command import DEADLINE_S, Aegis, outcomes, read_json

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(DEADLINE_S)]

# Every trial says what it finds and leaves a note behind; the second case wants to find one.
LEAK = """\
suite: leak
trials: 2
agent:
  protocol: text
  command: "for d in {places}; do cat $d/note; echo a-note-was-left > $d/note; done 2>/dev/null; echo done"
cases:
  - {{id: leave-a-note, input: go, expect: [{{answer: {{contains: done}}}}]}}
  - {{id: find-a-note, input: go, expect: [{{answer: {{contains: a-note-was-left}}}}]}}
"""


@pytest.mark.vm
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2, 3))])
def test_a_note_of_an_earlier_trial_is_never_found(
    aegis: Aegis, write_suite: Callable[..., Path], seed: int
) -> None:
    project = write_suite("leak", LEAK.format(places=". /dev/shm /tmp /var/tmp /root"))
    ran = aegis(
        *("eval", "run", "--suite", "leak", "--isolation=vm"),
        *("--seed", str(seed), "--jobs", "1", "--json", "out.json"),
    )
    assert ran.code == 1, ran
    assert outcomes(read_json(project / "out.json")) == {
        "leave-a-note": ["passed", "passed"],
        "find-a-note": ["failed", "failed"],
    }


def test_the_probe_itself_finds_a_note_where_nothing_is_isolated(
    aegis: Aegis, write_suite: Callable[..., Path], tmp_path: Path
) -> None:
    """The control: the same suite without machines, or the test above would prove nothing."""
    project = write_suite("leak", LEAK.format(places=tmp_path))
    ran = aegis(
        *("eval", "run", "--suite", "leak", "--isolation=none"),
        *("--seed", "0", "--jobs", "1", "--json", "out.json"),
    )
    assert ran.code in (0, 1), ran
    by_case = outcomes(read_json(project / "out.json"))
    assert by_case["leave-a-note"] == ["passed", "passed"]
    assert "passed" in by_case["find-a-note"]
