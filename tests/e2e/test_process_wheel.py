"""The wheel works where no checkout is near."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from e2e_command import CHECKOUT, DEADLINE_S, environment, read_json, run_aegis

from aegis.faults import registry

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(DEADLINE_S)]


def call(*argv: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        argv, cwd=cwd, env=environment(), capture_output=True, encoding="utf-8", timeout=DEADLINE_S
    )
    assert done.returncode == 0, f"{argv}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of a new virtual environment that holds the wheel and what it needs."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    unwanted = shutil.ignore_patterns(".git", ".venv", ".aegis", "__pycache__", ".*_cache", "dist", "build")
    shutil.copytree(CHECKOUT, source, ignore=unwanted)
    call(sys.executable, "-m", "build", "--wheel", "--outdir", folder / "dist", source, cwd=folder)
    (wheel,) = (folder / "dist").glob("aegis_evals-*.whl")
    shutil.rmtree(source)
    venv.create(folder / "env", with_pip=True)
    binaries = folder / "env" / "bin"
    call(binaries / "python", "-m", "pip", "install", "--quiet", wheel, cwd=folder)
    return binaries


def test_it_comes_from_the_wheel_and_not_from_the_checkout(installed: Path, tmp_path: Path) -> None:
    place = call(installed / "python", "-c", "import aegis; print(aegis.__file__)", cwd=tmp_path)
    assert Path(place.strip()).is_relative_to(installed.parent)


def test_the_profiles_of_faults_come_with_it(installed: Path, tmp_path: Path) -> None:
    listed = json.loads(call(installed / "aegis", "faults", "list", "--json", cwd=tmp_path))
    assert {"flaky-production", "openai"} <= {item["name"] for item in listed["profiles"]}
    assert len(listed["faults"]) == len(registry.names())


def test_the_program_before_mcp_servers_comes_with_it(installed: Path, tmp_path: Path) -> None:
    told = call(installed / "aegis-mcp-tap", "--", "echo", "what a server says", cwd=tmp_path)
    assert told == "what a server says\n"


def test_init_and_run_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    check_init_and_run(installed, tmp_path, "--isolation=none")


@pytest.mark.vm
def test_init_and_run_in_an_empty_folder_in_a_vm(installed: Path, tmp_path: Path) -> None:
    check_init_and_run(installed, tmp_path, "--isolation=vm")


def check_init_and_run(installed: Path, folder: Path, isolation: str) -> None:
    program = installed / "aegis"
    made = run_aegis("init", cwd=folder, program=program)
    assert made.code == 0, made
    (suite,) = (folder / "evals").glob("*.yaml")
    ran = run_aegis(
        "eval", "run", "--suite", suite.stem, isolation, "--json", "out.json", cwd=folder, program=program
    )
    assert ran.code == 0, ran
    assert read_json(folder / "out.json")["verdict"] == "PASS"
