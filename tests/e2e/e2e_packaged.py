"""Examples that are made from a package of PyPI: each runs in a virtual environment of its own, as its README says.

The environments are kept in Aegis's cache, and made again when what they hold is no longer what is asked for.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from e2e_command import CHECKOUT, DEADLINE_S, Ran, environment, run_aegis

from aegis.sandbox.images.cache import cache_folder, exclusive

Run = Callable[..., Ran]


def copy_example(name: str, folder: Path, *, pip: tuple[str, ...] = ()) -> Run:
    """Copy the example into the folder. Returns what runs its `aegis eval run`, with `run.json` as the document.

    `pip` are the options with which the example's packages are installed."""
    ignore = shutil.ignore_patterns(".aegis", ".venv", "__pycache__")
    shutil.copytree(CHECKOUT / "examples" / name, folder, ignore=ignore, dirs_exist_ok=True)
    binaries = _environment(name, pip)
    path = f"{binaries}{os.pathsep}{os.environ['PATH']}"  # as when it is activated

    def run(*args: str) -> Ran:
        command = ("eval", "run", *args, "--json", "run.json")
        return run_aegis(*command, cwd=folder, env={"PATH": path}, program=binaries / "aegis")

    return run


def _environment(name: str, pip: tuple[str, ...]) -> Path:
    """The `bin` folder of an environment with the example's packages and this checkout."""
    where = hashlib.sha256(os.fsencode(CHECKOUT)).hexdigest()[:12]
    folder = cache_folder() / "examples" / f"{name}-{where}"
    requirements = CHECKOUT / "examples" / name / "requirements.txt"
    wanted = hashlib.sha256(
        b"\0".join(
            [
                requirements.read_bytes(),
                (CHECKOUT / "pyproject.toml").read_bytes(),
                " ".join([sys.version, *pip]).encode(),
            ]
        )
    ).hexdigest()
    stamp = folder / "made-from"
    with exclusive(folder.with_suffix(".lock"), what="an example's environment"):
        if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
            shutil.rmtree(folder, ignore_errors=True)
            _call(sys.executable, "-m", "venv", folder)
            install = (folder / "bin" / "python", "-m", "pip", "install", "--quiet")
            _call(*install, "--editable", CHECKOUT)
            _call(*install, *pip, "--requirement", requirements)
            stamp.write_text(wanted, encoding="utf-8")
    return folder / "bin"


def _call(*argv: str | Path) -> None:
    done = subprocess.run(argv, env=environment(), capture_output=True, encoding="utf-8", timeout=DEADLINE_S)
    assert done.returncode == 0, f"{argv}\n{done.stdout}\n{done.stderr}"
