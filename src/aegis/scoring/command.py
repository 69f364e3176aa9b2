"""Scorer `command`: a checking program run in the sandbox after the agent, with files that the agent never
saw."""

from __future__ import annotations

import io
import posixpath
import tarfile
from collections.abc import Iterator, Mapping
from typing import Any

from aegis.errors import GuestOperationError, InfrastructureError
from aegis.sandbox.base import WORKSPACE, Completed
from aegis.scoring import configs, matcher
from aegis.scoring.base import Score, ScoreContext
from aegis.scoring.configs import Problem, refuse
from aegis.scoring.words import failed, last_line, passed, plain, shown
from aegis.suite.units import describe, format_duration, parse_duration

DEFAULT_TIMEOUT_S = 60.0

_KEYS = ("run", "files", "exit_code", "stdout", "timeout")


class CommandScorer:
    name = "command"

    def check(self, config: Any) -> None:
        refuse(_problems(_mapping(config)))

    def files(self, config: Any) -> tuple[str, ...]:
        return tuple(_mapping(config).get("files", {}).values())

    async def score(self, config: Any, context: ScoreContext) -> Score:
        config = _mapping(config)
        timeout_s = parse_duration(config["timeout"]) if "timeout" in config else DEFAULT_TIMEOUT_S
        try:
            if files := config.get("files"):
                await context.sandbox.put_tar(_archive(files, context.check_files), dest="/")
            completed = await context.sandbox.run(("/bin/sh", "-c", config["run"]), timeout_s=timeout_s)
        except GuestOperationError as error:
            # The machine was able to do this before the agent had it.
            return failed(
                self.name, f"the machine as the agent left it can't run the check: {plain(str(error))}"
            )
        return await self._judge(config, completed, timeout_s)

    async def _judge(self, config: Mapping[str, Any], completed: Completed, timeout_s: float) -> Score:
        command = shown(config["run"])
        if completed.timed_out:
            return failed(self.name, f"{command} did not end within {format_duration(timeout_s)}")
        wanted = config.get("exit_code", 0)
        if completed.status.code != wanted:
            words = last_line(completed.stderr) or last_line(completed.stdout)
            end = completed.status.describe()
            reason = f"{command}: expected exit code {wanted}, found {end}"
            return failed(self.name, f"{reason}: {words}" if words else reason)
        if "stdout" not in config:
            return passed(self.name, f"{command} ended with exit code {wanted}")
        output = completed.stdout.decode("utf-8", "replace")
        judgement = await matcher.judge(config["stdout"], output, f"the output of {command}")
        return Score(self.name, judgement.ok, float(judgement.ok), judgement.reason)


def _mapping(config: Any) -> Any:
    return {"run": config} if isinstance(config, str) else config


def _archive(files: Mapping[str, str], contents: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for target, source in files.items():
            if source not in contents:
                raise InfrastructureError(f"the checking file {source!r} was not loaded with the suite")
            content = contents[source]
            member = tarfile.TarInfo(posixpath.join(WORKSPACE, target).lstrip("/"))
            member.size = len(content)
            member.mode = 0o755 if content.startswith(b"#!") else 0o644
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _problems(config: Any) -> Iterator[Problem]:
    yield from configs.keys(config, _KEYS, required=("run",))
    if not isinstance(config, Mapping):
        return
    yield from configs.text(config, "run")
    yield from configs.whole(config, "exit_code", most=255)
    yield from configs.duration(config, "timeout")
    if "stdout" in config:
        yield from matcher.problems(config["stdout"], ("stdout",))
    if "files" in config:
        yield from _file_problems(config["files"])


def _file_problems(files: Any) -> Iterator[Problem]:
    if not isinstance(files, Mapping):
        yield ("files",), f"expected a mapping of guest path to file, got {describe(files)}"
        return
    for target, source in files.items():
        if not isinstance(target, str) or not target.strip("/ ") or ".." in target.split("/"):
            yield ("files",), f"expected a path in the sandbox, got {target!r}"
        elif message := configs.suite_file(source):
            yield ("files", target), message


scorer = CommandScorer()
