"""Running the steps of a workflow, or of a composite action, in order on this machine, as a runner would.

Every `run:` is run by bash with the files and variables that GitHub gives it; `if:` and `${{ }}` are evaluated.
Artifacts are kept in a folder. Other actions (`uses:`) are not there, and what they do, a checkout say, is the test's
to do; so is what would change this machine: installing programs.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from e2e_command import DEADLINE_S, environment
from e2e_expressions import filled, holds, shown

INSTALLING = ("Install Aegis", "Prepare the runner")


@dataclass
class Step:
    name: str
    outcome: str
    """success, failure, or skipped (its `if` was false); `absent` for an action that is not there."""
    code: int = 0
    log: str = ""
    outputs: dict[str, str] = field(default_factory=dict)
    summary: str = ""
    id: str = ""


@dataclass
class Job:
    steps: list[Step]
    outputs: dict[str, str]
    failed: bool

    def __getitem__(self, name: str) -> Step:
        (found,) = [step for step in self.steps if step.name == name]
        return found

    @property
    def summary(self) -> str:
        return "".join(step.summary for step in self.steps)

    def __str__(self) -> str:
        return "\n".join(f"--- {step.name}: {step.outcome} {step.code}\n{step.log}" for step in self.steps)


@dataclass
class Runner:
    folder: Path
    """For the runner's own files and artifacts."""
    workspace: Path
    event_name: str
    event: dict[str, Any]
    api: str
    """URL of GitHub's API."""
    token: str
    ref_name: str = "main"
    base_ref: str = ""
    action_path: Path = Path("/nonexistent")
    needs: Mapping[str, Any] = field(default_factory=dict)

    def run_job(self, job: Mapping[str, Any], defaults: Mapping[str, Any]) -> Job:
        """A job of a workflow, with the workflow's `defaults.run`."""
        if "if" in job and not holds(job["if"], self._contexts({}, {}), self._functions(failed=False)):
            return Job([], {}, failed=False)
        return self._run(job["steps"], job.get("outputs", {}), defaults, inputs={})

    def run_action(self, action: Mapping[str, Any], given: Mapping[str, str]) -> Job:
        """A composite action with these inputs."""
        assert not set(given) - set(action["inputs"])
        defaults = {
            name: filled(item.get("default", ""), self._contexts({}, {}), self._functions(failed=False))
            for name, item in action["inputs"].items()
        }
        values = {name: item["value"] for name, item in action["outputs"].items()}
        return self._run(action["runs"]["steps"], values, {}, inputs={**defaults, **given})

    def _run(
        self,
        steps: list[Mapping[str, Any]],
        outputs: Mapping[str, str],
        defaults: Mapping[str, Any],
        inputs: Mapping[str, str],
    ) -> Job:
        temp = self.folder / "temp"
        shutil.rmtree(temp, ignore_errors=True)
        temp.mkdir(parents=True)
        done: list[Step] = []
        env: dict[str, str] = {}
        failed = False
        for spec in steps:
            contexts = self._contexts({step.id: step for step in done if step.id}, inputs)
            step = Step(spec["name"], "skipped", id=spec.get("id", ""))
            done.append(step)
            if not holds(str(spec.get("if", "success()")), contexts, self._functions(failed=failed)):
                continue
            if "uses" in spec:
                step.outcome = self._use(spec, contexts, failed)
            elif spec["name"] in INSTALLING:
                step.outcome = "absent"
            else:
                self._shell(step, spec, contexts, defaults, env)
            if step.outcome == "failure" and spec.get("continue-on-error") is not True:
                failed = True
        contexts = self._contexts({step.id: step for step in done if step.id}, inputs)
        functions = self._functions(failed=failed)
        return Job(done, {name: filled(text, contexts, functions) for name, text in outputs.items()}, failed)

    def _shell(
        self,
        step: Step,
        spec: Mapping[str, Any],
        contexts: Mapping[str, Any],
        defaults: Mapping[str, Any],
        env: dict[str, str],
    ) -> None:
        functions = self._functions(failed=False)
        assert spec.get("shell", defaults.get("shell")) == "bash", spec
        files = {name: self.folder / f"files-{name}" for name in ("OUTPUT", "ENV", "PATH", "STEP_SUMMARY")}
        for path in files.values():
            path.write_text("")
        own = {name: filled(str(text), contexts, functions) for name, text in spec.get("env", {}).items()}
        where = filled(
            spec.get("working-directory", defaults.get("working-directory", ".")), contexts, functions
        )
        given = {f"GITHUB_{name}": str(path) for name, path in files.items()}
        script = filled(spec["run"], contexts, functions)
        ran = self.bash(script, self.workspace / where, {**self._environment(), **given, **env, **own})
        step.code, step.log = ran.returncode, ran.stdout
        step.outcome = "success" if ran.returncode == 0 else "failure"
        step.outputs = read_assignments(files["OUTPUT"].read_text(encoding="utf-8"))
        step.summary = files["STEP_SUMMARY"].read_text(encoding="utf-8")
        env.update(read_assignments(files["ENV"].read_text(encoding="utf-8")))
        for line in files["PATH"].read_text(encoding="utf-8").splitlines():
            env["PATH"] = f"{line}{os.pathsep}{env.get('PATH', self._environment()['PATH'])}"

    def bash(self, script: str, cwd: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run a script as the services do; both streams are its `stdout`. `env` goes on top of this machine's own."""
        path = self.folder / "script.sh"
        path.write_text(script)
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", path],
            cwd=cwd,
            env={**_machine(), **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=DEADLINE_S,
        )

    def _use(self, spec: Mapping[str, Any], contexts: Mapping[str, Any], failed: bool) -> str:
        action = spec["uses"].partition("@")[0]
        functions = self._functions(failed=failed)
        options = {
            name: filled(shown(text), contexts, functions) for name, text in spec.get("with", {}).items()
        }
        if action == "actions/upload-artifact":
            return self._upload(options)
        if action == "actions/download-artifact":
            target = self.workspace / options["path"]
            shutil.copytree(self.folder / "artifacts" / options["name"], target, dirs_exist_ok=True)
            return "success"
        return "absent"

    def _upload(self, options: Mapping[str, str]) -> str:
        """What is there of the paths, below the folder that they share."""
        asked = [self.workspace / line for line in options["path"].split()]
        found = [path for path in asked if path.exists()]
        if not found:
            return "success"
        hidden = any(
            part.startswith(".")
            for path in found
            if path.is_relative_to(self.workspace)
            for part in path.relative_to(self.workspace).parts
        )
        assert options.get("include-hidden-files") == "true" or not hidden, (
            "hidden files are left out unasked"
        )
        root = Path(os.path.commonpath([path.parent for path in asked]))
        target = self.folder / "artifacts" / options["name"]
        for path in found:
            place = target / path.relative_to(root)
            place.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                shutil.copytree(path, place, dirs_exist_ok=True)
            else:
                shutil.copy(path, place)
        return "success"

    def _contexts(self, steps: Mapping[str, Step], inputs: Mapping[str, str]) -> dict[str, Any]:
        return {
            "github": {
                "event_name": self.event_name,
                "event": self.event,
                "ref": f"refs/heads/{self.ref_name}",
                "ref_name": self.ref_name,
                "base_ref": self.base_ref,
                "token": self.token,
                "job": "evaluate",
                "workflow": "Aegis",
                "action_path": str(self.action_path),
            },
            "runner": {"temp": str(self.folder / "temp"), "os": "Linux", "arch": "X64"},
            "strategy": {"job-index": "0"},
            "steps": {
                name: {"outputs": step.outputs, "outcome": step.outcome} for name, step in steps.items()
            },
            "inputs": dict(inputs),
            "needs": self.needs,
        }

    def _functions(self, *, failed: bool) -> dict[str, Any]:
        return {
            "always": lambda: True,
            "cancelled": lambda: False,
            "failure": lambda: failed,
            "success": lambda: not failed,
            "format": lambda text, *values: text.format(*map(shown, values)),
            # Only a cache's key is made of it, and there is no cache here.
            "hashFiles": lambda *patterns: "0" * 64,
        }

    def _environment(self) -> dict[str, str]:
        event = self.folder / "event.json"
        event.write_text(json.dumps(self.event))
        return {
            **_machine(),
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_API_URL": self.api,
            "GITHUB_BASE_REF": self.base_ref,
            "GITHUB_EVENT_NAME": self.event_name,
            "GITHUB_EVENT_PATH": str(event),
            "GITHUB_REF_NAME": self.ref_name,
            "GITHUB_REPOSITORY": "acme/agent",
            "GITHUB_WORKSPACE": str(self.workspace),
            "RUNNER_TEMP": str(self.folder / "temp"),
        }


def _machine() -> dict[str, str]:
    """This machine's environment, without what another build server has put there, and with Aegis on the path."""
    services = ("GITHUB_", "GITLAB_", "CI_")
    base = {name: value for name, value in environment().items() if not name.startswith(services)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{base['PATH']}"
    return {**base, "PATH": path, "no_proxy": "127.0.0.1"}


def read_assignments(text: str) -> dict[str, str]:
    """`name=value` and `name<<delimiter` as the runner reads them."""
    found: dict[str, str] = {}
    lines = iter(text.splitlines())
    for line in lines:
        name, mark, delimiter = line.partition("<<")
        if mark and "=" not in name:
            value = []
            for inner in lines:
                if inner == delimiter:
                    break
                value.append(inner)
            else:
                raise AssertionError(f"{name} has no end")
            found[name] = "\n".join(value)
        elif line:
            name, equals, value_text = line.partition("=")
            assert equals, line
            found[name] = value_text
    return found
