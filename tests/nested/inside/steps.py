"""Program: what is checked inside the KVM host. Its results go out through the serial port `out` as a tar archive.

Every step is a user's command. Standard library only.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CHECKOUT = Path("/srv/checkout")
RESULTS = Path("/run/results")
USER = ("setpriv", "--reuid=1000", "--regid=1000", "--groups=105", "--")
"""Somebody who may use KVM, and is not root."""
STEP_DEADLINE_S = 1200

TESTS = (
    "test_qemu_driver.py::TestExec::test_a_conversation_streams_both_ways",
    "test_qemu_driver.py::TestEnding::test_kill_ends_all_that_a_program_started[double-fork]",
    "test_qemu_driver.py::TestAttach::test_a_prepared_program_continues_where_it_was",
    "test_qemu_driver_files.py::TestPut::test_the_templates_files_and_steps_are_there",
    "test_qemu_driver_files.py::TestTree::test_a_folder_comes_out",
    "test_qemu_driver.py::TestLife::test_sandboxes_are_independent_of_each_other",
    "test_qemu_driver.py::TestLife::test_stop_leaves_nothing_on_the_host",
    "test_qemu_driver.py::test_it_claims_a_boundary_for_hardware_virtualisation_only",
    "test_confinement.py::test_the_monitor_runs_as_nobody_without_privileges",
    "test_fresh_machines.py::test_four_clones_have_entropy_names_and_a_clock_of_their_own",
)
"""Of tests/vm: what hardware virtualisation could change. The rest of it runs there, against software emulation."""

SUITE = """\
suite: hardware
agent: {protocol: text, command: "cat; nproc"}
cases:
  - {id: first, input: hello, expect: [{answer: {contains: hello}}]}
  - {id: second, input: there, expect: [{answer: {contains: there}}]}
"""


def main() -> None:
    RESULTS.mkdir()
    steps = [doctor(), driver(), evaluation()]
    summary = {
        "steps": steps,
        "accelerations": accelerations(),
        "uptime_s": float(Path("/proc/uptime").read_text().split()[0]),
    }
    (RESULTS / "summary.json").write_text(json.dumps(summary, indent=1))
    send()


def doctor() -> dict[str, Any]:
    """The probe, which boots a kernel."""
    return step("doctor", [sys.executable, "-m", "aegis", "doctor", "--json"], output=RESULTS / "doctor.json")


def driver() -> dict[str, Any]:
    """The driver's contract, as root."""
    options = ["-v", "-p", "no:cacheprovider", "--timeout=900", f"--junit-xml={RESULTS}/driver.xml"]
    tests = [f"{CHECKOUT}/tests/vm/{name}" for name in TESTS]
    return step("driver", [sys.executable, "-m", "pytest", *options, *tests])


def evaluation() -> dict[str, Any]:
    """A suite from its file to its verdict, as an ordinary user."""
    project = Path("/tmp/project")
    (project / "evals").mkdir(parents=True)
    (project / "aegis.toml").touch()
    (project / "evals/hardware.yaml").write_text(SUITE)
    for path in (project, *project.rglob("*")):
        os.chown(path, 1000, 1000)
    words = ("eval", "run", "--suite", "hardware", "--isolation=vm", "--require-kvm", "--json", "run.json")
    done = step("eval", [*USER, sys.executable, "-m", "aegis", *words], cwd=project)
    if (project / "run.json").exists():
        (RESULTS / "run.json").write_bytes((project / "run.json").read_bytes())
    return done


def step(name: str, argv: Sequence[str], cwd: Path = CHECKOUT, output: Path | None = None) -> dict[str, Any]:
    """Run a command. What it says goes to the console, so that it is there even when this machine is ended."""
    print(f"payload: {name}", flush=True)
    begun = time.monotonic()
    with open(output or "/dev/stdout", "wb") as out:
        try:
            code = subprocess.run(
                argv, cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, timeout=STEP_DEADLINE_S
            ).returncode
        except subprocess.TimeoutExpired:
            code = -1
    duration_s = round(time.monotonic() - begun, 1)
    print(f"payload: {name} ended with exit code {code} after {duration_s} s", flush=True)
    return {"name": name, "code": code, "duration_s": duration_s}


def accelerations() -> list[str]:
    """What the machines of every template that was made here ran on."""
    found = Path("/srv/cache/templates").glob("*/meta.json")
    return sorted({json.loads(path.read_text())["accel"] for path in found})


def send() -> None:
    port = next(path for path in Path("/sys/class/virtio-ports").iterdir() if _name(path) == "out")
    with open(f"/dev/{port.name}", "wb") as stream, tarfile.open(fileobj=stream, mode="w|") as archive:
        archive.add(RESULTS, ".")


def _name(port: Path) -> str:
    try:
        return (port / "name").read_text().strip()
    except OSError:
        return ""


if __name__ == "__main__":
    main()
