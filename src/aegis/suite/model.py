"""The suite as a value: what the user's file says, checked and with every default filled in.

The models are frozen and serialise to JSON, since a trial carries its case to whichever executor runs it.
Durations are seconds (float), sizes are bytes (int); the written forms (`500ms`, `512MiB`) exist only in the
file.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Agent(Model):
    """The program under test and how turns reach it."""

    command: str
    """A shell command (`sh -c`) run in the sandbox in /workspace; for protocol `python`:
    `module:function`."""
    protocol: Literal["text", "jsonl", "python"] = "text"
    env: dict[str, str] = Field(default_factory=dict)


class SandboxConfig(Model):
    image: str = "debian"
    """`debian`, a path to an image file (relative to the project root), `oci:NAME`, `oci-layout:PATH`."""
    memory: int = 512 * 1024 * 1024  # bytes
    cpus: int = Field(default=1, ge=1, le=16)
    files: dict[str, str] = Field(default_factory=dict)
    """Project path → guest path. Project paths (files or folders) are relative to the project root, the
    folder with aegis.toml or pyproject.toml, and as written; guest paths are absolute and normalised
    (`/workspace/agent.py`)."""
    setup: tuple[str, ...] = ()
    """Shell commands run in /workspace once per template; each must exit 0."""
    env: dict[str, str] = Field(default_factory=dict)


class World(Model):
    """What a case starts in, on top of the sandbox."""

    files: dict[str, str] = Field(default_factory=dict)
    """Guest path (absolute and normalised) → source, relative to the suite file's folder, as written.
    A source is a readable regular file of the project, or a folder of it."""
    run: tuple[str, ...] = ()
    """Shell commands run in /workspace before the agent starts; each must exit 0, else the trial is an
    `error`."""


class Turn(Model):
    """One scripted message of a conversation."""

    user: str


class Expectation(Model):
    """One entry of `expect`: the scorer's name and its own configuration, as written."""

    scorer: str
    config: Any
    """Plain data: what JSON can hold."""
    line: int | None = None
    """Line of the entry in its file (the case's `source_file`), for messages and annotations."""


class Case(Model):
    id: str
    """Matches `[A-Za-z0-9][A-Za-z0-9._-]{0,99}`, unique in the suite: usable as a file name."""
    tags: tuple[str, ...] = ()
    description: str = ""
    turns: tuple[Turn, ...]
    """At least one. `input: X` in the file is `turns: ({user: X},)`."""
    world: World = World()
    expect: tuple[Expectation, ...]
    """At least one."""
    trials: int | None = None
    """Instead of the suite's `trials`."""
    timeout: float | None = None  # seconds
    source_file: str = ""
    """The file that the case stands in (the JSONL file for a bulk case), relative to the project root when
    inside it."""
    source_line: int = 0


class Suite(Model):
    suite: str
    """The name. For a file evals/NAME.yaml it must be NAME."""
    description: str = ""
    agent: Agent
    sandbox: SandboxConfig = SandboxConfig()
    trials: int = 1
    timeout: float = 120.0  # seconds of the trial's own time
    cases: tuple[Case, ...]
    source_file: str = ""
    """The suite's file, relative to the project root when inside it."""

    def trials_of(self, case: Case) -> int:
        """How often this case runs."""
        return self.trials if case.trials is None else case.trials

    def timeout_of(self, case: Case) -> float:
        """Seconds of its own time that one trial of this case has."""
        return self.timeout if case.timeout is None else case.timeout
